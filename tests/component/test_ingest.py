"""What other systems say, through the real handlers: each incident one alert, from the right tenant."""

from __future__ import annotations

import base64
import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.component.conftest import Answer, Stack

START = "2026-11-23T11:58:12.345Z"


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # moto copies its tables for a transaction, and breaks if another thread writes meanwhile.
    monkeypatch.setattr("aetherlink.ingest.service._WORKERS", 1)


def an_alert(status: str = "firing", **given: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "HighLatency", "service": "checkout", "severity": "critical"},
        "annotations": {"summary": "p99 is 4 s"},
        "startsAt": START,
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "7a55f1a2e3b4c5d6",
        **given,
    }


def send(stack: Stack, *alerts: dict[str, Any], tenant: str = "acme") -> dict[str, Any]:
    body = {"version": "4", "status": "firing", "alerts": list(alerts), "groupKey": "g"}
    answer = stack.call("POST", "/ingest/alertmanager", body=body, tenant=tenant)
    assert answer.status == 200, answer.body
    done: dict[str, Any] = answer.body
    return done


def alerts_of(stack: Stack, tenant: str = "acme") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.call("GET", "/alerts", tenant=tenant).body["alerts"]
    return found


def types(stack: Stack, tenant: str = "acme") -> list[str]:
    return sorted(event["event_type"] for event in stack.recent(tenant=tenant))


# ---- Alertmanager


def test_an_alert_of_alertmanager_is_one_episode_from_firing_to_resolved(stack: Stack) -> None:
    assert send(stack, an_alert())["opened"] == 1
    # It repeats what goes on.
    assert send(stack, an_alert())["known"] == 1
    [alert] = alerts_of(stack)
    assert (alert["state"], alert["rule_name"], alert["severity"]) == (
        "firing", "HighLatency", "critical",
    )  # fmt: skip
    assert (alert["started_at"], alert["labels"]["service"]) == (
        "2026-11-23T11:58:12.345000Z", "checkout",
    )  # fmt: skip
    assert send(stack, an_alert("resolved", endsAt="2026-11-23T12:00:00Z"))["closed"] == 1

    [over] = alerts_of(stack)
    assert (over["id"], over["state"]) == (alert["id"], "resolved")
    assert types(stack) == [
        "ingest.alert.firing", "ingest.alert.resolved", "ops.alert.raised", "ops.alert.resolved",
    ]  # fmt: skip


def test_people_hear_of_it_and_of_its_end(stack: Stack) -> None:
    send(stack, an_alert())
    stack.relay()
    send(stack, an_alert("resolved"))
    stack.relay()

    told = [message["event"] for message in stack.queue("notifications-test")]
    assert [event["event_type"] for event in told] == ["ops.alert.raised", "ops.alert.resolved"]
    assert told[0]["payload"]["annotations"]["summary"] == "p99 is 4 s"


def test_a_silence_mutes_it_as_any_other_alert(stack: Stack) -> None:
    silence = {
        "matchers": [{"name": "service", "value": "checkout"}],
        "reason": "moving it",
        "ends_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    assert stack.call("POST", "/alerts/silences", body=silence, tenant="acme").status == 200
    send(stack, an_alert())
    stack.relay()

    assert stack.queue("notifications-test") == []
    assert alerts_of(stack)[0]["muted"]["reason"] == "moving it"


def test_many_alerts_of_one_webhook_are_as_many_episodes(stack: Stack) -> None:
    many = [an_alert(fingerprint=f"{n:016x}") for n in range(60)]

    assert send(stack, *many, *many)["opened"] == 60
    assert len(alerts_of(stack)) == 50
    assert send(stack, *(a | {"status": "resolved"} for a in many))["closed"] == 60


def test_a_rule_may_count_what_was_taken_in(stack: Stack) -> None:
    rule = {
        "name": "storm", "event_type": "ingest.alert.firing", "threshold": 2, "window_seconds": 600,
    }  # fmt: skip
    assert stack.call("POST", "/alerts/rules", body=rule, tenant="acme").status == 200
    send(stack, an_alert(), an_alert(fingerprint="2"))
    stack.relay()

    assert {alert["rule_name"] for alert in alerts_of(stack)} == {"HighLatency", "storm"}


def test_two_tenants_with_the_same_alert_have_one_each(stack: Stack) -> None:
    send(stack, an_alert())
    send(stack, an_alert(), tenant="globex")
    send(stack, an_alert("resolved"), tenant="globex")

    assert [a["state"] for a in alerts_of(stack)] == ["firing"]
    assert [a["state"] for a in alerts_of(stack, "globex")] == ["resolved"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"version": "3", "status": "firing", "alerts": []}, "/version"),
        ({"version": "4", "status": "firing"}, "/alerts"),
        (
            {"version": "4", "status": "firing", "alerts": [{"status": "firing"}]},
            "/alerts/0/labels",
        ),
        (
            {"version": "4", "status": "firing", "alerts": [an_alert(startsAt="noon")]},
            "/alerts/0/startsAt",
        ),
    ],
)
def test_what_is_no_webhook_of_version_4_is_refused_by_place(
    stack: Stack, body: Any, pointer: str
) -> None:
    answer = stack.call("POST", "/ingest/alertmanager", body=body)

    assert answer.status == 422
    assert pointer in [error["pointer"] for error in answer.body["errors"]]


