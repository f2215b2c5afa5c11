"""What Alertmanager and PagerDuty's senders say, as signals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aetherlink.ingest.alertmanager import Webhook
from aetherlink.ingest.incident import bounded
from aetherlink.ingest.pagerduty import Sent

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_webhook(**given: Any) -> dict[str, Any]:
    """As Alertmanager 0.25 sends it."""
    alert = {
        "status": "firing",
        "labels": {
            "alertname": "HighLatency",
            "instance": "web-1:9100",
            "job": "web",
            "severity": "page",
        },
        "annotations": {"summary": "slow", "runbook_url": "https://runbooks.example/slow"},
        "startsAt": "2026-11-23T11:58:12.345678901Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        "fingerprint": "7a55f1a2e3b4c5d6",
        **given,
    }
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "aetherlink",
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [alert],
    }


def test_an_alert_of_alertmanager() -> None:
    [signal] = Webhook.model_validate(a_webhook()).signals()

    assert signal.key == "7a55f1a2e3b4c5d6/2026-11-23T11:58:12.345678Z"
    assert (signal.action, signal.name, signal.severity) == ("firing", "HighLatency", "critical")
    assert signal.source == "web"
    assert signal.group == {"instance": "web-1:9100", "job": "web", "severity": "page"}
    assert signal.annotations["runbook_url"] == "https://runbooks.example/slow"
    assert signal.annotations["externalURL"] == "http://alertmanager.example:9093"


def test_its_end_is_of_the_same_incident() -> None:
    begun, over = (
        Webhook.model_validate(a_webhook(**given)).signals()[0]
        for given in ({}, {"status": "resolved", "endsAt": "2026-11-23T12:00:00Z"})
    )

    assert (begun.key, over.action, over.at) == (over.key, "resolved", NOON)


def test_the_first_year_of_an_open_end_is_no_error() -> None:
    [signal] = Webhook.model_validate(a_webhook(endsAt="0001-01-01T00:00:00Z")).signals()

    assert signal.at.year == 2026


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("critical", "critical"), ("page", "critical"), ("warning", "warning"), ("WARN", "warning"),
        ("info", "info"), ("none", "info"), ("error", "error"), ("whatever", "error"), ("", "error"),
    ],
)  # fmt: skip
def test_its_severities(label: str, severity: str) -> None:
    given = {"labels": {"alertname": "x", "severity": label}}

    assert Webhook.model_validate(a_webhook(**given)).signals()[0].severity == severity


def test_without_a_fingerprint_the_labels_are_one() -> None:
    def key(**labels: str) -> str:
        given = {"fingerprint": "", "labels": {"alertname": "x", **labels}}
        return Webhook.model_validate(a_webhook(**given)).signals()[0].key

    assert key(a="1", b="2") == key(b="2", a="1")
    assert key(a="1") != key(a="2")


@pytest.mark.parametrize(
    "wrong",
    [{"version": "3"}, {"status": "open"}, {"alerts": [{}]}, {"alerts": None}, {"version": None}],
)
def test_a_webhook_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate({**a_webhook(), **wrong})


def a_trigger(**given: Any) -> dict[str, Any]:
    payload = {"summary": "disk full", "source": "db-1", "severity": "error", **given}
    return {"routing_key": "ak_x", "event_action": "trigger", "payload": payload}


def test_a_trigger_of_pagerdutys() -> None:
    sent = Sent.model_validate(
        {
            **a_trigger(component="postgres", custom_details={"free": "1 %"}),
            "links": [{"href": "https://x.example", "text": "graph"}],
        }
    )
    signal = sent.signal("d1", NOON)

    assert (signal.key, signal.action, signal.name) == ("d1", "firing", "disk full")
    assert (signal.severity, signal.source, signal.at) == ("error", "postgres", NOON)
    assert signal.annotations == {
        "summary": "disk full", "free": "1 %", "links": "https://x.example",
    }  # fmt: skip


@pytest.mark.parametrize("stamp", ["2026-11-23T12:00:00+00:00Z", "today", "", None])
def test_a_time_that_nobody_can_read_is_no_reason_to_refuse_an_alert(stamp: str | None) -> None:
    """PagerDuty's own client for Python writes the first of these."""
    assert Sent.model_validate(a_trigger(timestamp=stamp)).signal("d1", NOON).at == NOON


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_the_others_need_a_key_and_no_payload(action: str) -> None:
    assert Sent.model_validate({"event_action": action, "dedup_key": "d1"}).signal("d1", NOON)
    with pytest.raises(ValidationError, match="dedup_key is required"):
        Sent.model_validate({"event_action": action})


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_action": "trigger"},
        {"event_action": "open"},
        {**a_trigger(), "payload": {"summary": "x", "source": "y"}},
        {**a_trigger(severity="fatal")},
        {**a_trigger(), "dedup_key": "x" * 256},
    ],
)
def test_what_is_no_event_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sent.model_validate(wrong)


@given(st.dictionaries(st.text(max_size=100), st.text(max_size=400), max_size=50))
def test_labels_are_as_many_and_as_long_as_an_alert_carries(labels: dict[str, str]) -> None:
    kept = bounded(labels)

    assert len(kept) <= 32
    assert all(0 < len(name) <= 64 and len(value) <= 256 for name, value in kept.items())
