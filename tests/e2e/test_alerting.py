"""Alerting as deployed: the contract's rows, a storm, a day against its backtest, and time itself."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.deployed import Api, envelope, unique, wait_for
from tests.e2e.test_flows import RESOLVED, TRIGGERED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver

SECOND = timedelta(seconds=1)
# Whatever raises an alert sends it somewhere.
pytestmark = pytest.mark.usefixtures("receiver")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def soon(**wait: int) -> str:
    return (datetime.now(UTC) + timedelta(**wait)).isoformat()


def alerts(api: Api, tenant: str | None, **query: Any) -> list[dict[str, Any]]:
    """Every page of GET /alerts."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = api.call(
            "GET", "/alerts", tenant=tenant, query={"limit": 200, **query, "cursor": cursor}
        ).ok()
        assert page["count"] == len(page["alerts"])
        found += page["alerts"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def one(api: Api, tenant: str, rule: dict[str, Any], state: str, seconds: float) -> dict[str, Any]:
    """The only alert of a rule, once it is in that state."""
    [found] = wait_for(
        lambda: alerts(api, tenant, rule_id=rule["id"], state=state),
        seconds,
        f"'{rule['name']}' is {state}",
    )
    return found


def refused(api: Api, status: int, method: str, path: str, body: Any = None, **how: Any) -> Any:
    """A problem; of a 422 where it is wrong."""
    problem = api.call(method, path, body, **how).problem(status)
    return [flaw["pointer"] for flaw in problem["errors"]] if status == 422 else problem["detail"]


@pytest.fixture
def silence(api: Api) -> Iterator[Callable[..., dict[str, Any]]]:
    """Makes silences of rules by name, and lifts those that are left after the test."""
    made: list[tuple[str, str]] = []

    def make(tenant: str, pattern: str, **fields: Any) -> dict[str, Any]:
        body = {
            "matchers": [{"name": "rule_name", "op": "like", "value": pattern}],
            "reason": "maintenance",
            "ends_at": soon(hours=1),
            **fields,
        }
        answer = api.call("POST", "/alerts/silences", body, tenant=tenant).ok()
        made.append((tenant, answer["silence_id"]))
        shown: dict[str, Any] = answer["silence"]
        return shown

    yield make
    for tenant, silence_id in made:
        api.call("DELETE", f"/alerts/silences/{silence_id}", tenant=tenant)


# ------------------------------------------------------------------ the contract's rows


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/alerts"),
        ("GET", "/alerts/x"),
        ("POST", "/alerts/x/ack"),
        ("DELETE", "/alerts/x/ack"),
        ("GET", "/alerts/silences"),
        ("POST", "/alerts/silences"),
        ("POST", "/alerts/silences/preview"),
        ("GET", "/alerts/silences/x"),
        ("PUT", "/alerts/silences/x"),
        ("DELETE", "/alerts/silences/x"),
        ("POST", "/alerts/rules/backtest"),
        ("GET", "/alerts/rules/x/explain"),
        ("GET", "/alerts/templates"),
        ("GET", "/alerts/templates/error-spike"),
        ("POST", "/alerts/templates/error-spike/materialize"),
    ],
)
def test_alerts_are_for_operators_and_admins(api: Api, tenant: str, method: str, path: str) -> None:
    body: dict[str, Any] | None = {} if method in ("POST", "PUT") else None
    api.call(method, path, body, roles=None).problem(401)
    for roles in ("viewer", "agent"):
        detail = refused(api, 403, method, path, body, roles=roles, tenant=tenant)
        assert detail == "Insufficient permissions. Required roles: operator, admin"


