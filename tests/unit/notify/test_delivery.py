"""Deliveries with fakes: each transition once, tried again, given up aloud, revived."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.events.model import Event, Severity
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.notify.endpoint import PATIENCE, Digesting, Endpoint, configured, failed, well
from aetherlink.notify.kinds.slack import message as slack
from aetherlink.notify.model import (
    Delivery,
    State,
    draft,
    name_of,
    parse_schedule,
    settle,
)
from aetherlink.notify.notice import Notice
from aetherlink.notify.outcome import Outcome
from aetherlink.notify.rules import SHIPPED
from aetherlink.notify.service import Dispatcher, UnsettledError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SCHEDULE = parse_schedule("5,60")


def an_alert(**given: Any) -> dict[str, Any]:
    return {
        "event_type": "ops.alert.raised",
        "source": "aether-command-center",
        "tenant_id": "acme",
        "severity": "critical",
        "timestamp": "2026-11-23T12:00:00.000000Z",
        "payload": {
            "rule_name": "autoheal-failures-spike",
            "rule_id": "r1",
            "episode_id": "e1",
            "matched_count": 3,
            "threshold": 2,
            "window_seconds": 300,
            "filters": {"event_type": "autoheal.failed", "source": None, "severity": "error"},
            "group": {},
            **given,
        },
    }


class World:
    """Storage, queues, a clock and a receiver, in memory."""

    def __init__(self, *outcomes: Outcome, webhooks: str = "https://hooks.example/a") -> None:
        self.in_hand = False
        self.now = NOON
        self.kept: dict[str, Delivery] = {}
        self.events: list[Event] = []
        self.queue: list[tuple[dict[str, Any], int]] = []
        self.dead: list[dict[str, Any]] = []
        self.sent: list[str] = []
        self.notices: list[Notice] = []
        self.members: dict[str, list[dict[str, Any]]] = {}
        self.passes: dict[tuple[str, datetime, str], int] = {}
        self.endpoints = {endpoint.id: endpoint for endpoint in configured(webhooks)}
        self.outcomes = list(outcomes)
        self.before_save: Any = None
        self.while_sending: Any = None
        self.dispatcher = Dispatcher(
            self,
            _Endpoints(self),
            self.post,
            queue=_Queue(self.queue),
            dead_letters=_Queue(self.dead, timed=False),
            schedule=SCHEDULE,
            timeout=timedelta(seconds=5),
            in_hand=lambda _tenant, _episode: self.in_hand,
            links=lambda _: (),
            rules=lambda _: SHIPPED,
            now=lambda: self.now,
        )

    def get(self, delivery_id: str) -> Delivery | None:
        return self.kept.get(delivery_id)

    def open(self, delivery: Delivery) -> tuple[Delivery, bool]:
        is_new = delivery.id not in self.kept
        return self.kept.setdefault(delivery.id, replace(delivery, version=1)), is_new

    def into(self, told: Delivery, digest: Delivery) -> bool:
        if self.kept[digest.id].version > 1:
            return False
        self.members.setdefault(digest.id, []).append(told.event)
        joined = replace(told, state=State.DIGESTED, digest_id=digest.id)
        return self.save(told, joined) is not None

    def digested(self, digest: Delivery) -> Iterator[dict[str, Any]]:
        yield from self.members.get(digest.id, [])

    def passed(self, endpoint: Endpoint, since: datetime, name: str = "") -> int:
        key = (endpoint.id, since, name)
        self.passes[key] = self.passes.get(key, 0) + 1
        return self.passes[key]

    def save(
        self, earlier: Delivery, changed: Delivery, announcing: Event | None = None
    ) -> Delivery | None:
        if self.kept[earlier.id].version != earlier.version:
            return None
        self.kept[earlier.id] = replace(changed, version=earlier.version + 1)
        self.events += [announcing] if announcing else []
        return self.kept[earlier.id]

    def post(self, endpoint: Endpoint, notice: Notice) -> Outcome:
        self.sent.append(notice.message_id)
        self.notices.append(notice)
        if self.while_sending:
            self.while_sending()
        return self.outcomes.pop(0) if self.outcomes else Outcome(ms=1, status=200)

    def run(self, message: dict[str, Any]) -> list[State | None]:
        ids = self.dispatcher.open(json.dumps(message))
        return [self.dispatcher.attempt(i) for i in ids]


class _Endpoints:
    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, endpoint_id: str) -> Endpoint | None:
        return self._world.endpoints.get(endpoint_id)

    def for_tenant(self, tenant: TenantId) -> list[Endpoint]:
        return [e for e in self._world.endpoints.values() if e.tenant_id in (tenant, SYSTEM)]

    def save(self, earlier: Endpoint, changed: Endpoint, announcing: Event | None = None) -> bool:
        self._world.endpoints[earlier.id] = changed
        self._world.events += [announcing] if announcing else []
        return True

    def fares(self, seen: Endpoint, now: Endpoint) -> bool:
        if self._world.endpoints[seen.id] != seen:
            return False
        self._world.endpoints[seen.id] = now
        return True


class _Queue:
    def __init__(self, into: list[Any], *, timed: bool = True) -> None:
        self._into, self._timed = into, timed

    def send(self, message: str, *, delay_seconds: int = 0) -> None:
        body = json.loads(message)
        self._into.append((body, delay_seconds) if self._timed else body)


def test_an_alert_is_sent_once_however_often_it_is_announced() -> None:
    world = World()

    assert [world.run({"event": an_alert()}) for _ in range(3)] == [[State.DELIVERED]] * 3
    assert len(world.sent) == 1


def test_a_failure_is_tried_again_with_the_same_id_after_the_scheduled_wait() -> None:
    world = World(Outcome(ms=1, status=500, error="answered 500"))

    assert world.run({"event": an_alert()}) == [State.PENDING]
    ((again, delay),) = world.queue
    assert 5 <= delay <= 6
    world.now += timedelta(seconds=delay)
    assert world.run(again) == [State.DELIVERED]
    assert world.sent[0] == world.sent[1]


def test_a_message_that_comes_early_waits_on() -> None:
    world = World(Outcome(ms=1, status=503))
    world.run({"event": an_alert()})
    again, _ = world.queue.pop()

    assert world.run(again) == [State.PENDING]
    assert (len(world.sent), [message for message, _ in world.queue]) == (1, [again])


def test_after_the_last_attempt_it_is_a_dead_letter_and_an_event_says_so() -> None:
    world = World(*[Outcome(ms=1, error="refused the connection")] * 3)
    world.run({"event": an_alert()})
    for _ in range(2):
        again, wait = world.queue.pop()
        world.now += timedelta(seconds=wait)
        state = world.run(again)

    assert state == [State.DEAD_LETTER]
    assert len(world.dead) == 1
    (event,) = world.events
    assert (event.event_type, event.tenant_id) == ("ops.alert.delivery.failed", "acme")
    assert event.payload["attempts"] == 3
    assert event.payload["endpoint"] == "hooks.example"


def test_a_dead_letter_sent_again_is_tried_from_the_beginning() -> None:
    world = World(Outcome(ms=1, status=404))
    assert world.run({"event": an_alert()}) == [State.FAILED]

    assert world.run(world.dead[0]) == [State.DELIVERED]
    assert world.run(world.dead[0]) == [State.DELIVERED]
    assert len(world.sent) == 2


def test_while_one_sends_another_leaves_it_alone() -> None:
    """Its message would come again minutes later: whoever has it in hand has a message that does."""
    world = World()
    (delivery_id,) = world.dispatcher.open(json.dumps({"event": an_alert()}))
    world.kept[delivery_id] = replace(
        world.kept[delivery_id], leased_until=NOON + timedelta(seconds=9)
    )

    assert world.dispatcher.attempt(delivery_id) is State.PENDING
    assert world.sent == []
    world.now += timedelta(seconds=10)
    assert world.dispatcher.attempt(delivery_id) is State.DELIVERED


def test_what_was_sent_and_could_not_be_noted_comes_again() -> None:
    world = World()
    (delivery_id,) = world.dispatcher.open(json.dumps({"event": an_alert()}))

    def meanwhile() -> None:
        world.kept[delivery_id] = replace(world.kept[delivery_id], version=99)

    world.while_sending = meanwhile
    with pytest.raises(UnsettledError):
        world.dispatcher.attempt(delivery_id)


def test_an_endpoint_that_is_gone_is_given_up_aloud() -> None:
    world = World()
    lost = draft(an_alert(), Endpoint("wh_gone", "https://old.example/"), NOON)
    world.open(lost)

    assert world.dispatcher.attempt(lost.id) is State.FAILED
    assert world.events[0].payload["last_error"] == "the endpoint is no longer configured"


@pytest.mark.parametrize("junk", ["", "[]", "{}", '{"event": {}}', "not json"])
def test_a_message_that_is_none_of_ours_is_an_error_and_not_dropped(junk: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        World().dispatcher.open(junk)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(ms=1, status=204), State.DELIVERED),
        (Outcome(ms=1, status=302), State.PENDING),
        (Outcome(ms=1, status=400), State.FAILED),
        (Outcome(ms=1, status=408), State.PENDING),
        (Outcome(ms=1, status=429), State.PENDING),
        (Outcome(ms=1, status=502), State.PENDING),
        (Outcome(ms=1, error="timeout"), State.PENDING),
        (Outcome(ms=1, error="forbidden", permanent=True), State.FAILED),
    ],
)
def test_what_an_outcome_leads_to(outcome: Outcome, state: State) -> None:
    delivery = draft(an_alert(), Endpoint("wh", "https://x.example/"), NOON)

    assert settle(delivery, outcome, SCHEDULE, NOON).state is state


def test_the_endpoints_of_the_parameter() -> None:
    found = configured(" https://a.example/x , ,https://b.example/y,https://a.example/x")

    assert [e.label for e in found] == ["a.example", "b.example"]
    assert "/x" not in repr(found[0])
    assert configured("") == ()


def test_slack_text_is_the_release_notes() -> None:
    text = json.loads(slack.render(Notice(an_alert(), "")))["text"]

    assert text == (
        ":rotating_light: *AetherLink Alert Triggered*\n\n"
        "*Rule:* `autoheal-failures-spike`\n*Severity:* `CRITICAL`\n"
        "*Source:* `aether-command-center`\n*Tenant:* `acme`\n"
        "*Threshold:* 3/2 events in 300s\n\n*Filters:*\n  • Event Type: `autoheal.failed`\n"
        "  • Severity: `error`\n\n*Timestamp:* 2026-11-23T12:00:00Z"
    )


@given(st.text(max_size=200))
def test_no_rule_name_becomes_markup(name: str) -> None:
    text = json.loads(slack.render(Notice(an_alert(rule_name=name), "")))["text"]

    (line,) = [line for line in text.split("\n") if line.startswith("*Rule:*")]
    assert line.count("`") == 2
    assert "<" not in line
    assert ">" not in line


STEP = "https://pager.example/p#after=1200"


def resolved_alert() -> dict[str, Any]:
    return {**an_alert(), "event_type": "ops.alert.resolved"}


def test_a_step_of_escalation_is_told_later_if_nobody_has_the_alert_in_hand() -> None:
    world = World(webhooks=STEP)

    assert world.run({"event": an_alert()}) == [State.PENDING]
    ((later, delay),) = world.queue
    assert (world.sent, delay) == ([], 1200)
    world.now += timedelta(seconds=1200)
    assert world.run(later) == [State.DELIVERED]
    assert world.run({"event": resolved_alert()}) == [State.DELIVERED]


def test_a_step_of_escalation_is_not_told_of_what_somebody_has_in_hand() -> None:
    world = World(webhooks=STEP)
    world.run({"event": an_alert()})
    ((later, _),) = world.queue

    world.in_hand, world.now = True, world.now + timedelta(seconds=1200)
    assert world.run(later) == [State.CANCELLED]
    assert world.run({"event": resolved_alert()}) == [State.CANCELLED]
    assert world.sent == []


def test_an_alert_that_ended_before_the_step_is_nobodys_news() -> None:
    world = World(webhooks=STEP)
    world.run({"event": an_alert()})

    assert world.run({"event": resolved_alert()}) == [State.CANCELLED]
    assert world.sent == []


def test_a_step_that_was_tried_goes_on_though_the_alert_is_in_hand_now() -> None:
    """It may have been told without our knowing; then it must hear of the end too."""
    world = World(Outcome(ms=1, status=503), webhooks=STEP)
    world.run({"event": an_alert()})
    world.now += timedelta(seconds=1200)
    world.run({"delivery_id": next(iter(world.kept))})

    world.in_hand, world.now = True, world.now + timedelta(seconds=6)
    assert world.run({"delivery_id": next(iter(world.kept))}) == [State.DELIVERED]


def test_the_step_stands_in_the_fragment_and_is_never_sent() -> None:
    plain, step = configured("https://a.example/x,https://a.example/x#after=60")

    assert (plain.url, plain.after) == ("https://a.example/x", timedelta(0))
    assert (step.url, step.after) == ("https://a.example/x", timedelta(seconds=60))
    assert plain.id != step.id


def numbered(number: int) -> dict[str, Any]:
    alert = an_alert(episode_id=f"e{number}")
    return {**alert, "event_id": f"e{number}.raised"}


def test_an_end_waits_for_its_beginning() -> None:
    """The receiver was down when it began, and is back when it ends."""
    world = World(Outcome(ms=1, status=503))
    world.run({"event": an_alert()})

    assert world.run({"event": resolved_alert()}) == [State.PENDING]
    assert len(world.sent) == 1
    world.now += timedelta(seconds=10)
    for message, _ in [*world.queue]:
        world.run(message)
    assert [notice.event_type for notice in world.notices] == [
        "ops.alert.raised",
        "ops.alert.raised",
        "ops.alert.resolved",
    ]


def test_retry_after_is_obeyed() -> None:
    asked = Outcome(ms=1, status=429, retry_after=timedelta(minutes=10))
    world = World(asked)
    world.run({"event": an_alert()})

    ((_, delay),) = world.queue
    assert delay == 600


def test_an_endpoint_that_is_gone_for_good_is_switched_off_aloud() -> None:
    world = World(Outcome(ms=1, status=410))

    assert world.run({"event": an_alert()}) == [State.FAILED]
    (endpoint,) = world.endpoints.values()
    assert (endpoint.enabled, endpoint.disabled_because) == (False, "gone")
    assert [e.event_type for e in world.events] == [
        "ops.alert.delivery.failed",
        "ops.endpoint.disabled",
    ]
    assert world.run({"event": numbered(2)}) == []


def test_an_endpoint_that_fails_for_days_is_switched_off() -> None:
    world = World(*[Outcome(ms=1, status=500)] * 3)
    world.run({"event": numbered(1)})
    (endpoint,) = world.endpoints.values()
    assert endpoint.failing_since == NOON

    world.now += PATIENCE - timedelta(seconds=60)
    world.run({"event": numbered(2)})
    assert next(iter(world.endpoints.values())).enabled
    world.now += timedelta(seconds=60)
    world.run({"event": numbered(3)})
    (endpoint,) = world.endpoints.values()
    assert (endpoint.enabled, endpoint.disabled_because) == (False, "failing")


DOWN = Outcome(ms=1, error="connection refused")


def test_an_endpoint_that_does_not_answer_twice_in_a_row_is_left_alone_for_a_while() -> None:
    """Whatever waits for it would else keep everybody else's messages waiting too."""
    world = World(DOWN, DOWN)
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})
    assert len(world.sent) == 2

    assert world.run({"event": numbered(3)}) == [State.PENDING]
    third = world.kept[name_of(SYSTEM, "e3", "raised", next(iter(world.endpoints)))]
    assert (len(world.sent), third.tries, third.due_at) == (2, 0, NOON + SCHEDULE[0])


