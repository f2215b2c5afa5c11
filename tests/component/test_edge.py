"""What every route has in common: who may call, what a refusal looks like, what a body may be."""

from __future__ import annotations

import base64
import importlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError
from pydantic import ValidationError

from aetherlink.kernel.access import ROUTES
from aetherlink.kernel.errors import UnauthenticatedError
from aetherlink.platform import http
from aetherlink.platform.config import Config, config
from aetherlink.platform.identity import identify
from aetherlink.platform.telemetry import logger
from tests.component.conftest import Stack

# Who pings is known by the key in the path, whatever the headers say; tests/component/test_ingest.py.
PINGS = ("/ingest/ping/{key}", "/ingest/ping/{key}/{word}")
PROTECTED = sorted((m, path) for (m, path), roles in ROUTES.items() if roles and path not in PINGS)
OPEN = sorted((method, path) for (method, path), roles in ROUTES.items() if not roles)
NO_OPS = ("agent", "viewer")
PUBLISHING = ("/events/publish", "/events/batch", "/events/cloudevents")
REFUSED = {
    **dict.fromkeys((*PUBLISHING, "/audit/stats"), ("viewer",)),
    **dict.fromkeys(("/ingest/alertmanager", "/ingest/pagerduty/v2/enqueue"), ("viewer",)),
    **dict.fromkeys(("/orchestrate", "/summaries/extract-lead"), ("viewer",)),
    **dict.fromkeys(("/v1/chat/completions", "/v1/models"), ("viewer",)),
    "/providers/health": ("guest",),
    **dict.fromkeys(("/jobs/{job_id}", "/identity/me"), ("guest",)),
    **dict.fromkeys(("/autoheal/status", "/autoheal/history", "/autoheal/stats"), ("guest",)),
}
FOUR_MB = 4 * 1024 * 1024


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    logger.addHandler(handler)
    yield records
    logging.getLogger(logger.name).removeHandler(handler)


def _down(*_: Any, **__: Any) -> Any:
    raise EndpointConnectionError(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")


def _throttled(*_: Any, **__: Any) -> Any:
    answer: Any = {"Error": {"Code": "ThrottlingException", "Message": "slow down"}}
    raise ClientError(answer, "PutItem")


# ---- problems


def test_a_refusal_is_a_problem_with_every_member(stack: Stack) -> None:
    answer = stack.call("GET", "/events/nowhere-to-be-found")

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body == {
        "type": "about:blank",
        "title": "Not found",
        "status": 404,
        "detail": "Event nowhere-to-be-found not found",
        "instance": "/events/nowhere-to-be-found",
        "trace_id": "req-1",
    }


def test_a_refused_field_is_named_by_json_pointer(stack: Stack) -> None:
    answer = stack.call("POST", "/ops/register", body={"name": "a", "url": "ftp://a"})

    assert (answer.status, answer.body["title"]) == (422, "Unprocessable content")
    assert [flaw["pointer"] for flaw in answer.body["errors"]] == ["/url"]
    assert answer.body["errors"][0]["detail"] == (
        'must be an http or https URL such as https://billing.example/ping, got "ftp://a"'
    )


def test_a_refused_parameter_is_named(stack: Stack) -> None:
    answer = stack.call("GET", "/events/recent", query={"limit": "0"})

    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "query/limit")


def test_every_answer_is_kept_by_no_cache(stack: Stack) -> None:
    for answer in (stack.call("GET", "/ping"), stack.call("GET", "/events/recent", roles=None)):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# ---- who is calling


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_a_protected_route_asks_a_stranger_who_it_is(stack: Stack, method: str, path: str) -> None:
    answer = stack.call(method, path, roles=None, body={})

    assert (answer.status, answer.body["title"]) == (401, "Authentication required")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="aetherlink"')


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_an_open_route_asks_nobody(stack: Stack, method: str, path: str) -> None:
    assert stack.call(method, path, roles=None).status == 200


@pytest.mark.parametrize("roles", ["", "  "])
def test_an_empty_roles_header_is_no_credential(stack: Stack, roles: str) -> None:
    assert stack.call("GET", "/events/recent", roles=roles).status == 401


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
def test_a_credential_that_nobody_can_verify_is_401(stack: Stack, name: str) -> None:
    answer = stack.call("GET", "/events/recent", roles=None, headers={name: "Bearer ak_x"})

    assert (answer.status, answer.body["title"]) == (401, "Authentication required")