def test_an_alert_is_listed_taken_in_hand_and_given_back(
    api: Api, tenant: str, source: str, make_rule: RuleMaker
) -> None:
    rule = make_rule(tenant, source, labels={"team": "ops"}, annotations={"runbook": "r"})
    api.publish(tenant, source)
    alert = one(api, tenant, rule, "firing", 10)
    assert (alert["rule_id"], alert["rule_name"]) == (rule["id"], rule["name"])
    assert (alert["tenant_id"], alert["severity"], alert["group"]) == (tenant, "critical", {})
    assert (alert["labels"], alert["annotations"]) == ({"team": "ops"}, {"runbook": "r"})
    assert (alert["acknowledged"], alert["muted"], alert["resolved_at"]) == (None, None, None)
    told = wait_for(lambda: alerts(api, tenant)[0]["notified_at"], 10, "people were told")
    assert told >= alert["raised_at"]
    [event] = api.alerts(tenant, rule["id"])
    assert event["payload"]["episode_id"] == alert["id"]
    assert alerts(api, unique("other")) == []

    path = f"/alerts/{alert['id']}"
    assert api.call("GET", path, tenant=tenant).ok()["alert"]["muted_now"] is None
    taken = api.call("POST", f"{path}/ack", {"note": "on it"}, tenant=tenant).ok()["alert"]
    assert taken["acknowledged"]["note"] == "on it"
    assert taken["acknowledged"]["by"]
    assert [a["id"] for a in alerts(api, tenant, acknowledged="true")] == [alert["id"]]
    assert alerts(api, tenant, acknowledged="false") == []
    again = api.call("POST", f"{path}/ack", {"expires_in_seconds": 60}, tenant=tenant).ok()
    assert again["alert"]["acknowledged"]["until"]
    given_back = api.call("DELETE", f"{path}/ack", tenant=tenant).ok()["alert"]
    assert given_back["acknowledged"] is None
    assert api.call("POST", f"{path}/ack", tenant=tenant).status == 200

    past = {"until": "2020-01-01T00:00:00Z"}
    assert refused(api, 422, "POST", f"{path}/ack", past, tenant=tenant) == ["/until"]
    wrong = {"expires_in_seconds": 0}
    assert refused(api, 422, "POST", f"{path}/ack", wrong, tenant=tenant) == ["/expires_in_seconds"]
    refused(api, 404, "POST", f"/alerts/{alert['id']}x/ack", {}, tenant=tenant)
    refused(api, 404, "GET", "/alerts/nobody", tenant=tenant)

    api.call("DELETE", f"/alerts/rules/{rule['id']}", tenant=tenant).ok()
    over = one(api, tenant, rule, "resolved", 10)
    assert (over["id"], over["reason"]) == (alert["id"], "the rule was deleted")
    refused(api, 409, "POST", f"{path}/ack", {}, tenant=tenant)