def test_then_one_message_finds_out_and_the_others_follow() -> None:
    world = World(DOWN, DOWN)
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})
    world.run({"event": numbered(3)})
    world.run({"event": numbered(4)})
    world.now += SCHEDULE[0]
    waiting = [delivery for delivery in world.kept.values() if delivery.tries == 0]

    # It is found out while another one asks.
    def meanwhile() -> None:
        assert world.dispatcher.attempt(waiting[1].id) is State.PENDING

    world.while_sending = meanwhile
    assert world.dispatcher.attempt(waiting[0].id) is State.DELIVERED
    assert len(world.sent) == 3
    world.while_sending = None
    world.now += timedelta(seconds=30)
    assert world.dispatcher.attempt(waiting[1].id) is State.DELIVERED


def test_what_waits_for_a_resting_endpoint_is_given_up_no_later_than_its_attempts_would_be() -> (
    None
):
    world = World(*[DOWN] * 50)
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})
    world.run({"event": numbered(3)})
    third = world.kept[name_of(SYSTEM, "e3", "raised", next(iter(world.endpoints)))]
    world.now += sum(SCHEDULE, timedelta(0)) * 1.1
    for _ in range(3):
        world.now += timedelta(seconds=60)
        # Another one finds out that it is still down.
        world.dispatcher.attempt(next(d.id for d in world.kept.values() if d.tries))
        world.dispatcher.attempt(third.id)

    given_up = world.kept[third.id]
    assert given_up.state is State.DEAD_LETTER
    assert (
        given_up.attempts[-1].error
        == "its endpoint has not answered since 2026-11-23T12:00:00.000000Z"
    )
    assert {"delivery_id": third.id, "revive": True} in world.dead