@pytest.mark.parametrize(
    "roles",
    [
        "operator",
        "OPERATOR,operator",
        " viewer , operator ",
        ",operator,,",
        '["operator"]',
        '[" operator ", "nobody"]',
        ' ["viewer","admin"]',
    ],
)
def test_roles_come_as_a_comma_list_or_a_json_array(stack: Stack, roles: str) -> None:
    assert stack.call("GET", "/events/recent", roles=roles).status == 200


@pytest.mark.parametrize(
    "roles", ["Operator", "ADMIN", "root", "[]", ",", " , ", '["Admin"]', "oper ator"]
)
def test_what_is_no_role_of_ours_lets_nobody_in(stack: Stack, roles: str) -> None:
    answer = stack.call("GET", "/events/recent", roles=roles)

    assert (answer.status, answer.body["detail"]) == (
        403,
        "Insufficient permissions. Required roles: operator, admin",
    )


@pytest.mark.parametrize(
    "roles", ['["operator"', "[operator]", "[1]", '["operator", null]', "[[]]", "[" * 5000]
)
def test_a_malformed_roles_array_is_400(stack: Stack, roles: str) -> None:
    answer = stack.call("GET", "/events/recent", roles=roles)

    assert (answer.status, answer.body["detail"]) == (
        400,
        "X-User-Roles must be a comma list such as operator,admin or a JSON array of strings",
    )


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [(method, path, role) for method, path in PROTECTED for role in REFUSED.get(path, NO_OPS)],
)
def test_a_route_refuses_every_role_that_is_not_in_its_row(
    stack: Stack, method: str, path: str, roles: str
) -> None:
    answer = stack.call(method, path, roles=roles, body={})

    assert answer.status == 403
    assert answer.body["detail"].startswith("Insufficient permissions. Required roles: ")


def test_a_publisher_reads_which_roles_would_do(stack: Stack) -> None:
    answer = stack.call("POST", "/events/publish", roles="viewer", body={})

    assert answer.body["detail"] == (
        "Insufficient permissions. Required roles: agent, operator, admin"
    )


@pytest.mark.parametrize("raw", ["{", "[]", '{"name": 1}'])
def test_the_role_is_checked_before_the_body(stack: Stack, raw: str) -> None:
    assert stack.call("POST", "/ops/register", roles="viewer", raw=raw).status == 403
    assert stack.call("POST", "/ops/register", roles=None, raw=raw).status == 401
    assert stack.call("POST", "/ops/register", raw=raw).status == 422


def test_header_names_ignore_case(stack: Stack) -> None:
    answer = stack.call("GET", "/events/recent", roles=None, headers={"x-USER-roles": "admin"})

    assert answer.status == 200


@pytest.mark.parametrize("tenant", ["-acme", "a b", "ac/me", "a" * 65, "ä", "a#b", "."])
def test_a_malformed_tenant_header_is_400(stack: Stack, tenant: str) -> None:
    answer = stack.call("GET", "/events/recent", tenant=tenant)

    assert answer.status == 400
    assert answer.body["detail"].startswith("X-Tenant-ID must have 1 to 64 letters")


@pytest.mark.parametrize("tenant", ["a", "A.b-c_9", "a" * 64, " acme "])
def test_a_well_formed_tenant_header_is_taken(stack: Stack, tenant: str) -> None:
    assert stack.call("GET", "/events/recent", tenant=tenant).status == 200


# ---- token mode


def test_in_token_mode_the_development_headers_count_for_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config().model_copy(update={"auth_mode": "token"})
    monkeypatch.setattr(http, "config", lambda: settings)

    answer = stack.call("GET", "/events/recent", roles="admin", tenant="acme")

    assert answer.status == 401
    assert answer.body["detail"].startswith("Authentication required: send 'Authorization: Bearer")
    assert "X-User-Roles" not in answer.body["detail"]


def test_in_token_mode_a_development_header_beside_a_credential_helps_nobody() -> None:
    headers = {"x-user-roles": "admin", "authorization": "Bearer nonsense"}

    with pytest.raises(UnauthenticatedError):
        identify(headers, mode="token", ip="", trace_id="", may_be_cached=False)


@pytest.mark.parametrize("stage", ["prod", "dev", "staging", "Local", ""])
def test_development_mode_is_refused_off_the_local_stage(stage: str) -> None:
    given = config().model_dump() | {"stage": stage, "auth_mode": "dev"}

    with pytest.raises(ValidationError, match="refused unless STAGE=local"):
        Config.model_validate(given)