# ---- PagerDuty's senders


def a_key(stack: Stack, *roles: str, tenant: str = "acme") -> str:
    body = {"name": "sender", "roles": list(roles or ("agent",)), "tenant_id": tenant}
    made = stack.call("POST", "/identity/keys", roles="admin", body=body)
    assert made.status == 200, made.body
    secret: str = made.body["secret"]
    return secret


def page(stack: Stack, key: str | None, action: str = "trigger", **given: Any) -> Answer:
    payload = {"summary": "disk full", "source": "db-1", "severity": "error"}
    body = {"event_action": action, **({"payload": payload} if action == "trigger" else {})}
    if key is not None:
        body["routing_key"] = key
    path = "/ingest/pagerduty/v2/enqueue"
    return stack.call("POST", path, roles=None, body={**body, **given})


def test_a_pagerduty_incident_is_one_episode(stack: Stack) -> None:
    key = a_key(stack)
    opened = page(stack, key)

    assert opened.status == 202
    assert opened.body.keys() == {"status", "message", "dedup_key"}
    assert (opened.body["status"], opened.body["message"]) == ("success", "Event processed")
    dedup = opened.body["dedup_key"]
    page(stack, key, dedup_key=dedup)
    assert page(stack, key, "acknowledge", dedup_key=dedup, client="pager").status == 202
    [alert] = alerts_of(stack)
    assert (alert["rule_name"], alert["acknowledged"]["by"]) == ("disk full", "pager")
    page(stack, key, "resolve", dedup_key=dedup)
    [over] = alerts_of(stack)
    assert (over["state"], over["rule_name"], over["severity"]) == (
        "resolved", "disk full", "error",
    )  # fmt: skip
    # Its key is free again.
    page(stack, key, dedup_key=dedup)
    assert len(alerts_of(stack)) == 2


@pytest.mark.parametrize("key", [None, "", "nobody's", "ak_00000000000000000000000000000", 7])
def test_a_sender_without_a_key_of_ours_is_nobody(stack: Stack, key: Any) -> None:
    assert page(stack, key).status == 401


def test_a_key_that_may_not_publish_may_not_page(stack: Stack) -> None:
    assert page(stack, a_key(stack, "viewer")).status == 403


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"event_action": "open"}, "'trigger', 'acknowledge' or 'resolve'"),
        ({"payload": None}, "payload is required of a trigger"),
        ({"event_action": "resolve"}, "dedup_key is required of resolve"),
    ],
)
def test_what_is_wrong_with_an_event_is_said(
    stack: Stack, given: dict[str, Any], detail: str
) -> None:
    answer = page(stack, a_key(stack), **given)

    assert answer.status == 422
    assert detail in answer.body["errors"][0]["detail"]


# ---- heartbeats


def a_monitor(stack: Stack, **given: Any) -> tuple[str, str]:
    body = {"name": "nightly backup", "period_seconds": 3_600, **given}
    made = stack.call("POST", "/ingest/monitors", body=body, tenant="acme")
    assert made.status == 200, made.body
    return made.body["monitor_id"], made.body["ping_key"]


def ping(stack: Stack, key: str, word: str = "", *, method: str = "GET", **given: Any) -> Answer:
    path = f"/ingest/ping/{key}" + (f"/{word}" if word else "")
    return stack.call(method, path, roles=None, **given)


def sweep(stack: Stack, monkeypatch: pytest.MonkeyPatch, **later: float) -> int:
    module = importlib.import_module("functions.alerts.evaluator")
    now = datetime.now(UTC) + timedelta(**later)
    monkeypatch.setattr(module.monitors, "_now", lambda: now)
    monkeypatch.setattr(module.monitors._intake, "_now", lambda: now)
    missed: int = module.lambda_handler({}, None)["missed"]
    return missed


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_ping_is_ok(stack: Stack, method: str) -> None:
    monitor_id, key = a_monitor(stack)
    answer = ping(stack, key, method=method)

    assert (answer.status, answer.body) == (200, "OK")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    shown = stack.call("GET", f"/ingest/monitors/{monitor_id}", tenant="acme").body["monitor"]
    assert (shown["state"], shown["pings"]) == ("up", 1)


