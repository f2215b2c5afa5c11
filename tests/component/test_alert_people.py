"""What people do with alerts: look, take in hand, silence; and whether they are told at all."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.time import to_text
from tests.component.conftest import Stack
from tests.component.test_alerts import fail, made, raised, resolved, sweep_after


def told(stack: Stack) -> list[str]:
    """Which alerts' events reached the topic, by rule and word."""
    return [
        f"{m['event']['payload']['rule_name']} {m['event']['event_type'].rpartition('.')[2]}"
        for m in stack.queue("notifications-test")
    ]


def alerts(stack: Stack, tenant: str | None = "acme", **query: str) -> list[dict[str, Any]]:
    answer = stack.call("GET", "/alerts", tenant=tenant, query=query)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.body["alerts"]
    return found


def fire(stack: Stack, tenant: str = "acme", **rule: Any) -> dict[str, Any]:
    """An alert that fires, as GET /alerts shows it."""
    made(stack, tenant=tenant, **rule)
    fail(stack, 2, tenant=tenant)
    stack.relay()
    return alerts(stack, tenant)[0]


def silence(stack: Stack, tenant: str = "acme", **given: Any) -> dict[str, Any]:
    ends = to_text(datetime.now(UTC) + timedelta(hours=1))
    body = {
        "matchers": [{"name": "rule_name", "value": "heal-failures"}],
        "reason": "maintenance",
        "ends_at": ends,
        **given,
    }
    answer = stack.call("POST", "/alerts/silences", tenant=tenant, body=body)
    assert answer.status == 200, answer.body
    made_one: dict[str, Any] = answer.body["silence"]
    return made_one


def later(stack: Stack, monkeypatch: pytest.MonkeyPatch, **wait: float) -> None:
    """The evaluator at a later time, its announcing included."""
    evaluator = importlib.import_module("functions.alerts.evaluator")
    then = datetime.now(UTC) + timedelta(**wait)
    with monkeypatch.context() as clock:
        clock.setattr(evaluator.judge, "_now", lambda: then)
        clock.setattr(evaluator.announcer, "_now", lambda: then)
        evaluator.lambda_handler({}, None)
    stack.relay()


# ---- looking