def test_alerts_are_filtered_and_paged(
    api: Api, tenant: str, source: str, make_rule: RuleMaker
) -> None:
    rule = make_rule(tenant, source, group_by=["payload.region"], alert_severity="warning")
    for region in "abcde":
        api.publish(tenant, source, payload={"service": source, "region": region})
    wait_for(lambda: len(alerts(api, tenant, state="firing")) == 5, 10, "five alerts")

    found, cursor = [], None
    for _ in range(5):
        query = {"limit": 2, "rule_id": rule["id"], "cursor": cursor}
        page = api.call("GET", "/alerts", tenant=tenant, query=query).ok()
        found += [alert["group"]["payload.region"] for alert in page["alerts"]]
        first = cursor or page["next_cursor"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == list("abcde")
    assert len(alerts(api, tenant, severity="WARNING")) == 5
    assert alerts(api, tenant, severity="error") == []
    assert alerts(api, tenant, rule_id="none") == []
    assert alerts(api, tenant, state="resolved") == []

    for query in ({"state": "open"}, {"limit": 0}, {"limit": 201}, {"acknowledged": "perhaps"}):
        refused(api, 422, "GET", "/alerts", tenant=tenant, query=query)
    foreign = {"limit": 2, "rule_id": rule["id"], "cursor": first}
    refused(api, 400, "GET", "/alerts", tenant=unique("other"), query=foreign)
    refused(api, 400, "GET", "/alerts", tenant=tenant, query={**foreign, "rule_id": "another"})
    refused(api, 400, "GET", "/alerts", tenant=tenant, query={"cursor": "made-up"})


def test_a_silence_mutes_until_it_is_lifted(
    api: Api,
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
    silence: Callable[..., dict[str, Any]],
) -> None:
    quiet = silence(tenant, f"{source}*")
    assert (quiet["state"], quiet["tenant_id"], quiet["reason"]) == (
        "active", tenant, "maintenance",
    )  # fmt: skip
    rule = make_rule(tenant, source)
    api.publish(tenant, source)
    alert = wait_for(
        lambda: [a for a in alerts(api, tenant, rule_id=rule["id"]) if a["muted"]],
        10,
        "the alert is muted",
    )[0]
    assert (alert["muted"]["kind"], alert["muted"]["by"]) == ("silence", quiet["id"])
    path = f"/alerts/silences/{quiet['id']}"
    shown = api.call("GET", path, tenant=tenant).ok()["silence"]
    assert [muted["id"] for muted in shown["mutes"]] == [alert["id"]]
    _relayed(api, tenant, make_rule)
    assert receiver.with_text(source) == []

    wanted = {name: quiet[name] for name in ("matchers", "ends_at")}
    changed = api.call("PUT", path, {**wanted, "reason": "longer"}, tenant=tenant).ok()["silence"]
    assert (changed["reason"], changed["created_at"]) == ("longer", quiet["created_at"])
    listed = api.call("GET", "/alerts/silences", tenant=tenant).ok()
    assert changed in listed["silences"]
    assert api.call("DELETE", path, tenant=tenant).ok()["deleted"] == quiet["id"]
    wait_for(lambda: receiver.with_text(source, TRIGGERED), 30, "who was not told is told")
    refused(api, 404, "GET", path, tenant=tenant)
    refused(api, 404, "PUT", path, {**wanted, "reason": "r"}, tenant=tenant)
    refused(api, 404, "DELETE", path, tenant=tenant)

    # Whoever got the trigger gets the resolve.
    silence(tenant, f"{source}*")
    api.call("DELETE", f"/alerts/rules/{rule['id']}", tenant=tenant).ok()
    wait_for(lambda: receiver.with_text(source, RESOLVED), 20, "the end is told")
    assert len(receiver.with_text(source, TRIGGERED)) == 1


def test_a_preview_says_what_would_be_muted(
    api: Api, tenant: str, source: str, make_rule: RuleMaker
) -> None:
    rule = make_rule(tenant, source, group_by=["payload.service"])
    api.publish(tenant, source)
    alert = one(api, tenant, rule, "firing", 10)

    def preview(**matcher: str) -> Any:
        body = {"matchers": [matcher], "reason": "?", "ends_at": soon(hours=1)}
        return api.call("POST", "/alerts/silences/preview", body, tenant=tenant).ok()

    for matcher in (
        {"name": "service", "value": source},
        {"name": "payload.service", "op": "like", "value": f"{source[:-2]}*"},
        {"name": "rule_id", "value": rule["id"]},
    ):
        shown = preview(**matcher)
        assert (shown["count"], shown["active_now"]) == (1, True)
        assert [a["id"] for a in shown["alerts"]] == [alert["id"]]
    assert preview(name="severity", value="info")["count"] == 0
    assert api.call("GET", "/alerts/silences", tenant=tenant).ok()["count"] == 0


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"matchers": []}, "/matchers"),
        ({"matchers": [{"name": "severity", "op": "like", "value": "*"}]}, "/matchers"),
        ({"matchers": [{"name": "severity", "op": "~", "value": "x"}]}, "/matchers/0/op"),
        ({"reason": ""}, "/reason"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "/ends_at"),
        ({"ends_at": "2100-01-01T00:00:00Z"}, "/ends_at"),
        ({"schedule": {"start": "25:00", "end": "06:00"}}, "/schedule/start"),
        ({"schedule": {"start": "22:00", "end": "06:00", "timezone": "Mars"}},
         "/schedule/timezone"),
    ],
)  # fmt: skip
def test_a_silence_that_makes_no_sense_is_refused(
    api: Api, tenant: str, wrong: dict[str, Any], pointer: str
) -> None:
    right = {
        "matchers": [{"name": "rule_name", "value": "x"}], "reason": "r", "ends_at": soon(hours=1),
    }  # fmt: skip
    for path in ("/alerts/silences", "/alerts/silences/preview"):
        assert refused(api, 422, "POST", path, {**right, **wrong}, tenant=tenant) == [pointer]