def test_token_mode_is_fine_on_every_stage() -> None:
    given = config().model_dump() | {"stage": "prod", "auth_mode": "token"}

    assert Config.model_validate(given).auth_mode == "token"


def test_an_authentication_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(config().model_dump() | {"auth_mode": "none"})


# ---- paths and methods


@pytest.mark.parametrize("path", ["/nowhere", "/ops", "/events/a/b/c", "/ops/services/a/b"])
def test_an_unknown_path_is_404(stack: Stack, path: str) -> None:
    answer = stack.call("GET", path, roles=None)

    assert (answer.status, answer.body["instance"]) == (404, path)
    assert answer.body["detail"] == f"There is no {path}; GET /openapi.json lists every path"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/ops/ping", "GET"),
        ("GET", "/events/publish", "POST"),
        ("DELETE", "/events/recent", "GET"),
        ("PUT", "/alerts/rules", "GET, POST"),
        ("PATCH", "/alerts/rules/abc", "DELETE, GET"),
        ("POST", "/events/some-id", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_is_right(
    stack: Stack, method: str, path: str, allowed: str
) -> None:
    answer = stack.call(method, path)

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_a_route_outside_the_access_table_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ROUTES", {})

    assert stack.call("GET", "/events/recent", roles="admin").status == 403


# ---- bodies


def test_a_body_over_4_mb_is_413(stack: Stack) -> None:
    answer = stack.call("POST", "/events/publish", raw='"' + "x" * FOUR_MB + '"')

    assert (answer.status, answer.body["detail"]) == (
        413,
        "A request body may have 4,194,304 bytes (4 MB) at most",
    )


def test_a_body_is_measured_in_bytes_not_characters(stack: Stack) -> None:
    answer = stack.call("POST", "/events/publish", raw='"' + "ü" * (FOUR_MB // 2) + '"')

    assert answer.status == 413


def test_a_body_of_three_times_4_mb_is_not_even_decoded(stack: Stack) -> None:
    answer = stack.call("POST", "/events/publish", raw="!" * (3 * FOUR_MB), is_base64=True)

    assert answer.status == 413


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "nonsense",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        "[" * 100_000,
        '{"a": 1} x',
    ],
)
def test_what_is_no_json_is_422(stack: Stack, raw: str) -> None:
    answer = stack.call("POST", "/events/publish", raw=raw)

    assert (answer.status, answer.body["title"]) == (422, "Unprocessable content")


def test_a_pair_of_surrogates_is_a_character(stack: Stack) -> None:
    raw = (
        '{"event_type":"lead.created","source":"crm","event_id":"e1",'
        '"payload":{"name":"\\ud83d\\ude80"}}'
    )

    assert stack.call("POST", "/events/publish", raw=raw).status == 200
    assert stack.call("GET", "/events/e1").body["payload"] == {"name": "🚀"}


def test_a_body_may_come_in_base64(stack: Stack) -> None:
    raw = base64.b64encode(b'{"name":"b","url":"http://b.example"}').decode()

    assert stack.call("POST", "/ops/register", raw=raw, is_base64=True).status == 200


@pytest.mark.parametrize("octets", [b'{"name":"\xff\xfe"}', b"\x80"])
def test_a_body_that_is_not_utf8_is_422(stack: Stack, octets: bytes) -> None:
    raw = base64.b64encode(octets).decode()

    answer = stack.call("POST", "/ops/register", raw=raw, is_base64=True)

    assert (answer.status, answer.body["errors"]) == (
        422,
        [{"pointer": "", "detail": "is not UTF-8 text"}],
    )


def test_a_raw_lone_surrogate_is_422(stack: Stack) -> None:
    assert stack.call("POST", "/ops/register", raw='{"name":"\ud800"}').status == 422


# ---- tracing and addresses

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_traceparent_names_the_trace_everywhere(stack: Stack) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    body = {"event_type": "lead.created", "source": "crm", "payload": {}, "event_id": "e1"}

    answer = stack.call("POST", "/events/publish", body=body, headers=headers)

    assert answer.headers["X-Trace-Id"] == TRACE
    assert stack.call("GET", "/events/e1").body["trace_id"] == TRACE
    assert stack.call("GET", "/nowhere", headers=headers).body["trace_id"] == TRACE


@pytest.mark.parametrize(
    "sent", ["", "00", f"00-{TRACE}", f"00-{TRACE.upper()}-0-1", f"00-{'0' * 32}-1-1", "a-b-c-d"]
)
def test_a_malformed_traceparent_gives_way_to_the_request_id(stack: Stack, sent: str) -> None:
    answer = stack.call("GET", "/ping", headers={"traceparent": sent})

    assert answer.headers["X-Trace-Id"] == "req-1"


def test_a_forwarded_address_is_never_believed(stack: Stack, log: list[logging.LogRecord]) -> None:
    headers = {"X-Forwarded-For": "198.51.100.66", "X-Real-Ip": "198.51.100.66"}
    body = {"event_type": "lead.created", "source": "crm", "payload": {}, "event_id": "e1"}

    stack.call("POST", "/events/publish", body=body, headers=headers)

    assert log[-1].__dict__["client_ip"] == "203.0.113.7"
    assert stack.call("GET", "/events/e1").body["client_ip"] == "203.0.113.7"


# ---- the log, and failures of our own


def test_a_request_leaves_one_line_with_its_route_and_caller(
    stack: Stack, log: list[logging.LogRecord]
) -> None:
    stack.call("GET", "/events/unheard-of", roles="operator,admin", tenant="acme")

    (line,) = log
    kept = ("service", "path", "method", "roles", "tenant", "status", "client_ip", "trace_id")
    assert {name: line.__dict__[name] for name in kept} == {
        "service": "command-center",
        "path": "/events/{event_id}",
        "method": "GET",
        "roles": ["admin", "operator"],
        "tenant": "acme",
        "status": 404,
        "client_ip": "203.0.113.7",
        "trace_id": "req-1",
    }


def test_a_bug_becomes_a_500_without_its_details_and_is_logged(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, log: list[logging.LogRecord]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    registry = importlib.import_module("functions.registry.api").registry
    monkeypatch.setattr(registry, "catalogue", broken)

    answer = stack.call("GET", "/ops/services")

    assert answer.status == 500
    assert answer.body == {
        "type": "about:blank",
        "title": "Internal error",
        "status": 500,
        "detail": "Something went wrong on our side",
        "instance": "/ops/services",
        "trace_id": "req-1",
    }
    failures = [line for line in log if line.levelno == logging.ERROR]
    assert [str(line.exc_info[1]) for line in failures if line.exc_info] == [
        "the password is hunter2"
    ]


@pytest.mark.parametrize("failure", [_down, _throttled])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ops/services", None),
        ("DELETE", "/ops/services/a", None),
        ("POST", "/ops/register", {"name": "a", "url": "http://a.example"}),
        ("POST", "/events/publish", {"event_type": "lead.created", "source": "s", "payload": {}}),
        ("GET", "/events/recent", None),
        ("GET", "/events/e1", None),
        ("GET", "/alerts/rules", None),
        ("POST", "/alerts/rules", {"name": "r", "window_seconds": 60, "threshold": 1}),
        ("POST", "/alerts/evaluate", None),
    ],
)
def test_a_database_that_does_not_answer_is_503(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any, failure: Any
) -> None:
    monkeypatch.setattr(BaseClient, "_make_api_call", failure)

    answer = stack.call(method, path, body=body)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert answer.body["title"] == "Temporarily unavailable"