def test_an_alert_is_listed_while_it_fires_and_afterwards(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    firing = fire(stack, window_seconds=60, labels={"team": "ops"})

    assert firing["id"] == raised(stack)[0]["payload"]["episode_id"]
    assert (firing["state"], firing["rule_name"], firing["labels"]) == (
        "firing", "heal-failures", {"team": "ops"})  # fmt: skip
    assert firing["notified_at"]

    sweep_after(stack, monkeypatch, seconds=61)
    (over,) = alerts(stack)
    assert (over["id"], over["state"]) == (firing["id"], "resolved")
    assert over["resolved_at"] > over["raised_at"]
    assert alerts(stack, state="firing") == []
    assert [a["id"] for a in alerts(stack, None, state="resolved")] == [firing["id"]]


def test_a_pending_alert_is_listed_and_one_that_came_to_nothing_is_not(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = fire(stack, window_seconds=60, for_seconds=50)

    assert (pending["state"], pending["raised_at"]) == ("pending", None)
    assert told(stack) == []
    sweep_after(stack, monkeypatch, seconds=51)
    (firing,) = alerts(stack)
    assert (firing["id"], firing["state"]) == (pending["id"], "firing")


def test_a_list_of_alerts_is_paged_without_gaps(stack: Stack) -> None:
    made(stack, tenant="acme", threshold=1, group_by=["payload.service"])
    for service in "abcde":
        fail(stack, 1, service=service, tenant="acme")
    stack.relay()

    seen, cursor = [], None
    for _ in range(9):
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = stack.call("GET", "/alerts", tenant="acme", query=query).body
        seen += [alert["group"]["payload.service"] for alert in page["alerts"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == list("abcde")


def test_another_tenants_alert_does_not_exist(stack: Stack) -> None:
    foreign = fire(stack, tenant="globex")

    assert alerts(stack, "acme") == []
    # In dev mode operators may act for every tenant; a bound one is in the isolation suite.
    assert stack.call("GET", f"/alerts/{foreign['id']}x", tenant="acme").status == 404
    assert stack.call("GET", "/alerts/unknown", tenant="acme").status == 404


# ---- taking in hand


def test_an_alert_is_taken_in_hand_and_given_back(stack: Stack) -> None:
    alert = fire(stack)
    path = f"/alerts/{alert['id']}/ack"

    taken = stack.call("POST", path, tenant="acme", body={"note": "on it"}).body["alert"]
    assert (taken["acknowledged"]["by"], taken["acknowledged"]["note"]) == ("dev:operator", "on it")
    assert alerts(stack)[0]["acknowledged"] == taken["acknowledged"]
    assert [a["id"] for a in alerts(stack, acknowledged="true")] == [alert["id"]]

    assert stack.call("DELETE", path, tenant="acme").body["alert"]["acknowledged"] is None
    assert alerts(stack)[0]["acknowledged"] is None


def test_an_acknowledgement_needs_no_body_and_may_end(stack: Stack) -> None:
    path = f"/alerts/{fire(stack)['id']}/ack"

    assert stack.call("POST", path, tenant="acme").status == 200
    until = stack.call("POST", path, tenant="acme", body={"expires_in_seconds": 60})
    assert until.body["alert"]["acknowledged"]["until"]
    wrong = stack.call("POST", path, tenant="acme", body={"until": "2020-01-01T00:00:00Z"})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/until")


def test_what_is_over_cannot_be_taken_in_hand(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = fire(stack, window_seconds=60)
    sweep_after(stack, monkeypatch, seconds=61)

    answer = stack.call("POST", f"/alerts/{alert['id']}/ack", tenant="acme")
    assert answer.status == 409


# ---- silences


def test_a_silence_mutes_and_says_so_on_the_alert(stack: Stack) -> None:
    quiet = silence(stack)
    alert = fire(stack)

    assert told(stack) == []
    assert len(raised(stack)) == 1
    assert (alert["muted"]["kind"], alert["muted"]["by"]) == ("silence", quiet["id"])
    shown = stack.call("GET", f"/alerts/{alert['id']}", tenant="acme").body["alert"]
    assert shown["muted_now"]["reason"] == "maintenance"


def test_a_silence_that_does_not_match_mutes_nothing(stack: Stack) -> None:
    silence(stack, matchers=[{"name": "severity", "value": "info"}])
    fire(stack)

    assert told(stack) == ["heal-failures raised"]


def test_who_was_told_of_the_beginning_is_told_of_the_end_silenced_or_not(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire(stack, window_seconds=60)
    silence(stack)
    sweep_after(stack, monkeypatch, seconds=61)

    assert sorted(told(stack)) == ["heal-failures raised", "heal-failures resolved"]


def test_nobody_is_told_of_the_end_of_what_they_never_heard_of(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(stack)
    fire(stack, window_seconds=60)
    sweep_after(stack, monkeypatch, seconds=61)

    assert len(resolved(stack)) == 1
    assert told(stack) == []


def test_lifting_a_silence_tells_of_what_still_fires(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = silence(stack)
    fire(stack)
    stack.call("DELETE", f"/alerts/silences/{quiet['id']}", tenant="acme")

    assert stack.queue("due-test") == [{"sweep": True}]
    for _ in range(2):
        later(stack, monkeypatch, seconds=1)
    assert told(stack) == ["heal-failures raised"]
    assert alerts(stack)[0]["muted"] is None


def test_a_silence_ends_by_itself_after_a_notice(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(stack, notify_before_seconds=600)
    fire(stack, window_seconds=86_400)

    for _ in range(2):
        later(stack, monkeypatch, minutes=55)
    (notice,) = stack.recent("acme", event_type="ops.alert.silence.ending")
    assert notice["payload"]["alerts_muted"] == 1
    assert told(stack) == []
    later(stack, monkeypatch, minutes=61)
    assert told(stack) == ["heal-failures raised"]


def test_a_preview_shows_what_would_be_muted_and_mutes_nothing(stack: Stack) -> None:
    alert = fire(stack)
    ends = to_text(datetime.now(UTC) + timedelta(hours=1))
    body = {
        "matchers": [{"name": "rule_name", "op": "like", "value": "heal-*"}],
        "reason": "?",
        "ends_at": ends,
    }

    shown = stack.call("POST", "/alerts/silences/preview", tenant="acme", body=body).body
    assert (shown["count"], shown["alerts"][0]["id"]) == (1, alert["id"])
    assert stack.call("GET", "/alerts/silences", tenant="acme").body["count"] == 0


def test_silences_are_listed_changed_and_found(stack: Stack) -> None:
    quiet = silence(stack)
    path = f"/alerts/silences/{quiet['id']}"
    ends = to_text(datetime.now(UTC) + timedelta(hours=5))

    changed = stack.call(
        "PUT", path, tenant="acme",
        body={"matchers": quiet["matchers"], "reason": "longer", "ends_at": ends},
    )  # fmt: skip
    assert (changed.status, changed.body["silence"]["reason"]) == (200, "longer")
    (listed,) = stack.call("GET", "/alerts/silences", tenant="acme").body["silences"]
    assert (listed["id"], listed["ends_at"], listed["state"]) == (quiet["id"], ends, "active")
    assert stack.call("GET", path, tenant="acme").body["silence"]["mutes"] == []
    assert stack.call("GET", "/alerts/silences/none", tenant="acme").status == 404


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"matchers": []}, "/matchers"),
        ({"matchers": [{"name": "severity", "op": "!=", "value": "info"}]}, "/matchers"),
        ({"matchers": [{"name": "severity", "op": "like", "value": "*"}]}, "/matchers"),
        ({"reason": ""}, "/reason"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "/ends_at"),
        ({"ends_at": "soon"}, "/ends_at"),
        ({"ends_at": "2036-01-01T00:00:00Z"}, "/ends_at"),
        ({"schedule": {"start": "25:00", "end": "06:00"}}, "/schedule/start"),
        ({"schedule": {"start": "22:00", "end": "06:00", "timezone": "Mars"}},
         "/schedule/timezone"),
    ],
)  # fmt: skip
def test_a_silence_that_makes_no_sense_is_refused(
    stack: Stack, wrong: dict[str, Any], pointer: str
) -> None:
    body = {
        "matchers": [{"name": "rule_name", "value": "x"}],
        "reason": "r",
        "ends_at": to_text(datetime.now(UTC) + timedelta(hours=1)),
        **wrong,
    }

    answer = stack.call("POST", "/alerts/silences", tenant="acme", body=body)

    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, pointer)


# ---- what depends on what


def register(stack: Stack, name: str, *depends_on: str) -> None:
    body = {"name": name, "url": f"https://{name}.example", "depends_on": list(depends_on)}
    assert stack.call("POST", "/ops/register", tenant="acme", body=body).status == 200


def test_when_the_database_is_down_its_dependants_are_one_notification(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(stack, "db")
    for name in ("api", "web"):
        register(stack, name, "db" if name == "api" else "api")
    made(stack, tenant="acme", threshold=1, group_by=["payload.service"], window_seconds=300)
    for service in ("web", "api", "db"):
        fail(stack, 1, service=service, tenant="acme")
        stack.relay()

    (first,) = [m["event"] for m in stack.queue("notifications-test")]
    assert first["payload"]["group"] == {"payload.service": "db"}
    for wait in (11, 30):
        later(stack, monkeypatch, seconds=wait)
    assert told(stack) == []
    muted = {a["group"]["payload.service"]: a["muted"] for a in alerts(stack)}
    assert muted["db"] is None
    assert "db" in muted["web"]["reason"]


def test_a_dependant_alone_is_told_after_a_moment(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(stack, "db")
    register(stack, "a", "db")
    fire(stack, group_by=["payload.service"])

    assert told(stack) == []
    later(stack, monkeypatch, seconds=5)
    assert told(stack) == []
    later(stack, monkeypatch, seconds=11)
    assert told(stack) == ["heal-failures raised"]


# ---- before and after


def test_a_backtest_says_what_the_rule_made(stack: Stack) -> None:
    rule = {"name": "draft", "window_seconds": 300, "threshold": 2, "group_by": ["payload.service"]}
    fail(stack, 2, service="a", tenant="acme")
    fail(stack, 1, service="b", tenant="acme")

    answer = stack.call("POST", "/alerts/rules/backtest", tenant="acme", body={"rule": rule})

    assert answer.status == 200, answer.body
    assert (answer.body["events_counted"], answer.body["count"]) == (3, 1)
    assert answer.body["episodes"][0]["group"] == {"payload.service": "a"}
    assert answer.body["noisiest"] == [{"group": {"payload.service": "a"}, "episodes": 1}]
    assert raised(stack) == []


def test_a_long_backtest_is_a_job(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aetherlink.alerts.backtest.AT_ONCE", 50)
    monkeypatch.setattr("aetherlink.alerts.backtest._PAGE", 10)
    import boto3

    boto3.client("s3").create_bucket(Bucket="archive-test")
    rule = {"name": "draft", "window_seconds": 300, "threshold": 60}
    body = {
        "events": [
            {"event_type": "autoheal.failed", "source": "s",
             "payload": {"service": "a", "action": "r", "error": "e"}}
        ] * 65
    }  # fmt: skip
    assert stack.call("POST", "/events/batch", tenant="acme", body=body).status == 200

    started = stack.call("POST", "/alerts/rules/backtest", tenant="acme", body={"rule": rule})
    assert started.status == 202, started.body
    stack.run_jobs()
    job = stack.call("GET", f"/jobs/{started.body['job_id']}", tenant="acme").body
    assert (job["state"], job["done"]) == ("done", 65)
    assert (job["result"]["events_counted"], job["result"]["count"]) == (65, 1)


def test_an_explanation_says_what_is_counted_and_why_not(stack: Stack) -> None:
    rule_id = made(stack, tenant="acme", threshold=5, source="elsewhere")
    fail(stack, 2, tenant="acme")
    stack.relay()

    why = stack.call("GET", f"/alerts/rules/{rule_id}/explain", tenant="acme").body
    assert why["newest_events"]["counted"] == 0
    assert why["newest_events"]["not_counted"] == {"source is not elsewhere": 2}
    assert why["groups"][0]["because"] == "not firing: 0 now, fires from 5"
    assert why["condition"] == "the number of events in 300 s is at least 5"


def test_an_explanation_of_what_fires(stack: Stack) -> None:
    alert = fire(stack)

    why = stack.call("GET", f"/alerts/rules/{alert['rule_id']}/explain", tenant="acme").body
    (group,) = why["groups"]
    assert (group["state"], group["alert_id"], group["holds_now"]) == ("firing", alert["id"], True)
    assert group["because"] == "firing: 2 now, fires from 2"


def test_templates_become_rules(stack: Stack) -> None:
    shown = stack.call("GET", "/alerts/templates", tenant="acme").body
    assert {"delivery-failures", "error-spike", "critical-events", "autoheal-failures"} <= {
        template["id"] for template in shown["templates"]
    }
    for template in shown["templates"]:
        path = f"/alerts/templates/{template['id']}/materialize"
        answer = stack.call("POST", path, tenant="acme")
        assert answer.status == 200, answer.body
        assert answer.body["rule"]["tenant_id"] == "acme"


def test_a_template_takes_overrides_and_checks_them(stack: Stack) -> None:
    path = "/alerts/templates/slo-burn-fast/materialize"

    rule = stack.call(
        "POST", path, tenant="acme",
        body={"overrides": {"name": "checkout", "event_type": "http.failed"},
              "parameters": {"objective": 0.99}},
    ).body["rule"]  # fmt: skip
    assert (rule["name"], rule["threshold"]) == ("checkout", 0.144)
    wrong = stack.call("POST", path, tenant="acme", body={"overrides": {"window_seconds": 0}})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/overrides/window_seconds")
    unreachable = stack.call("POST", path, tenant="acme", body={"parameters": {"objective": 0.5}})
    assert (unreachable.status, unreachable.body["errors"][0]["pointer"]) == (
        422, "/parameters/objective")  # fmt: skip
    assert stack.call("POST", "/alerts/templates/none/materialize", tenant="acme").status == 404


# ---- measures, end to end


def test_a_sum_counts_each_event_once_however_often_it_is_relayed(stack: Stack) -> None:
    made(stack, tenant="acme", event_type=None, measure="sum", field="payload.n", threshold=10,
         window_seconds=60)  # fmt: skip
    for number in (4, 5):
        stack.publish("lead.created", tenant="acme", payload={"n": number})
    records = stack.records()
    relay = importlib.import_module("functions.events.relay").lambda_handler
    for _ in range(3):
        relay({"Records": records}, None)

    control = importlib.import_module("aetherlink.wiring").projections_table()
    import boto3

    kept = boto3.client("dynamodb").scan(TableName=control.name)["Items"]
    steps = [item for item in kept if "#steps#" in item["pk"]["S"]]
    assert sum(float(item["sum"]["N"]) for item in steps) == 9.0


def test_silence_makes_an_alert(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    made(stack, tenant="acme", measure="absence", threshold=1, window_seconds=60)

    sweep_after(stack, monkeypatch, seconds=30)
    assert raised(stack) == []
    sweep_after(stack, monkeypatch, seconds=61)
    (alert,) = raised(stack)
    assert alert["payload"]["measure"] == "absence"


def test_an_alert_is_in_hand_while_somebody_has_it_and_when_it_is_over(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step of escalation asks before it is told."""
    from aetherlink.wiring import in_hand

    alert = fire(stack, window_seconds=60)
    path = f"/alerts/{alert['id']}/ack"
    asked = in_hand()

    assert not asked("acme", alert["id"])
    stack.call("POST", path, tenant="acme")
    assert asked("acme", alert["id"])
    stack.call("DELETE", path, tenant="acme")
    assert not asked("acme", alert["id"])
    sweep_after(stack, monkeypatch, seconds=61)
    assert asked("acme", alert["id"])
