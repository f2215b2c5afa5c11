"""Alert rules: their routes, and the alerts that they make out of events."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.time import to_text
from tests.component.conftest import Answer, Stack

RULE = {
    "name": "heal-failures",
    "window_seconds": 300,
    "threshold": 2,
    "event_type": "autoheal.failed",
}


def create(stack: Stack, **given: Any) -> Answer:
    called = {key: given.pop(key) for key in ("roles", "tenant") if key in given}
    return stack.call("POST", "/alerts/rules", body={**RULE, **given}, **called)


def made(stack: Stack, **given: Any) -> str:
    answer = create(stack, **given)
    assert answer.status == 200, answer.body
    return str(answer.body["rule_id"])


def fail(stack: Stack, count: int = 1, *, service: str = "a", **given: Any) -> None:
    for _ in range(count):
        payload = {"service": service, "action": "restart", "error": "boom"}
        assert stack.publish(payload=payload, **given).status == 200


def raised(stack: Stack, tenant: str | None = "acme") -> list[dict[str, Any]]:
    return stack.recent(tenant=tenant, event_type="ops.alert.raised")


def resolved(stack: Stack, tenant: str | None = "acme") -> list[dict[str, Any]]:
    return stack.recent(tenant=tenant, event_type="ops.alert.resolved")


def sweep_after(stack: Stack, monkeypatch: pytest.MonkeyPatch, **wait: float) -> None:
    """The evaluator's run at a later time, and the records that it makes."""
    evaluator = importlib.import_module("functions.alerts.evaluator")
    later = datetime.now(UTC) + timedelta(**wait)
    with monkeypatch.context() as clock:
        clock.setattr(evaluator.judge, "_now", lambda: later)
        evaluator.lambda_handler({}, None)
    stack.relay()


# ---- the routes


def test_a_new_rule_comes_back_with_every_field(stack: Stack) -> None:
    answer = create(stack, severity="ERROR", alert_severity="Warning", tenant="acme")

    assert (answer.status, answer.body["status"]) == (200, "ok")
    rule = answer.body["rule"]
    assert rule["id"] == rule["rule_id"] == answer.body["rule_id"]
    assert rule["created_at"] == rule["updated_at"]
    for name in ("id", "rule_id", "created_at", "updated_at"):
        del rule[name]
    assert rule == {
        "tenant_id": "acme",
        "name": "heal-failures",
        "window_seconds": 300,
        "threshold": 2,
        "event_type": "autoheal.failed",
        "source": None,
        "severity": "error",
        "enabled": True,
        "group_by": [],
        "alert_severity": "warning",
        "for_seconds": 0,
        "keep_firing_for_seconds": 0,
        "no_data": None,
        "measure": "count",
        "field": None,
        "of": None,
        "comparison": "at_least",
        "confirm_window_seconds": None,
        "where": {},
        "labels": {},
        "annotations": {},
    }


def test_a_rule_is_read_and_listed_as_it_was_created(stack: Stack) -> None:
    rule = create(stack, labels={"team": "ops"}, group_by=["payload.service"]).body["rule"]

    shown = stack.call("GET", f"/alerts/rules/{rule['id']}").body
    assert shown == {"status": "ok", "rule": rule}
    listed = stack.call("GET", "/alerts/rules").body
    assert listed == {"status": "ok", "count": 1, "rules": [rule]}