def test_a_backtest_says_what_a_draft_would_have_made(api: Api, tenant: str, source: str) -> None:
    for service in ("a", "a", "b"):
        api.publish(tenant, source, payload={"service": service})
    rule = {
        "name": "draft", "source": source, "window_seconds": 300, "threshold": 2,
        "group_by": ["payload.service"],
    }  # fmt: skip

    found = backtest(api, tenant, rule)
    assert (found["events_counted"], found["groups"], found["count"]) == (3, 2, 1)
    [episode] = found["episodes"]
    assert (episode["group"], episode["resolved_at"]) == ({"payload.service": "a"}, None)
    assert found["notifications"]["total"] == 1
    assert found["noisiest"] == [{"group": {"payload.service": "a"}, "episodes": 1}]
    assert alerts(api, tenant) == []
    kept = api.call("GET", "/alerts/rules", tenant=tenant).ok()["rules"]
    assert [rule for rule in kept if rule["tenant_id"] == tenant] == []

    path = "/alerts/rules/backtest"
    assert refused(api, 422, "POST", path, {}, tenant=tenant) == ["/rule"]
    wrong = {"rule": {**rule, "window_seconds": 0}}
    assert refused(api, 422, "POST", path, wrong, tenant=tenant) == ["/rule/window_seconds"]
    future = {"rule": rule, "since": soon(hours=1)}
    assert refused(api, 422, "POST", path, future, tenant=tenant) == ["/since"]
    long_ago = {"rule": rule, "since": "2020-01-01T00:00:00Z"}
    assert refused(api, 422, "POST", path, long_ago, tenant=tenant) == ["/since"]


def test_an_explanation_says_why(api: Api, tenant: str, source: str, make_rule: RuleMaker) -> None:
    rule = make_rule(tenant, source, threshold=2)
    path = f"/alerts/rules/{rule['id']}/explain"
    api.publish(tenant, unique("elsewhere"))
    api.publish(tenant, source)

    def group() -> Any:
        [found] = api.call("GET", path, tenant=tenant).ok()["groups"]
        return found

    wait_for(lambda: group()["value"] == 1, 10, "the one event is counted")
    why = api.call("GET", path, tenant=tenant).ok()
    assert why["condition"] == "the number of events in 600 s is at least 2"
    assert why["newest_events"]["counted"] == 1
    assert why["newest_events"]["not_counted"][f"source is not {source}"] == 1
    assert group()["because"] == "not firing: 1 now, fires from 2"

    api.publish(tenant, source)
    wait_for(lambda: group()["state"] == "firing", 10, "it fires")
    [alert] = alerts(api, tenant, rule_id=rule["id"])
    assert (group()["alert_id"], group()["holds_now"]) == (alert["id"], True)
    assert group()["because"] == "firing: 2 now, fires from 2"
    refused(api, 404, "GET", "/alerts/rules/nobody/explain", tenant=tenant)


