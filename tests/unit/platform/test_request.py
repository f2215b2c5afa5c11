"""What the gateway hands over: whatever it is, it is brought into one form or refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.kernel.errors import InvalidError, NotFoundError, UnprocessableError
from aetherlink.platform.request import (
    check_headers,
    check_parameters,
    normalised,
    trace_id,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
anything = st.none() | st.text() | st.integers() | st.text(st.characters())


def event(**given: Any) -> dict[str, Any]:
    return {
        "httpMethod": "GET",
        "resource": "/events/{event_id}",
        "path": "/events/e1",
        "headers": {},
        **given,
    }


@pytest.mark.parametrize(
    "sent", [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-ff", f"cc-{TRACE}-{PARENT}-01-what"]
)
def test_a_traceparent_is_read(sent: str) -> None:
    assert trace_id(event(headers={"traceparent": sent})) == TRACE


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "00",
        f"00-{TRACE}",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\n",
        f" 00-{TRACE}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{'٣' * 32}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01" + "-" + "x" * 10_000,
    ],
)
def test_a_malformed_traceparent_is_ignored(sent: str) -> None:
    found = trace_id(event(headers={"traceparent": sent}, requestContext={"requestId": "req-1"}))

    assert found == "req-1"


@given(value=anything, name=anything)
def test_any_parameter_becomes_one_plain_segment(value: Any, name: Any) -> None:
    made = normalised(event(pathParameters={"event_id": value, str(name): value}))

    assert re.fullmatch(r"/events/[A-Za-z0-9_.~%-]*", made["path"])


@given(headers=st.dictionaries(st.text(), anything))
def test_header_names_are_lower_case_and_values_text(headers: dict[str, Any]) -> None:
    found = normalised(event(headers=headers))["headers"]

    assert all(name == name.lower() and isinstance(value, str) for name, value in found.items())
    assert "None" not in [found.get(n.lower()) for n, v in headers.items() if v is None]


def test_what_the_gateway_left_out_is_no_obstacle() -> None:
    made = normalised({"httpMethod": "GET", "path": "/ping", "headers": None})

    assert (made["resource"], made["path"], made["headers"]) == (
        "/ping",
        "/ping",
        {"content-type": "application/json"},
    )
    check_headers(made)
    check_parameters(made)


def test_a_header_said_twice_in_two_spellings_is_refused() -> None:
    sent = {"X-Tenant-ID": ["acme"], "x-tenant-id": ["globex"]}

    with pytest.raises(InvalidError, match="x-tenant-id was sent 2 times; once is right"):
        check_headers(event(multiValueHeaders=sent))


def test_a_header_that_decides_nothing_may_come_twice() -> None:
    check_headers(event(multiValueHeaders={"Accept": ["a", "b"], "X-Api-Key": ["ak_1"]}))


def test_a_cursor_may_be_longer_than_other_values() -> None:
    check_parameters(event(multiValueQueryStringParameters={"cursor": ["x" * 4_000]}))
    with pytest.raises(InvalidError, match="This cursor belongs to another question"):
        check_parameters(event(multiValueQueryStringParameters={"cursor": ["x" * 4_001]}))
    with pytest.raises(UnprocessableError, match="query/source: may have 1,000 bytes at most"):
        check_parameters(event(multiValueQueryStringParameters={"source": ["x" * 1_001]}))


def test_a_path_parameter_is_measured_as_it_is_meant() -> None:
    check_parameters(event(pathParameters={"event_id": "%C3%BC" * 500}))
    with pytest.raises(NotFoundError):
        check_parameters(event(pathParameters={"event_id": "%C3%BC" * 501}))