def test_what_one_message_is_asked_to_wait_all_of_them_wait() -> None:
    world = World(Outcome(ms=1, status=429, retry_after=timedelta(minutes=3)))
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})

    assert len(world.sent) == 1
    assert {delivery.due_at for delivery in world.kept.values()} == {NOON + timedelta(minutes=3)}


def test_a_refused_message_says_nothing_of_the_next_one() -> None:
    world = World(*[Outcome(ms=1, status=400)] * 5)
    for n in range(6):
        world.run({"event": numbered(n)})

    assert len(world.sent) == 6


@given(st.lists(st.sampled_from([None, 200, 400, 429, 500, 503]), max_size=30))
def test_no_rest_is_longer_than_a_minute_and_none_comes_from_one_failure(
    statuses: list[int | None],
) -> None:
    endpoint, in_a_row = Endpoint("e1", "https://x.example"), 0
    for status in statuses:
        outcome = Outcome(ms=1, status=status)
        endpoint = (
            well(endpoint) if outcome.is_success else failed(endpoint, outcome, SCHEDULE, NOON)
        )
        in_a_row = in_a_row + 1 if status in (None, 429, 500, 503) else 0
        rest = (endpoint.resting_until or NOON) - NOON
        assert timedelta(0) <= rest <= timedelta(seconds=60)
        assert (rest > timedelta(0)) == (in_a_row >= 2)