def test_a_missing_ping_alerts_once_and_the_next_one_ends_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = a_monitor(stack)
    ping(stack, key)

    assert sweep(stack, monkeypatch, minutes=60) == 0
    assert sweep(stack, monkeypatch, minutes=62) == 1
    assert sweep(stack, monkeypatch, minutes=90) == 0
    [alert] = alerts_of(stack)
    assert (alert["rule_name"], alert["state"]) == ("nightly backup", "firing")
    assert "nothing heard since" in alert["annotations"]["summary"]
    ping(stack, key)
    assert alerts_of(stack)[0]["state"] == "resolved"
    assert types(stack) == [
        "ingest.alert.firing", "ingest.alert.resolved", "ops.alert.raised", "ops.alert.resolved",
    ]  # fmt: skip


def test_a_failing_ping_alerts_with_what_the_job_printed(stack: Stack) -> None:
    _, key = a_monitor(stack)

    assert ping(stack, key, "3", method="POST", raw="no space left on device").status == 200
    [alert] = alerts_of(stack)
    assert alert["annotations"]["summary"] == "it ended with exit code 3: no space left on device"
    # It fails on: one alert is enough.
    ping(stack, key, "fail")
    assert len(alerts_of(stack)) == 1
    ping(stack, key, "0")
    assert alerts_of(stack)[0]["state"] == "resolved"


def test_a_job_that_starts_and_ends_tells_how_long_it_took(stack: Stack) -> None:
    monitor_id, key = a_monitor(stack)
    ping(stack, key, "start")
    ping(stack, key)

    shown = stack.call("GET", f"/ingest/monitors/{monitor_id}", tenant="acme").body["monitor"]
    assert shown["last_duration_ms"] >= 0


def test_output_that_is_no_text_is_no_reason_to_lose_a_ping(stack: Stack) -> None:
    _, key = a_monitor(stack)
    raw = base64.b64encode(b"\xff\xfe\x00 broken").decode()

    assert ping(stack, key, "fail", method="POST", raw=raw, is_base64=True).status == 200
    assert alerts_of(stack)[0]["annotations"]["summary"].endswith("broken")


def test_a_ping_counts_whatever_the_headers_say(stack: Stack) -> None:
    _, key = a_monitor(stack)
    odd = {"Authorization": "Basic eDp5", "X-Api-Key": "no key of ours"}

    assert ping(stack, key, headers=odd).status == 200


@pytest.mark.parametrize("key", ["nope", "YWNtZS8wMDAw", "ak_00000000000000000000000000000"])
def test_a_key_that_nobody_has_is_404(stack: Stack, key: str) -> None:
    answer = ping(stack, key)

    assert (answer.status, answer.body["detail"]) == (
        404, "No monitor has this key; POST /ingest/monitors makes one",
    )  # fmt: skip


def test_a_monitors_id_pings_nothing(stack: Stack) -> None:
    monitor_id, _ = a_monitor(stack)

    assert ping(stack, monitor_id).status == 404


def test_a_monitor_is_changed_listed_and_removed(stack: Stack) -> None:
    monitor_id, key = a_monitor(stack)
    ping(stack, key, "fail")
    path = f"/ingest/monitors/{monitor_id}"
    changed = stack.call(
        "PUT",
        path,
        body={"name": "hourly", "period_seconds": 60, "severity": "WARNING"},
        tenant="acme",
    )
    assert (changed.status, changed.body["monitor"]["severity"]) == (200, "warning")
    listed = stack.call("GET", "/ingest/monitors", tenant="acme").body
    assert ([m["name"] for m in listed["monitors"]], listed["count"]) == (["hourly"], 1)
    assert key not in str(listed)
    assert stack.call("DELETE", path, tenant="acme").body == {"status": "ok", "deleted": monitor_id}
    # Nobody could end its alert any more.
    assert [alert["state"] for alert in alerts_of(stack)] == ["resolved"]
    assert stack.call("GET", path, tenant="acme").status == 404
    assert ping(stack, key).status == 404


def test_a_monitor_that_is_made_again_by_the_same_key_does_not_show_its_secret_again(
    stack: Stack,
) -> None:
    body = {"name": "backup", "period_seconds": 60}
    headers = {"Idempotency-Key": "once"}
    first, again = (
        stack.call("POST", "/ingest/monitors", body=body, tenant="acme", headers=headers)
        for _ in range(2)
    )

    assert (again.body["monitor_id"], again.body["ping_key"]) == (first.body["monitor_id"], None)
    assert first.body["ping_key"] not in str(again.body)


def test_another_tenant_neither_sees_nor_changes_a_monitor(stack: Stack) -> None:
    monitor_id, _ = a_monitor(stack)
    key = a_key(stack, "admin", tenant="globex")
    headers = {"X-Api-Key": key}
    path = f"/ingest/monitors/{monitor_id}"

    assert stack.call("GET", path, roles=None, headers=headers).status == 404
    assert stack.call("DELETE", path, roles=None, headers=headers).status == 404
    listed = stack.call("GET", "/ingest/monitors", roles=None, headers=headers).body
    assert listed["monitors"] == []
