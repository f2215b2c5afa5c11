"""Our messages through the vendors' own clients, to a receiver on the loopback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aetherlink.notify.kinds import Kind, render
from aetherlink.notify.notice import Notice

KEY = "0123456789abcdef0123456789abcdef"
ALERT: dict[str, Any] = {
    "event_id": "e1.raised",
    "event_type": "ops.alert.raised",
    "source": "aether-command-center",
    "tenant_id": "acme",
    "severity": "critical",
    "timestamp": "2026-11-23T12:00:00.000000Z",
    "payload": {"rule_name": "zoë <!channel>", "episode_id": "e1"},
}


def rendered(kind: Kind) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(render(kind, Notice(ALERT, ""), {"routing_key": KEY}))
    return body


def test_slacks_client_sends_the_same(receiver: Any) -> None:
    slack: Any = pytest.importorskip("slack_sdk.webhook")
    ours = rendered(Kind.SLACK)

    answer = slack.WebhookClient(f"{receiver.url}/services/T/B/x").send(text=ours["text"])
    assert (answer.status_code, receiver.got) == (200, [ours])


def test_pagerdutys_client_fills_the_same_fields() -> None:
    """It posts to https alone, hence is answered before there is a socket."""
    pagerduty: Any = pytest.importorskip("pagerduty")
    http: Any = pytest.importorskip("httpx2")
    ours, got = rendered(Kind.PAGERDUTY), []

    def answer(request: Any) -> Any:
        got.append(json.loads(request.read()))
        return http.Response(202, json={"status": "success", "dedup_key": "e1"})

    payload = ours["payload"]
    with pagerduty.EventsApiV2Client(KEY, transport=http.MockTransport(answer)) as client:
        client.trigger(
            payload["summary"],
            payload["source"],
            dedup_key=ours["dedup_key"],
            severity=payload["severity"],
            custom_details=payload["custom_details"],
        )
    (theirs,) = got
    assert theirs["payload"] == {name: payload[name] for name in theirs["payload"]}
    del theirs["payload"]
    assert theirs == {name: ours[name] for name in theirs}