def test_one_success_makes_an_endpoint_well() -> None:
    world = World(Outcome(ms=1, status=500))
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})

    assert next(iter(world.endpoints.values())).failing_since is None


def test_what_fails_to_tell_of_a_failure_makes_no_further_event() -> None:
    world = World(Outcome(ms=1, status=404))
    world.endpoints = {
        key: replace(endpoint, event_types=("*",)) for key, endpoint in world.endpoints.items()
    }
    failed = {**an_alert(), "event_id": "x1", "event_type": "ops.alert.delivery.failed"}

    assert world.run({"event": failed}) == [State.FAILED]
    assert (world.events, len(world.dead)) == ([], 1)


def test_each_endpoint_is_told_at_its_own_pace() -> None:
    world = World()
    world.endpoints = {
        key: replace(endpoint, rate_per_minute=2) for key, endpoint in world.endpoints.items()
    }
    states = [world.run({"event": numbered(n)})[0] for n in range(5)]

    assert states == [State.DELIVERED] * 2 + [State.PENDING] * 3
    assert sorted(delay for _, delay in world.queue) == [60, 60, 120]
    while world.queue:
        message, delay = world.queue.pop(0)
        world.now = max(world.now, NOON + timedelta(seconds=delay))
        world.run(message)
    assert len(world.sent) == len(set(world.sent)) == 5


