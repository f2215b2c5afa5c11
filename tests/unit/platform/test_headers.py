"""Which pages may read an answer: those whose origin is named, letter by letter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.platform.config import config
from aetherlink.platform.headers import finish, origins_in

LIST = "https://ops.example, http://localhost:3000,,null,*,ops.example"


def test_only_origins_are_origins() -> None:
    assert origins_in(LIST) == {"https://ops.example", "http://localhost:3000"}
    assert origins_in("") == frozenset()


def finished(origin: str | None, **settings: Any) -> dict[str, list[str]]:
    answer: dict[str, Any] = {"statusCode": 200, "body": "{}"}
    headers = {} if origin is None else {"origin": origin}
    event = {"httpMethod": "GET", "headers": headers}
    finish(answer, event, config().model_copy(update={"cors_origins": LIST, **settings}), "t")
    given: dict[str, list[str]] = answer["multiValueHeaders"]
    return given


@given(
    origin=st.text()
    | st.sampled_from(["null", "*", "https://ops.example", "https://ops.example."])
    | st.from_regex(r"https?://[a-z]{0,3}ops\.example(:\d+)?/?", fullmatch=True)
)
def test_an_origin_is_let_in_if_it_is_in_the_list_and_never_otherwise(origin: str) -> None:
    headers = finished(origin)
    is_ours = origin in {"https://ops.example", "http://localhost:3000"}

    assert headers.get("Access-Control-Allow-Origin") == ([origin] if is_ours else None)
    assert headers["Vary"] == ["Origin"]


def test_without_a_list_no_answer_depends_on_the_origin() -> None:
    assert "Vary" not in finished("https://ops.example", cors_origins="")


def test_an_answer_that_brings_its_own_policy_keeps_it() -> None:
    answer: dict[str, Any] = {
        "statusCode": 200,
        "multiValueHeaders": {"Content-Security-Policy": ["default-src 'self'"]},
        "body": "<html>",
    }
    finish(answer, {"httpMethod": "GET", "headers": {}}, config(), "t")

    assert answer["multiValueHeaders"]["Content-Security-Policy"] == ["default-src 'self'"]


@pytest.mark.parametrize(("stage", "is_asked"), [("local", False), ("prod", True)])
def test_transport_security_is_for_stages_with_tls(stage: str, is_asked: bool) -> None:
    assert ("Strict-Transport-Security" in finished(None, stage=stage)) is is_asked
