"""What the gateway answers itself is like what we answer: problem+json, with the same headers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aetherlink.platform.headers import SECURITY, STRICT_TRANSPORT
from aetherlink.platform.identity import CHALLENGE
from tools.local import template

API = next(iter(template.of_type("AWS::Serverless::Api")))[1]
RESPONSES: dict[str, dict[str, Any]] = API["GatewayResponses"]
STATUSES = {
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 503,
    "UNAUTHORIZED": 401,
    "ACCESS_DENIED": 403,
    "WAF_FILTERED": 403,
    "MISSING_AUTHENTICATION_TOKEN": 404,
    "RESOURCE_NOT_FOUND": 404,
    "REQUEST_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "THROTTLED": 429,
    "QUOTA_EXCEEDED": 429,
    "API_CONFIGURATION_ERROR": 500,
    "INTEGRATION_FAILURE": 503,
    "INTEGRATION_TIMEOUT": 504,
}


def headers(kind: str) -> dict[str, str]:
    """The header values, which stand in single quotes there."""
    given: dict[str, str] = RESPONSES[kind]["ResponseParameters"]["Headers"]
    for value in given.values():
        assert value[0] == value[-1] == "'"
        assert "'" not in value[1:-1]
    return {name: value[1:-1] for name, value in given.items()}


def body(kind: str) -> dict[str, Any]:
    (content_type, text), *others = RESPONSES[kind]["ResponseTemplates"].items()
    assert (content_type, others) == ("application/problem+json", [])
    # This one is a quoted text when the gateway puts it in.
    parsed: dict[str, Any] = json.loads(text.replace("$context.error.messageString", '"message"'))
    return parsed


def test_each_kind_is_answered_with_its_status() -> None:
    assert {kind: given["StatusCode"] for kind, given in RESPONSES.items()} == STATUSES


@pytest.mark.parametrize("kind", STATUSES)
def test_the_body_is_a_problem_with_every_member(kind: str) -> None:
    problem = body(kind)

    assert set(problem) == {"type", "title", "status", "detail", "instance", "trace_id"}
    assert (problem["type"], problem["status"]) == ("about:blank", STATUSES[kind])


@pytest.mark.parametrize("kind", STATUSES)
def test_it_carries_the_security_headers(kind: str) -> None:
    given = headers(kind)

    # 'none' cannot stand in single quotes; an empty list of sources is the same.
    assert given.pop("Content-Security-Policy") == "default-src; frame-ancestors; sandbox"
    wanted = {**SECURITY, "Strict-Transport-Security": STRICT_TRANSPORT}
    del wanted["Content-Security-Policy"]
    assert given.items() >= wanted.items()


@pytest.mark.parametrize("kind", [kind for kind, s in STATUSES.items() if s in (429, 503, 504)])
def test_what_may_be_tried_again_says_when(kind: str) -> None:
    assert headers(kind)["Retry-After"] in ("1", "2")


def test_a_401_of_the_gateway_names_the_same_ways_in() -> None:
    assert headers("UNAUTHORIZED")["WWW-Authenticate"] == CHALLENGE