@given(
    after=st.integers(1, 5),
    number=st.integers(1, 30),
    again=st.lists(st.integers(0, 29), max_size=10),
)
def test_a_flood_becomes_one_digest_and_loses_nothing(
    after: int, number: int, again: list[int]
) -> None:
    world = World()
    digesting = Digesting(after, timedelta(seconds=60))
    world.endpoints = {k: replace(e, digesting=digesting) for k, e in world.endpoints.items()}
    for n in [*range(number), *(n for n in again if n < number)]:
        world.run({"event": numbered(n)})
    assert len(world.sent) == min(after, number)

    world.now += timedelta(seconds=60)
    for message, _ in [*world.queue]:
        world.run(message)
    digests = [notice for notice in world.notices if notice.digest]
    assert len(digests) == (number > after)
    told = [n.event["event_id"] for n in world.notices if not n.digest]
    for notice in digests:
        assert notice.digest
        told += [event["event_id"] for event in notice.digest.alerts]
    assert sorted(told) == sorted(f"e{n}.raised" for n in range(number))


def test_who_got_the_trigger_gets_the_resolve_whatever_it_wants_by_then() -> None:
    world = World()
    world.run({"event": an_alert()})
    world.endpoints = {
        key: replace(endpoint, min_severity=Severity.CRITICAL, event_types=("lead.*",))
        for key, endpoint in world.endpoints.items()
    }

    assert world.run({"event": resolved_alert()}) == [State.DELIVERED]
    # And who was not told of the beginning is not told of the end.
    other = {**resolved_alert(), "payload": {**resolved_alert()["payload"], "episode_id": "e9"}}
    assert world.run({"event": other}) == []