def test_templates_become_rules(api: Api, tenant: str) -> None:
    listed = api.call("GET", "/alerts/templates", tenant=tenant).ok()
    assert listed["count"] == len(listed["templates"])
    ids = {found["id"] for found in listed["templates"]}
    assert ids >= {
        "delivery-failures", "error-spike", "critical-events", "autoheal-failures",
        "slo-burn-fast", "slo-burn-slow",
    }  # fmt: skip
    made = []
    try:
        for template_id in sorted(ids):
            path = f"/alerts/templates/{template_id}"
            shown = api.call("GET", path, tenant=tenant).ok()["template"]
            # Off, so that nothing else that is going on here makes it fire.
            off = {"overrides": {"enabled": False}}
            rule = api.call("POST", f"{path}/materialize", off, tenant=tenant).ok()["rule"]
            made.append(rule["id"])
            assert (rule["name"], rule["tenant_id"]) == (shown["title"], tenant)
        kept = api.call("GET", "/alerts/rules", tenant=tenant).ok()["rules"]
        assert {rule["id"] for rule in kept} >= set(made)

        path = "/alerts/templates/slo-burn-fast/materialize"
        wanted = {"name": "checkout", "enabled": False}
        parameters = {"objective": 0.99}
        body: Any = {"overrides": wanted, "parameters": parameters}
        burn = api.call("POST", path, body, tenant=tenant).ok()["rule"]
        made.append(burn["id"])
        assert (burn["name"], burn["measure"], burn["threshold"]) == ("checkout", "ratio", 0.144)
        assert (burn["window_seconds"], burn["confirm_window_seconds"]) == (3600, 300)
    finally:
        for rule_id in made:
            api.call("DELETE", f"/alerts/rules/{rule_id}", tenant=tenant)

    for body, pointer in (
        ({"overrides": {"window_seconds": 0}}, "/overrides/window_seconds"),
        ({"parameters": {"objective": 0.5}}, "/parameters/objective"),
        ({"parameters": {"objective": 99.9}}, "/parameters/objective"),
        ({"override": {}}, "/override"),
    ):
        assert refused(api, 422, "POST", path, body, tenant=tenant) == [pointer]
    refused(api, 404, "GET", "/alerts/templates/none", tenant=tenant)
    refused(api, 404, "POST", "/alerts/templates/none/materialize", {}, tenant=tenant)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"measure": "median"}, "/measure"),
        ({"measure": "sum"}, "/field"),
        ({"field": "payload.n"}, "/field"),
        ({"measure": "ratio", "threshold": 0.5}, "/of"),
        ({"of": {}}, "/of"),
        ({"threshold": 1.5}, "/threshold"),
        ({"measure": "distinct", "field": "payload.u", "threshold": 1001}, "/threshold"),
        ({"measure": "absence", "no_data": "ok"}, "/no_data"),
        ({"measure": "absence", "comparison": "at_most"}, "/comparison"),
        ({"confirm_window_seconds": 60}, "/confirm_window_seconds"),
        ({"where": {"source": "x"}}, "/where"),
    ],
)
def test_a_rule_that_measures_nothing_is_refused(
    api: Api, tenant: str, wrong: dict[str, Any], pointer: str
) -> None:
    body = {"name": "r", "window_seconds": 60, "threshold": 1, **wrong}
    assert refused(api, 422, "POST", "/alerts/rules", body, tenant=tenant) == [pointer]


# ------------------------------------------------------------------ a storm

STORM, SERVICES = 2_000, 40