def test_a_request_that_the_database_finds_wrong_is_our_bug(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        answer: Any = {"Error": {"Code": "ValidationException", "Message": "secret key name"}}
        raise ClientError(answer, "Query")

    monkeypatch.setattr(BaseClient, "_make_api_call", refused)

    answer = stack.call("GET", "/ops/services")

    assert (answer.status, "secret" in str(answer.body)) == (500, False)


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/ops/register", '[{"name":"a","url":"http://a.example"}]'),
        ("/events/publish", '[{"event_type":"lead.created","source":"s","payload":{}}]'),
        ("/alerts/rules", '[{"name":"r","window_seconds":60,"threshold":1},{}]'),
    ],
)
def test_an_array_is_refused_rather_than_its_first_element_taken(
    stack: Stack, path: str, raw: str
) -> None:
    answer = stack.call("POST", path, raw=raw)

    assert (answer.status, answer.body["errors"]) == (
        422,
        [{"pointer": "", "detail": "must be a JSON object, got an array"}],
    )


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_is_json_whatever_the_client_calls_it(stack: Stack, content_type: str) -> None:
    body = {"name": "a", "url": "http://a.example"}

    answer = stack.call("POST", "/ops/register", body=body, headers={"Content-Type": content_type})
    assert answer.status == 200