def test_an_endpoint_hears_of_its_own_tenant_and_that_of_the_platform_of_all() -> None:
    ours = Endpoint("e1", "https://a.example/", tenant_id=TenantId("acme"))

    assert ours.wants(an_alert())
    assert not ours.wants({**an_alert(), "tenant_id": "globex"})
    assert replace(ours, tenant_id=SYSTEM).wants({**an_alert(), "tenant_id": "globex"})
    assert not replace(ours, enabled=False).wants(an_alert())
    warning = {**an_alert(), "severity": "warning"}
    assert not replace(ours, min_severity=Severity.ERROR).wants(warning)
    assert replace(ours, event_types=("lead.*",)).wants(
        {**an_alert(), "event_type": "lead.created"}
    )


def test_what_began_with_a_message_of_its_own_ends_with_one_though_there_is_a_flood() -> None:
    """Else PagerDuty's incident, opened by the first message, would stay open for good."""
    world = World()
    digesting = Digesting(1, timedelta(seconds=60))
    world.endpoints = {k: replace(e, digesting=digesting) for k, e in world.endpoints.items()}
    world.run({"event": numbered(1)})
    world.run({"event": numbered(2)})

    assert world.run({"event": {**numbered(1), "event_type": "ops.alert.resolved"}}) == [
        State.DELIVERED
    ]