def test_rules_are_listed_oldest_first(stack: Stack) -> None:
    for name in ("c", "a", "b"):
        create(stack, name=name)

    rules = stack.call("GET", "/alerts/rules").body["rules"]
    assert [rule["name"] for rule in rules] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "n" * 129}, "/name"),
        ({"window_seconds": None}, "/window_seconds"),
        ({"window_seconds": 0}, "/window_seconds"),
        ({"window_seconds": -1}, "/window_seconds"),
        ({"window_seconds": 1.5}, "/window_seconds"),
        ({"window_seconds": 30 * 86_400 + 1}, "/window_seconds"),
        ({"threshold": None}, "/threshold"),
        ({"threshold": 0}, "/threshold"),
        ({"threshold": 10_001}, "/threshold"),
        ({"severity": "fatal"}, "/severity"),
        ({"alert_severity": "loud"}, "/alert_severity"),
        ({"enabled": "perhaps"}, "/enabled"),
        ({"group_by": ["colour"]}, "/group_by"),
        ({"group_by": ["payload."]}, "/group_by"),
        ({"group_by": "source"}, "/group_by"),
        ({"group_by": ["source"] * 9}, "/group_by"),
        ({"for_seconds": -1}, "/for_seconds"),
        ({"keep_firing_for_seconds": 86_401}, "/keep_firing_for_seconds"),
        ({"no_data": "perhaps"}, "/no_data"),
        ({"labels": {"a": 1}}, "/labels/a"),
        ({"tenant_id": "a b"}, "/tenant_id"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_wrong_field_of_a_rule_is_422_and_named(stack: Stack, given: Any, pointer: str) -> None:
    answer = create(stack, **given)

    assert (answer.status, [e["pointer"] for e in answer.body["errors"]]) == (422, [pointer])
    assert stack.call("GET", "/alerts/rules").body["count"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/alerts/rules/x"), ("DELETE", "/alerts/rules/x"),
     ("PATCH", "/alerts/rules/x/enabled")],
)  # fmt: skip
def test_a_rule_that_is_not_there_is_404(stack: Stack, method: str, path: str) -> None:
    answer = stack.call(method, path, query={"enabled": "true"})

    assert (answer.status, answer.body["detail"]) == (404, "Rule x not found")


def test_a_deleted_rule_is_gone(stack: Stack) -> None:
    rule_id = made(stack)

    assert stack.call("DELETE", f"/alerts/rules/{rule_id}").body == {
        "status": "ok",
        "deleted": rule_id,
    }
    again = stack.call("DELETE", f"/alerts/rules/{rule_id}")
    assert (again.status, again.body["detail"]) == (404, f"Rule {rule_id} not found")


@pytest.mark.parametrize(("given", "enabled"), [("false", False), ("true", True), ("0", False)])
def test_a_rule_is_switched_by_the_query(stack: Stack, given: str, *, enabled: bool) -> None:
    rule_id = made(stack)

    answer = stack.call("PATCH", f"/alerts/rules/{rule_id}/enabled", query={"enabled": given})
    assert answer.body == {"status": "ok", "rule_id": rule_id, "enabled": enabled}
    rule = stack.call("GET", f"/alerts/rules/{rule_id}").body["rule"]
    assert rule["enabled"] is enabled
    assert rule["updated_at"] > rule["created_at"]


@pytest.mark.parametrize("query", [None, {"enabled": "perhaps"}, {"enabled": ""}])
def test_a_switch_without_a_clear_position_is_422(
    stack: Stack, query: dict[str, str] | None
) -> None:
    rule_id = made(stack)

    assert stack.call("PATCH", f"/alerts/rules/{rule_id}/enabled", query=query).status == 422


# ---- whose a rule is


def test_a_tenant_sees_and_changes_only_its_own_rules(stack: Stack) -> None:
    rule_id = made(stack, tenant="acme")
    path = f"/alerts/rules/{rule_id}"

    assert stack.call("GET", "/alerts/rules", tenant="globex").body["rules"] == []
    for method, at in (("GET", path), ("DELETE", path), ("PATCH", path + "/enabled")):
        answer = stack.call(method, at, tenant="globex", query={"enabled": "false"})
        assert (answer.status, answer.body["detail"]) == (404, f"Rule {rule_id} not found")
    assert stack.call("GET", path, tenant="acme").body["rule"]["enabled"] is True


def test_a_rule_made_without_a_tenant_is_global_and_seen_by_all(stack: Stack) -> None:
    answer = create(stack)
    rule_id = answer.body["rule_id"]

    assert answer.body["rule"]["tenant_id"] is None
    for tenant in ("acme", "globex", None):
        listed = stack.call("GET", "/alerts/rules", tenant=tenant).body["rules"]
        assert [rule["id"] for rule in listed] == [rule_id]
        assert stack.call("GET", f"/alerts/rules/{rule_id}", tenant=tenant).status == 200


