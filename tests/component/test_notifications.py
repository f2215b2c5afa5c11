"""Endpoints, deliveries and rules through the real handlers, with the dispatcher and a real receiver."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from tests.component.conftest import Answer, Stack
from tests.component.test_dispatcher import Dispatch, Receiver, closed_port, dispatch, receiver

__all__ = ["dispatch", "receiver"]


def an_endpoint(stack: Stack, url: str, tenant: str = "acme", **given: Any) -> dict[str, Any]:
    body = {"name": "on call", "url": url, **given}
    made = stack.call("POST", "/notifications/endpoints", body=body, tenant=tenant)
    assert made.status == 200, made.body
    answer: dict[str, Any] = made.body
    return answer


def raise_alert(stack: Stack, tenant: str = "acme", **rule: Any) -> None:
    body = {"name": "errors", "window_seconds": 300, "threshold": 1, **rule}
    assert stack.call("POST", "/alerts/rules", body=body, tenant=tenant).status == 200
    stack.publish(tenant=tenant)
    stack.relay()


@pytest.fixture
def pump(stack: Stack, dispatch: Dispatch) -> Callable[[], list[str]]:
    """Take all that the topic and the API put into the queue, until there is no more."""
    dispatch.to()

    def run() -> list[str]:
        failed: list[str] = []
        # What the API has just made is due by now.
        dispatch.now = max(dispatch.now, datetime.now(UTC))
        while messages := stack.queue("notifications-test"):
            failed += dispatch.take(*messages)
        return failed

    return run


def get(stack: Stack, path: str, tenant: str = "acme", **query: str) -> Any:
    answer = stack.call("GET", path, tenant=tenant, query=query or None)
    assert answer.status == 200, answer.body
    return answer.body


# ---- endpoints


def test_an_alert_of_the_tenant_reaches_its_endpoint_signed(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    raise_alert(stack)
    raise_alert(stack, tenant="globex")

    assert pump() == []
    [(headers, body)] = receiver.got
    assert (body["type"], body["data"]["tenant_id"]) == ("ops.alert.raised", "acme")
    assert body["text"].startswith(":rotating_light: *AetherLink Alert Triggered*")
    [delivery] = get(stack, "/notifications/deliveries")["deliveries"]
    assert (delivery["state"], delivery["webhook_id"]) == ("delivered", headers["webhook-id"])
    assert made["secret"].startswith("whsec_")


def test_a_signature_is_one_that_the_package_of_the_standard_verifies(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    first = an_endpoint(stack, receiver.url)
    path = f"/notifications/endpoints/{first['endpoint_id']}/rotate-secret"
    second = stack.call("POST", path, tenant="acme", body={"overlap_seconds": 60}).body["secret"]
    stack.call("POST", f"/notifications/endpoints/{first['endpoint_id']}/test", tenant="acme")
    pump()

    [(headers, _)] = receiver.got
    # Whoever still has the old secret verifies it, and whoever has the new one.
    for secret in (first["secret"], second):
        Webhook(secret).verify(receiver.raw[0], headers)


def test_a_secret_is_shown_once(stack: Stack, receiver: Receiver) -> None:
    made = an_endpoint(stack, receiver.url)
    shown = [
        get(stack, "/notifications/endpoints"),
        get(stack, f"/notifications/endpoints/{made['endpoint_id']}"),
    ]

    assert made["secret"] not in json.dumps(shown)
    assert "secret-token" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"name": "x"}, "routing_key is required of kind pagerduty"),
        (
            {"name": "x", "kind": "grafana", "url": "https://g.example"},
            "token is required of kind grafana",
        ),
        (
            {"name": "x", "url": "https://g.example", "token": "glsa_01234"},
            "token is for kind grafana",
        ),
        ({"name": "x", "kind": "slack"}, "url is required"),
        ({"name": "x", "url": "ftp://x.example/"}, "http"),
        ({"name": "x", "url": "https://x.example", "event_types": ["a b"]}, "must be event types"),
        ({"name": "x", "url": "https://x.example", "min_severity": "loud"}, "critical"),
        ({"name": "x", "url": "https://x.example", "colour": "red"}, "not permitted"),
    ],
)
def test_an_endpoint_that_could_not_work_is_refused(
    stack: Stack, body: dict[str, Any], detail: str
) -> None:
    answer = stack.call("POST", "/notifications/endpoints", body=body)

    assert answer.status in (400, 422)
    assert detail in json.dumps(answer.body)


def test_an_endpoint_hears_what_it_asks_for(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    an_endpoint(stack, receiver.url, event_types=["ops.alert.*"], min_severity="critical")
    raise_alert(stack, name="small", alert_severity="warning")
    raise_alert(stack, name="big", alert_severity="critical")
    pump()

    assert [body["data"]["payload"]["rule_name"] for _, body in receiver.got] == ["big"]


def test_an_endpoint_hears_of_events_that_are_no_alerts(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    an_endpoint(stack, receiver.url, event_types=["autoheal.*"])
    stack.publish(tenant="acme")
    stack.publish(tenant="globex")
    stack.relay()
    pump()

    assert [body["type"] for _, body in receiver.got] == ["autoheal.failed"]


def test_a_changed_endpoint_goes_by_its_new_words_and_a_removed_one_is_gone(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, f"http://127.0.0.1:{closed_port()}/")
    path = f"/notifications/endpoints/{made['endpoint_id']}"
    draft = {"name": "moved", "url": receiver.url}
    assert stack.call("PUT", path, body=draft, tenant="acme").body["endpoint"]["name"] == "moved"
    raise_alert(stack)
    pump()
    assert len(receiver.got) == 1
    assert stack.call("DELETE", path, tenant="acme").status == 200
    assert stack.call("GET", path, tenant="acme").status == 404


def test_one_that_is_gone_is_disabled_aloud_and_can_be_enabled(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    receiver.orders = [410]
    raise_alert(stack)
    pump()

    path = f"/notifications/endpoints/{made['endpoint_id']}"
    shown = get(stack, path)["endpoint"]
    assert (shown["enabled"], shown["disabled_because"]) == (False, "gone")
    [event] = stack.recent(tenant="acme", event_type="ops.endpoint.disabled")
    assert event["payload"]["because"] == "gone"
    assert stack.call("POST", f"{path}/enable", tenant="acme").body["endpoint"]["enabled"] is True


def test_who_was_told_of_the_beginning_is_told_of_the_end(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    raise_alert(stack)
    pump()
    # Whatever it wants to hear by then.
    stack.call(
        "PUT",
        f"/notifications/endpoints/{made['endpoint_id']}",
        body={"name": "x", "url": receiver.url, "event_types": ["lead.*"]},
        tenant="acme",
    )
    [rule] = get(stack, "/alerts/rules")["rules"]
    stack.call("DELETE", f"/alerts/rules/{rule['id']}", tenant="acme")
    stack.relay()
    pump()

    assert [body["type"] for _, body in receiver.got] == ["ops.alert.raised", "ops.alert.resolved"]


def test_a_flood_is_told_in_one_message_and_none_is_lost(
    stack: Stack,
    receiver: Receiver,
    dispatch: Dispatch,
    pump: Callable[[], list[str]],
) -> None:
    dispatch.now = datetime(2099, 1, 1, 12, 0, 5, tzinfo=UTC)
    an_endpoint(stack, receiver.url, digest={"after": 2, "window_seconds": 60})
    raise_alert(stack, group_by=["source"], name="per source")
    for n in range(9):
        stack.publish(tenant="acme", source=f"s{n}", event_id=f"e{n}")
    stack.relay()
    pump()
    assert len(receiver.got) == 2
    dispatch.now = datetime(2099, 1, 1, 12, 1, 1, tzinfo=UTC)
    deliveries = get(stack, "/notifications/deliveries")["deliveries"]
    dispatch.take(*({"delivery_id": d["id"]} for d in deliveries if d["is_digest"]))

    digest = receiver.got[-1][1]
    assert (digest["type"], digest["data"]["digest"]["count"]) == ("ops.alert.digest", 8)
    states = [delivery["state"] for delivery in deliveries]
    assert (states.count("delivered"), states.count("digested")) == (2, 8)


def test_who_may_act_for_every_tenant_names_one(stack: Stack, receiver: Receiver) -> None:
    body = {"name": "x", "url": receiver.url, "tenant_id": "globex"}
    made = stack.call("POST", "/notifications/endpoints", body=body)
    assert made.body["endpoint"]["tenant_id"] == "globex"
    path = f"/notifications/endpoints/{made.body['endpoint_id']}"
    moved = stack.call("PUT", path, body={**body, "tenant_id": "acme"})
    assert (moved.status, "stays its tenant's" in moved.body["detail"]) == (400, True)


# ---- the log


def test_a_delivery_shows_every_attempt(
    stack: Stack, receiver: Receiver, dispatch: Dispatch, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    receiver.orders = [429, 500]
    raise_alert(stack)
    pump()
    [brief] = get(stack, "/notifications/deliveries")["deliveries"]
    for seconds in (6, 70):
        dispatch.again(seconds=seconds, of=[brief["id"]])

    shown = get(stack, f"/notifications/deliveries/{brief['id']}")["delivery"]
    assert [(a["status"], a["error_class"]) for a in shown["attempts"]] == [
        (429, "rate_limited"), (500, "transient"), (200, None),
    ]  # fmt: skip
    assert all(attempt["ms"] >= 0 for attempt in shown["attempts"])
    assert shown["event"]["event_type"] == "ops.alert.raised"
    stats = get(stack, "/notifications/deliveries/stats")
    assert (stats["total"], stats["delivered"], stats["success_rate"]) == (1, 1, 1.0)
    assert stats["endpoints"][0]["endpoint_id"] == made["endpoint_id"]
    assert stats["failed_attempts"]["rate_limited"] == 1


def test_what_was_given_up_is_sent_again_by_one_or_by_filter(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    an_endpoint(stack, receiver.url)
    receiver.orders = [400, 400, 400]
    for name in ("one", "two", "three"):
        raise_alert(stack, name=name, event_type="autoheal.failed")
    pump()
    failed = get(stack, "/notifications/deliveries", state="failed")["deliveries"]
    assert len(failed) == len(receiver.got) == 3
    one = f"/notifications/deliveries/{failed[0]['id']}/replay"
    again = stack.call("POST", one, tenant="acme")
    assert (again.status, again.body["delivery"]["state"]) == (202, "pending")
    pump()
    rest = stack.call(
        "POST", "/notifications/deliveries/replay", body={"state": "failed"}, tenant="acme"
    )
    assert rest.body["replayed"] == 2
    pump()

    assert get(stack, "/notifications/deliveries", state="delivered")["count"] == 3
    assert get(stack, "/notifications/deliveries", state="failed")["count"] == 0
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("deed", ["test", "replay"])
def test_who_has_mended_a_receiver_need_not_wait_for_its_rest_to_end(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]], deed: str
) -> None:
    made = an_endpoint(stack, receiver.url)
    path = f"/notifications/endpoints/{made['endpoint_id']}"
    receiver.orders = [503, 503]
    for name in ("one", "two"):
        raise_alert(stack, name=name, event_type="autoheal.failed")
        pump()
    assert get(stack, path)["endpoint"]["resting_until"]
    waiting = get(stack, "/notifications/deliveries", state="pending")["deliveries"]
    if deed == "replay":
        path = f"/notifications/deliveries/{waiting[0]['id']}"
    assert stack.call("POST", f"{path}/{deed}", tenant="acme").status == 202
    pump()

    assert get(stack, "/notifications/deliveries", state="delivered")["count"] == 1


def test_the_log_has_pages_and_filters(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    for _ in range(5):
        stack.call("POST", f"/notifications/endpoints/{made['endpoint_id']}/test", tenant="acme")
    pump()

    first = get(stack, "/notifications/deliveries", limit="2")
    second = get(stack, "/notifications/deliveries", limit="3", cursor=first["next_cursor"])
    ids = [d["id"] for d in (*first["deliveries"], *second["deliveries"])]
    assert len(set(ids)) == 5
    assert get(stack, "/notifications/deliveries", state="failed")["count"] == 0
    of_type = get(stack, "/notifications/deliveries", event_type="ops.endpoint.test")
    assert of_type["count"] == 5
    wrong = stack.call("GET", "/notifications/deliveries", tenant="acme", query={"state": "lost"})
    assert wrong.status == 422


def test_a_cursor_of_another_tenant_is_refused(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(stack, receiver.url)
    for _ in range(2):
        stack.call("POST", f"/notifications/endpoints/{made['endpoint_id']}/test", tenant="acme")
    cursor = get(stack, "/notifications/deliveries", limit="1")["next_cursor"]

    answer = stack.call(
        "GET", "/notifications/deliveries", tenant="globex", query={"cursor": cursor}
    )
    assert answer.status == 400


# ---- links in messages


@pytest.fixture
def linked(
    stack: Stack,
    receiver: Receiver,
    pump: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, dict[str, str]]:
    """The links of an alert's message, by what they say, each as the query of its route."""
    one_click = importlib.import_module("aetherlink.wiring").one_click()
    monkeypatch.setattr(one_click, "_base_url", lambda: "https://api.example/prod")
    an_endpoint(stack, receiver.url)
    raise_alert(stack)
    pump()
    links = receiver.got[0][1]["data"]["links"]
    return {link["text"]: dict([urlsplit(link["url"]).query.split("=", 1)]) for link in links}


