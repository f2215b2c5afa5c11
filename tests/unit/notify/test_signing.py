"""Signatures, checked by the library that receivers use (standardwebhooks, from PyPI)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.notify.kinds import Kind, render
from aetherlink.notify.notice import Notice
from aetherlink.notify.signing import new_secret, sign

# Until the lock has it (pyproject.toml, group dev) there is nothing to check with.
standard: Any = pytest.importorskip("standardwebhooks")
refused: Any = pytest.importorskip("standardwebhooks.webhooks").WebhookVerificationError

FIRST, SECOND = new_secret(), new_secret()


def now() -> datetime:
    """The library reads the real clock, hence here too."""
    return datetime.now(UTC)


def is_taken(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        standard.Webhook(secret).verify(body, headers, json_parse=False)
    except refused:
        return False
    return True


def test_a_secret_has_what_the_specification_asks_for() -> None:
    assert FIRST.startswith("whsec_")
    assert 24 <= len(base64.b64decode(FIRST.removeprefix("whsec_"), validate=True)) <= 64
    assert FIRST != SECOND


@given(st.text().map(str.encode))
def test_a_receiver_takes_what_was_signed(body: bytes) -> None:
    assert is_taken(FIRST, body, sign([FIRST], "msg_1", now(), body))


def test_a_receiver_with_either_secret_takes_it_during_a_rotation() -> None:
    headers = sign([SECOND, FIRST], "msg_1", now(), b"{}")
    newest, _, older = headers["webhook-signature"].partition(" ")

    assert is_taken(FIRST, b"{}", headers)
    assert is_taken(SECOND, b"{}", headers)
    assert is_taken(SECOND, b"{}", {**headers, "webhook-signature": newest})
    assert is_taken(FIRST, b"{}", {**headers, "webhook-signature": older})
    assert not is_taken(new_secret(), b"{}", headers)


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({}, b'{"a":2}'),
        ({"webhook-id": "msg_2"}, b'{"a":1}'),
        ({"webhook-timestamp": "later"}, b'{"a":1}'),
        ({"webhook-signature": "v1,AAAA"}, b'{"a":1}'),
    ],
)
def test_a_receiver_refuses_what_was_changed_on_the_way(
    changed: dict[str, str], body: bytes
) -> None:
    headers = sign([FIRST], "msg_1", now(), b'{"a":1}')
    if "webhook-timestamp" in changed:
        changed = {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}

    assert not is_taken(FIRST, body, {**headers, **changed})


def test_a_receiver_refuses_what_was_signed_long_ago() -> None:
    assert not is_taken(FIRST, b"{}", sign([FIRST], "msg_1", now() - timedelta(minutes=6), b"{}"))


def test_a_generic_message_as_it_is_sent_is_taken_and_read() -> None:
    event = {
        "event_id": "ev1",
        "event_type": "lead.created",
        "tenant_id": "acme",
        "source": "crm",
        "severity": "info",
        "timestamp": "2026-11-23T12:00:00.000000Z",
        "payload": {"name": "Zoë ✓", "nested": {"a": [1, None]}},
    }
    body = render(Kind.GENERIC, Notice(event, "msg_1"), {}).encode()

    told = standard.Webhook(FIRST).verify(body, sign([FIRST], "msg_1", now(), body))
    assert told == json.loads(body)
    assert (told["type"], told["data"]) == ("lead.created", event)