def test_only_an_admin_makes_a_global_rule_from_within_a_tenant(stack: Stack) -> None:
    assert create(stack, tenant_id=None, tenant="acme", roles="operator").status == 403

    answer = create(stack, tenant_id=None, tenant="acme", roles="admin")
    assert (answer.status, answer.body["rule"]["tenant_id"]) == (200, None)


def test_a_rule_may_be_made_for_a_tenant_that_is_named(stack: Stack) -> None:
    rule_id = made(stack, tenant_id="globex", tenant="acme")

    assert stack.call("GET", f"/alerts/rules/{rule_id}", tenant="globex").status == 200
    query = {"tenant_id": "globex"}
    assert stack.call("GET", "/alerts/rules", tenant="acme", query=query).body["count"] == 1


def test_who_names_no_tenant_sees_every_rule(stack: Stack) -> None:
    made(stack, name="a", tenant="acme")
    made(stack, name="g", tenant="globex")

    assert stack.call("GET", "/alerts/rules").body["count"] == 2


def test_another_tenants_events_do_not_count(stack: Stack) -> None:
    made(stack, tenant="acme")
    fail(stack, 5, tenant="globex")
    stack.relay()

    assert stack.call("POST", "/alerts/evaluate", tenant="acme").body == {
        "status": "ok",
        "evaluated": 1,
        "triggered": 0,
        "alerts": [],
    }
    assert raised(stack, "acme") == []


def test_a_global_rule_counts_every_tenants_events_together(stack: Stack) -> None:
    made(stack)
    fail(stack, tenant="acme")
    fail(stack, tenant="globex")
    stack.relay()

    (alert,) = raised(stack, None)
    assert (alert["tenant_id"], alert["payload"]["matched_count"]) == ("system", 2)


def test_a_global_rule_grouped_by_tenant_alerts_the_tenant_itself(stack: Stack) -> None:
    made(stack, group_by=["tenant_id"])
    fail(stack, 2, tenant="acme")
    fail(stack, 1, tenant="globex")
    stack.relay()

    (alert,) = raised(stack, "acme")
    assert (alert["tenant_id"], alert["payload"]["group"]) == ("acme", {"tenant_id": "acme"})
    assert raised(stack, "globex") == []


# ---- evaluating by hand


def test_evaluate_sees_an_event_at_once_without_the_relay(stack: Stack) -> None:
    rule_id = made(stack, tenant="acme")
    fail(stack, 3, tenant="acme")

    answer = stack.call("POST", "/alerts/evaluate", tenant="acme").body

    assert answer["alerts"][0].pop("alert_id")
    assert answer == {
        "status": "ok",
        "evaluated": 1,
        "triggered": 1,
        "alerts": [
            {
                "rule_id": rule_id,
                "rule_name": "heal-failures",
                "count": 3,
                "threshold": 2,
                "state": "firing",
                "new": True,
                "group": {},
            }
        ],
    }
    assert len(raised(stack)) == 1