def follow(stack: Stack, method: str, query: dict[str, str], **given: Any) -> Answer:
    return stack.call(method, "/alerts/act", roles=None, query=query, **given)


def alert(stack: Stack) -> Any:
    return get(stack, "/alerts")["alerts"][0]


def test_following_a_link_shows_a_page_and_does_nothing(
    stack: Stack, linked: dict[str, dict[str, str]]
) -> None:
    for _ in range(3):
        page = follow(stack, "GET", linked["Acknowledge"])

    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<form" in page.body
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert alert(stack)["acknowledged"] is None


def test_its_button_acknowledges(stack: Stack, linked: dict[str, dict[str, str]]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    done = follow(stack, "POST", linked["Acknowledge"], headers=form, raw="")

    assert (done.status, "Acknowledged" in done.body) == (200, True)
    assert alert(stack)["acknowledged"]["by"].startswith("link:")


def test_its_button_silences_for_an_hour(stack: Stack, linked: dict[str, dict[str, str]]) -> None:
    follow(stack, "POST", linked["Silence for an hour"])

    [silence] = get(stack, "/alerts/silences")["silences"]
    assert silence["reason"] == "by the link in its message"


def test_whoever_is_signed_in_may_follow_a_link_too(
    stack: Stack, linked: dict[str, dict[str, str]]
) -> None:
    keys = {tenant: a_key(stack, tenant) for tenant in ("acme", "globex")}
    # In a process that has not read the signing key yet.
    importlib.import_module("aetherlink.wiring").one_click_key.cache_clear()

    def page(tenant: str) -> int:
        query, sent = linked["Acknowledge"], {"X-Api-Key": keys[tenant]}
        return stack.call("GET", "/alerts/act", roles=None, query=query, headers=sent).status

    assert page("acme") == 200
    assert page("globex") == 404


def a_key(stack: Stack, tenant: str) -> str:
    body = {"name": "pager", "roles": ["operator"], "tenant_id": tenant}
    return str(stack.call("POST", "/identity/keys", roles="admin", body=body).body["secret"])


def test_a_link_that_was_changed_is_nobodys(
    stack: Stack, linked: dict[str, dict[str, str]]
) -> None:
    ticket = linked["Acknowledge"]["ticket"]
    for wrong in (ticket[:-2] + "xx", "x" + ticket, ticket.replace(".", ""), ""):
        assert follow(stack, "POST", {"ticket": wrong}).status in (401, 422)
    assert alert(stack)["acknowledged"] is None


def test_a_link_buys_nothing_else(stack: Stack, linked: dict[str, dict[str, str]]) -> None:
    answer = stack.call("GET", "/alerts", roles=None, query=linked["Acknowledge"])

    assert answer.status == 401


# ---- notification rules


def test_the_shipped_rules_and_the_default(stack: Stack) -> None:
    shown = get(stack, "/notifications/rules")

    assert shown["status"] == "ok"
    assert len(shown["rules"]) == 5
    assert shown["default"] == {
        "notify": True, "template": "[{tenant_id}] {event_type} on lead #{lead_id}",
    }  # fmt: skip


@pytest.mark.parametrize("flat", [True, False])
def test_a_rule_can_be_tried(stack: Stack, flat: bool) -> None:
    fields = {"lead_id": "42", "new_status": "qualified", "actor": "bob"}
    event = {"event_type": "lead.status_changed", **(fields if flat else {"payload": fields})}
    answer = stack.call("POST", "/notifications/test", body=event, tenant="acme")

    assert answer.body == {
        "event_type": "lead.status_changed",
        "tenant_id": "acme",
        "title": "lead.status_changed (acme)",
        "message": "Lead #42 moved to QUALIFIED by bob",
        "channel": None,
        "raw": event,
    }


def test_what_is_suppressed_says_by_which_rule(stack: Stack) -> None:
    event = {"event_type": "lead.note_added", "tenant_id": "acme", "lead_id": 1}
    answer = stack.call("POST", "/notifications/test", body=event)

    assert answer.body["suppressed"] is True
    assert answer.body["rule"]["match"] == {"event_type": "lead.note_added"}
    assert "lead.note_added" in answer.body["message"]


def test_rules_are_the_tenants_own_until_it_gives_them_up(stack: Stack) -> None:
    rules = {"rules": [{"match": {"event_type": "lead.*"}, "template": "L{lead_id}"}]}
    put = stack.call("PUT", "/notifications/rules", body=rules, tenant="acme")
    assert (put.status, len(put.body["rules"])) == (200, 1)
    event = {"event_type": "lead.note_added", "lead_id": 5}
    tried = stack.call("POST", "/notifications/test", body=event, tenant="acme")
    assert tried.body["message"] == "L5"
    assert len(get(stack, "/notifications/rules", tenant="globex")["rules"]) == 5
    reset = stack.call("DELETE", "/notifications/rules", tenant="acme")
    assert len(reset.body["rules"]) == 5


def test_a_template_with_an_unknown_field_is_refused(stack: Stack) -> None:
    rules = {"rules": [{"match": {"event_type": "x"}, "template": "{phone}"}]}
    answer = stack.call("PUT", "/notifications/rules", body=rules)

    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"] == "/rules/0/template"


def test_the_crms_events_are_told_by_rule_and_channel(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    an_endpoint(stack, receiver.url, name="sales")
    rules = {
        "rules": [
            {
                "match": {"event_type": "lead.status_changed", "new_status": "won"},
                "channel": "sales",
                "template": "{lead_id} is won",
            },
        ]
    }
    stack.call("PUT", "/notifications/rules", body=rules, tenant="acme")
    for status in ("won", "lost"):
        payload = {"lead_id": "7", "new_status": status}
        stack.publish("lead.status_changed", tenant="acme", payload=payload)
    stack.relay()
    pump()

    [(_, body)] = receiver.got
    assert "7 is won" in body["text"]


def test_an_alarm_of_cloudwatch_reaches_whoever_hears_of_every_tenants_alerts(
    stack: Stack, receiver: Receiver, dispatch: Dispatch
) -> None:
    dispatch.to(receiver.url)
    alarm = {
        "AlarmName": "RelayBehindAlarm",
        "AlarmDescription": "The relay is more than a minute behind",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-23T12:00:00.000+0000",
    }
    assert dispatch.take(alarm) == dispatch.take(alarm) == []

    [(_, body)] = receiver.got
    assert body["type"] == "ops.platform.alarm"
    assert "RelayBehindAlarm is ALARM" in body["text"]


def test_grafana_gets_an_annotation_with_its_token(
    stack: Stack, receiver: Receiver, pump: Callable[[], list[str]]
) -> None:
    made = an_endpoint(
        stack, receiver.url, kind="grafana", token="glsa_0123456789", event_types=["ai.fallback.*"]
    )
    failed = {"provider_chain": ["claude"], "errors": [], "intent": "chat", "latency_ms": 5}
    stack.publish("ai.fallback.failed", tenant="acme", payload=failed, severity="error")
    stack.relay()
    pump()

    [(headers, body)] = receiver.got
    assert headers["authorization"] == "Bearer glsa_0123456789"
    assert {"aetherlink", "ai.fallback.failed", "tenant:acme"} <= set(body["tags"])
    shown = get(stack, f"/notifications/endpoints/{made['endpoint_id']}")
    assert "glsa_" not in json.dumps(shown)