def test_a_storm_is_one_alert_for_each_service(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    counted = {"threshold": 5, "group_by": ["payload.service"]}
    rule = make_rule(tenant, source, **counted)
    events = [
        envelope(source, event_id=f"storm-{n}", payload={"service": f"service-{n % SERVICES}"})
        for n in range(STORM)
    ]
    with ThreadPoolExecutor(4) as pool:
        parts = [events[n : n + 500] for n in range(0, STORM, 500)]
        list(pool.map(lambda part: publish_all(api, tenant, part), parts))

    def firing() -> list[dict[str, Any]]:
        return alerts(api, tenant, rule_id=rule["id"], state="firing")

    wait_for(lambda: len(firing()) == SERVICES, 60, f"{SERVICES} services alert")
    # All 2,000 are relayed, and still there are no more.
    _relayed(api, tenant, make_rule)
    services = {f"service-{n}" for n in range(SERVICES)}
    assert {alert["group"]["payload.service"] for alert in firing()} == services
    raised = api.alerts(tenant, rule["id"])
    assert len(raised) == SERVICES
    assert {e["payload"]["episode_id"] for e in raised} == {a["id"] for a in firing()}
    assert api.alerts(tenant, rule["id"], "resolved") == []
    wait_for(
        lambda: len(receiver.with_text(source, TRIGGERED)) >= SERVICES, 60, "each is delivered"
    )
    told = receiver.with_text(source, TRIGGERED)
    assert len({request.headers["webhook-id"] for request in told}) == SERVICES

    # More events than are read while a caller waits.
    draft = {"name": "draft", "source": source, "window_seconds": 600, **counted}
    found = backtest(api, tenant, draft)
    assert (found["events_counted"], found["count"]) == (STORM, SERVICES)


# ------------------------------------------------------------------ a day, live and replayed

ROUNDS, HOSTS = 3, 30
# Each is decided by three events at least, or by what three add up to: see _cluster.
MEASURES: tuple[dict[str, Any], ...] = (
    {"window_seconds": 60, "threshold": 3},
    {"window_seconds": 60, "threshold": 3, "keep_firing_for_seconds": 45},
    {"window_seconds": 300, "threshold": 3, "for_seconds": 60},
    {"window_seconds": 120, "threshold": 6, "measure": "sum", "field": "payload.n"},
    {"window_seconds": 120, "threshold": 3, "measure": "distinct", "field": "payload.user"},
)


def test_what_a_day_made_is_what_its_backtest_says(
    api: Api,
    tenant: str,
    source: str,
    make_rule: RuleMaker,
    silence: Callable[..., dict[str, Any]],
) -> None:
    """A day of events comes late and out of order within each cluster, cluster after cluster.

    That is where live and replay must agree to the microsecond: a cluster decides only when its
    last event is there, and the next one of its group comes after. (An event that falls into what is
    settled already is another matter: it opens nothing again.)
    """
    # Nobody need hear of yesterday.
    silence(tenant, f"{source}*")
    rules = [
        make_rule(tenant, source, name=f"{source} {n}", group_by=["payload.service"], **measure)
        for n, measure in enumerate(MEASURES)
    ]
    drafts = [
        {"name": "d", "source": source, "group_by": ["payload.service"], **measure}
        for measure in MEASURES
    ]
    start = datetime.now(UTC) - timedelta(hours=23)
    chance = random.Random(7)
    expected: list[set[tuple[str, str, str | None]]] = []
    for turn in range(ROUNDS):
        events = [
            event
            for host in range(HOSTS)
            for event in _cluster(
                source, host, start + host * timedelta(minutes=40) + turn * timedelta(hours=1),
                turn, chance,
            )
        ]  # fmt: skip
        chance.shuffle(events)
        publish_all(api, tenant, events)
        expected = [_replayed(api, tenant, draft, start) for draft in drafts]
        for rule, episodes in zip(rules, expected, strict=True):
            wait_for(
                _agreement(api, tenant, rule, episodes),
                60,
                f"round {turn}: what '{rule['name']}' made is what its backtest says",
            )

    _relayed(api, tenant, make_rule)
    for rule, draft, episodes in zip(rules, drafts, expected, strict=True):
        assert len(episodes) > HOSTS // 2
        assert _recorded(api, tenant, rule) == episodes == _replayed(api, tenant, draft, start)
        for word in ("raised", "resolved"):
            told = [e["payload"]["episode_id"] for e in api.alerts(tenant, rule["id"], word)]
            assert len(told) == len(set(told)) == len(episodes)


def _cluster(
    source: str, host: int, at: datetime, turn: int, chance: random.Random
) -> list[dict[str, Any]]:
    """Two or three events of a host, near each other or not: no rule holds before the last of them.

    Of three, none is more than needed, so that it makes no difference in which order they come.
    """
    width = (2, 30, 200, 30)[(host + turn) % 4]
    number = 2 if (host + turn) % 7 == 0 else 3
    return [
        envelope(
            source,
            event_id=f"{host}-{turn}-{n}",
            timestamp=(at + chance.uniform(0, width) * SECOND).isoformat(),
            payload={"service": f"host-{host}", "n": 2, "user": f"user-{n}"},
        )
        for n in range(number)
    ]


def _recorded(api: Api, tenant: str, rule: dict[str, Any]) -> set[tuple[str, str, str | None]]:
    return {
        (alert["group"]["payload.service"], alert["raised_at"], alert["resolved_at"])
        for alert in alerts(api, tenant, rule_id=rule["id"])
    }


def _agreement(
    api: Api, tenant: str, rule: dict[str, Any], episodes: set[tuple[str, str, str | None]]
) -> Callable[[], bool]:
    return lambda: _recorded(api, tenant, rule) == episodes


def _replayed(
    api: Api, tenant: str, draft: dict[str, Any], since: datetime
) -> set[tuple[str, str, str | None]]:
    found = backtest(api, tenant, draft, since=since.isoformat())
    assert found["episodes_left_out"] == 0
    return {
        (episode["group"]["payload.service"], episode["raised_at"], episode["resolved_at"])
        for episode in found["episodes"]
    }


# ------------------------------------------------------------------ time


def test_what_time_alone_does_it_does_to_the_second(
    api: Api, tenant: str, source: str, make_rule: RuleMaker
) -> None:
    """Four rules at once, since each has to wait. The times are exact; that they are told is a matter
    of the sweep: woken for what begins, every minute for what ends."""
    short = make_rule(tenant, f"{source}-short", window_seconds=10, threshold=3)
    lasting = make_rule(tenant, f"{source}-lasting", window_seconds=120, for_seconds=30)
    silent = make_rule(tenant, f"{source}-silent", measure="absence", window_seconds=60)
    ahead = make_rule(tenant, f"{source}-ahead", window_seconds=10)
    three = [_arrival(api.publish(tenant, f"{source}-short")) for _ in range(3)]
    began = _arrival(api.publish(tenant, f"{source}-lasting"))
    heard = _arrival(api.publish(tenant, f"{source}-silent"))
    early = _arrival(api.publish(tenant, f"{source}-ahead", timestamp=soon(minutes=3)))

    # A clock that is three minutes ahead counts when it arrives, and not once more later.
    alert = one(api, tenant, ahead, "firing", 10)
    assert moment(alert["raised_at"]) == early

    alert = one(api, tenant, lasting, "pending", 10)
    assert (moment(alert["started_at"]), alert["raised_at"]) == (began, None)
    assert api.alerts(tenant, lasting["id"]) == []

    raised = one(api, tenant, lasting, "firing", 100)
    assert raised["id"] == alert["id"]
    assert moment(raised["raised_at"]) == began + 30 * SECOND
    assert _told_after(api, tenant, lasting) < 15 * SECOND

    raised = one(api, tenant, silent, "firing", 130)
    assert moment(raised["raised_at"]) == heard + 60 * SECOND
    assert _told_after(api, tenant, silent) < 15 * SECOND
    again = _arrival(api.publish(tenant, f"{source}-silent"))
    resolved = one(api, tenant, silent, "resolved", 10)
    assert moment(resolved["resolved_at"]) == again

    # Ten seconds between two of the sweep's minutes are not lost.
    over = one(api, tenant, short, "resolved", 90)
    assert moment(over["raised_at"]) == three[2]
    assert moment(over["resolved_at"]) == three[0] + 10 * SECOND
    over = one(api, tenant, ahead, "resolved", 90)
    assert moment(over["resolved_at"]) == early + 10 * SECOND
    for rule in (short, lasting, silent, ahead):
        assert len(api.alerts(tenant, rule["id"])) == 1


def _arrival(published: dict[str, Any]) -> datetime:
    return moment(published["received_at"])


def _told_after(api: Api, tenant: str, rule: dict[str, Any]) -> timedelta:
    """How long after it began an alert was raised."""
    [event] = api.alerts(tenant, rule["id"])
    [alert] = alerts(api, tenant, rule_id=rule["id"])
    return moment(event["timestamp"]) - moment(alert["raised_at"])


# ------------------------------------------------------------------ what they share


def publish_all(api: Api, tenant: str, events: Sequence[dict[str, Any]]) -> None:
    """Batches of 500; what the stack had no time for is sent again, with the same ids."""
    waiting = list(events)
    while waiting:
        batch, waiting = waiting[:500], waiting[500:]
        answer = api.call("POST", "/events/batch", batch, tenant=tenant)
        assert answer.status in (200, 207), answer.body
        results = answer.body["results"]
        assert {result["http_status"] for result in results} <= {200, 503}, results
        waiting += [batch[r["index"]] for r in results if r["http_status"] == 503]


def backtest(api: Api, tenant: str, rule: dict[str, Any], **stretch: str) -> dict[str, Any]:
    """What a draft would have made, at once or as a job."""
    answer = api.call("POST", "/alerts/rules/backtest", {"rule": rule, **stretch}, tenant=tenant)
    if answer.status == 200:
        found: dict[str, Any] = answer.body
        return found
    assert answer.status == 202, answer.body
    path = f"/jobs/{answer.body['job_id']}"

    def over() -> dict[str, Any] | None:
        seen: dict[str, Any] = api.call("GET", path, tenant=tenant).ok()
        return seen if seen["state"] in ("done", "failed") else None

    job: Any = wait_for(over, 90, "the backtest is over")
    assert job["state"] == "done", job
    result: dict[str, Any] = job["result"]
    return result


def _relayed(api: Api, tenant: str, make_rule: RuleMaker) -> None:
    """Waits until all that was published before is relayed: the stream keeps its order here."""
    fence = unique("fence")
    rule = make_rule(tenant, fence)
    api.publish(tenant, fence)
    wait_for(lambda: api.alerts(tenant, rule["id"]), 60, "the fence's alert")