def test_evaluate_twice_reports_twice_and_raises_once(stack: Stack) -> None:
    made(stack, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.call("POST", "/alerts/evaluate", tenant="acme")

    (again,) = stack.call("POST", "/alerts/evaluate", tenant="acme").body["alerts"]
    assert (again["state"], again["new"]) == ("firing", False)
    stack.relay()
    assert len(raised(stack)) == 1


def test_evaluate_counts_only_the_rules_that_are_on(stack: Stack) -> None:
    made(stack, enabled=False, tenant="acme")
    made(stack, tenant="acme")

    assert stack.call("POST", "/alerts/evaluate", tenant="acme").body["evaluated"] == 1


def test_evaluate_judges_no_other_tenants_rules(stack: Stack) -> None:
    made(stack, tenant="acme")

    assert stack.call("POST", "/alerts/evaluate", tenant="globex").body["evaluated"] == 0


def test_a_condition_that_must_last_is_pending_first(stack: Stack) -> None:
    made(stack, for_seconds=60, tenant="acme")
    fail(stack, 2, tenant="acme")

    (alert,) = stack.call("POST", "/alerts/evaluate", tenant="acme").body["alerts"]
    assert (alert["state"], alert["new"]) == ("pending", False)
    assert raised(stack) == []


# ---- alerts


def test_an_alert_says_what_held(stack: Stack) -> None:
    rule_id = made(
        stack, severity="error", source="test", alert_severity="error", tenant="acme",
        group_by=["payload.service"], labels={"team": "ops"},
    )  # fmt: skip
    fail(stack, 2, severity="error", tenant="acme")
    stack.relay()

    (alert,) = raised(stack)
    assert (alert["severity"], alert["source"]) == ("error", "aether-command-center")
    assert alert["payload"].pop("episode_id")
    assert alert["payload"] == {
        "rule_name": "heal-failures",
        "rule_id": rule_id,
        "matched_count": 2,
        "window_seconds": 300,
        "threshold": 2,
        "measure": "count",
        "comparison": "at_least",
        "filters": {"event_type": "autoheal.failed", "source": "test", "severity": "error"},
        "group": {"payload.service": "a"},
        "labels": {"team": "ops"},
        "annotations": {},
    }


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_events_than_the_threshold_raise_nothing(stack: Stack, count: int) -> None:
    made(stack, tenant="acme")
    fail(stack, count, tenant="acme")
    stack.relay()

    assert raised(stack) == []


@pytest.mark.parametrize(
    "given",
    [{"event_type": "lead.created", "payload": {}}, {"source": "else"}, {"severity": "info"}],
)
def test_an_event_that_fits_not_every_filter_does_not_count(
    stack: Stack, given: dict[str, Any]
) -> None:
    made(stack, threshold=1, source="test", severity="error", tenant="acme")
    stack.publish(**{"severity": "error", "tenant": "acme", **given})
    stack.relay()

    assert raised(stack) == []


def test_events_too_far_apart_raise_nothing(stack: Stack) -> None:
    made(stack, window_seconds=60, tenant="acme")
    fail(stack, tenant="acme", timestamp=to_text(datetime.now(UTC) - timedelta(seconds=90)))
    fail(stack, tenant="acme")
    stack.relay()

    assert raised(stack) == []


def test_an_episode_is_raised_once_whatever_is_delivered_again(stack: Stack) -> None:
    made(stack, tenant="acme")
    fail(stack, 3, tenant="acme")
    stack.relay()
    for _ in range(2):
        stack.delivered = 0
        stack.relay()

    assert len(raised(stack)) == 1
    assert resolved(stack) == []


def test_more_events_of_the_same_episode_raise_nothing_more(stack: Stack) -> None:
    made(stack, tenant="acme")
    for _ in range(4):
        fail(stack, tenant="acme")
        stack.relay()

    assert len(raised(stack)) == 1


def test_each_group_has_an_episode_of_its_own(stack: Stack) -> None:
    made(stack, group_by=["payload.service"], tenant="acme")
    fail(stack, 2, service="a", tenant="acme")
    fail(stack, 2, service="b", tenant="acme")
    fail(stack, 1, service="c", tenant="acme")
    stack.relay()

    groups = sorted(alert["payload"]["group"]["payload.service"] for alert in raised(stack))
    assert groups == ["a", "b"]


def test_a_new_rule_counts_what_was_there_before(stack: Stack) -> None:
    fail(stack, 2, tenant="acme")
    stack.relay()
    made(stack, tenant="acme")

    assert len(raised(stack)) == 1


def test_a_rule_does_not_count_alerts(stack: Stack) -> None:
    made(stack, threshold=1, event_type=None, tenant="acme")
    fail(stack, tenant="acme")
    stack.relay()

    (alert,) = raised(stack)
    assert alert["payload"]["matched_count"] == 1


def test_an_alert_is_announced_to_the_topic(stack: Stack) -> None:
    made(stack, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()

    (message,) = stack.queue("notifications-test")
    assert message["event"] == raised(stack)[0]


# ---- the evaluator


def test_an_alert_is_resolved_once_time_has_passed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(stack, window_seconds=60, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()

    sweep_after(stack, monkeypatch, seconds=50)
    assert resolved(stack) == []
    for _ in range(2):
        sweep_after(stack, monkeypatch, seconds=61)
    (end,) = stack.call("GET", "/events/recent", tenant="acme", query={
        "event_type": "ops.alert.resolved"}).body["events"]  # fmt: skip
    assert end["payload"]["episode_id"] == raised(stack)[0]["payload"]["episode_id"]
    assert end["severity"] == "info"


def test_an_alert_keeps_firing_for_as_long_as_its_rule_says(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(stack, window_seconds=60, keep_firing_for_seconds=60, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()

    sweep_after(stack, monkeypatch, seconds=70)
    assert resolved(stack) == []
    sweep_after(stack, monkeypatch, seconds=121)
    assert len(resolved(stack)) == 1


def test_a_condition_that_lasted_is_raised_by_the_evaluator(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(stack, for_seconds=30, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()

    assert raised(stack) == []
    sweep_after(stack, monkeypatch, seconds=31)
    assert len(raised(stack)) == 1


def test_a_condition_that_did_not_last_is_never_raised(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(stack, window_seconds=60, for_seconds=90, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()
    sweep_after(stack, monkeypatch, seconds=100)

    assert (raised(stack), resolved(stack)) == ([], [])


def test_each_group_is_resolved(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    made(stack, window_seconds=60, group_by=["payload.service"], tenant="acme")
    fail(stack, 2, service="a", tenant="acme")
    fail(stack, 2, service="b", tenant="acme")
    stack.relay()
    sweep_after(stack, monkeypatch, seconds=61)

    began = {alert["payload"]["episode_id"] for alert in raised(stack)}
    assert {alert["payload"]["episode_id"] for alert in resolved(stack)} == began
    assert len(began) == 2


def test_the_evaluator_has_nothing_to_do_without_alerts(stack: Stack) -> None:
    evaluator = importlib.import_module("functions.alerts.evaluator")

    assert evaluator.lambda_handler({}, None)["due"] == 0


# ---- rules that end


def test_deleting_a_rule_resolves_its_alert(stack: Stack) -> None:
    rule_id = made(stack, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()
    stack.call("DELETE", f"/alerts/rules/{rule_id}", tenant="acme")

    (end,) = resolved(stack)
    assert end["payload"]["reason"] == "the rule was deleted"


def test_disabling_a_rule_resolves_its_alert(stack: Stack) -> None:
    rule_id = made(stack, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()
    stack.call(
        "PATCH", f"/alerts/rules/{rule_id}/enabled", tenant="acme", query={"enabled": "false"}
    )

    (end,) = resolved(stack)
    assert end["payload"]["reason"] == "the rule was disabled"


def test_a_disabled_rule_is_silent(stack: Stack) -> None:
    made(stack, enabled=False, tenant="acme")
    fail(stack, 3, tenant="acme")
    stack.relay()

    assert stack.call("POST", "/alerts/evaluate", tenant="acme").body["evaluated"] == 0
    assert raised(stack) == []


def test_a_rule_that_is_switched_on_counts_what_is_in_its_window(stack: Stack) -> None:
    rule_id = made(stack, enabled=False, tenant="acme")
    fail(stack, 3, tenant="acme")
    stack.relay()
    stack.call(
        "PATCH", f"/alerts/rules/{rule_id}/enabled", tenant="acme", query={"enabled": "true"}
    )

    assert len(raised(stack)) == 1


def test_a_watch_whose_rule_is_gone_is_resolved_by_the_evaluator(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_id = made(stack, window_seconds=60, tenant="acme")
    fail(stack, 2, tenant="acme")
    stack.relay()
    rules = importlib.import_module("functions.alerts.api").alerting._rules
    rules.delete(rules.get("acme", rule_id))

    sweep_after(stack, monkeypatch, seconds=61)
    (end,) = resolved(stack)
    assert end["payload"]["reason"] == "the rule was deleted"


def test_a_damaged_rule_does_not_stop_the_others(stack: Stack) -> None:
    made(stack, tenant="acme")
    rules = importlib.import_module("functions.alerts.api").alerting._rules
    rules._table.put({"pk": "acme#rules", "sk": "bad", "kind": "rule", "rule": "{"})
    fail(stack, 2, tenant="acme")
    stack.relay()

    assert len(raised(stack)) == 1
    assert stack.call("GET", "/alerts/rules", tenant="acme").body["count"] == 1
