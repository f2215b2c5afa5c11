"""Deliveries with fakes: each transition once, tried again, given up aloud, revived."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.events.model import Event
from aetherlink.notify import slack
from aetherlink.notify.model import (
    Delivery,
    Endpoint,
    Outcome,
    State,
    configured,
    draft,
    parse_schedule,
    settle,
)
from aetherlink.notify.service import BusyError, Dispatcher

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
        self.outcomes = list(outcomes)
        self.before_save: Any = None
        self.dispatcher = Dispatcher(
            self,
            configured(webhooks),
            self.post,
            queue=_Queue(self.queue),
            dead_letters=_Queue(self.dead, timed=False),
            schedule=SCHEDULE,
            lease=timedelta(seconds=30),
            in_hand=lambda _tenant, _episode: self.in_hand,
            now=lambda: self.now,
        )

    def get(self, delivery_id: str) -> Delivery | None:
        return self.kept.get(delivery_id)

    def open(self, delivery: Delivery) -> Delivery:
        return self.kept.setdefault(delivery.id, replace(delivery, version=1))

    def save(
        self, earlier: Delivery, changed: Delivery, announcing: Event | None = None
    ) -> Delivery | None:
        if self.kept[earlier.id].version != earlier.version:
            return None
        self.kept[earlier.id] = replace(changed, version=earlier.version + 1)
        self.events += [announcing] if announcing else []
        return self.kept[earlier.id]

    def post(self, endpoint: Endpoint, delivery: Delivery) -> Outcome:
        self.sent.append(delivery.message_id)
        return self.outcomes.pop(0) if self.outcomes else Outcome(ms=1, status=200)

    def run(self, message: dict[str, Any]) -> list[State | None]:
        ids = self.dispatcher.open(json.dumps(message))
        return [self.dispatcher.attempt(i) for i in ids]


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
    assert delay == 5
    world.now += timedelta(seconds=5)
    assert world.run(again) == [State.DELIVERED]
    assert world.sent[0] == world.sent[1]


def test_a_message_that_comes_early_waits_on() -> None:
    world = World(Outcome(ms=1, status=503))
    world.run({"event": an_alert()})
    again, _ = world.queue.pop()

    assert world.run(again) == [State.PENDING]
    assert (len(world.sent), world.queue) == (1, [(again, 5)])


def test_after_the_last_attempt_it_is_a_dead_letter_and_an_event_says_so() -> None:
    world = World(*[Outcome(ms=1, error="refused the connection")] * 3)
    world.run({"event": an_alert()})
    for wait in (5, 60):
        world.now += timedelta(seconds=wait)
        state = world.run(world.queue.pop()[0])

    assert state == [State.DEAD_LETTER]
    assert len(world.dead) == 1
    (event,) = world.events
    assert (event.event_type, event.tenant_id) == ("ops.alert.delivery.failed", "acme")
    assert event.payload["attempts"] == 3
    assert event.payload["endpoint"] == "hooks.example"


def test_a_dead_letter_sent_again_is_tried_from_the_beginning() -> None:
    world = World(Outcome(ms=1, status=404))
    assert world.run({"event": an_alert()}) == [State.DEAD_LETTER]

    assert world.run(world.dead[0]) == [State.DELIVERED]
    assert world.run(world.dead[0]) == [State.DELIVERED]
    assert len(world.sent) == 2


def test_while_one_sends_another_has_to_come_again() -> None:
    world = World()
    (delivery_id,) = world.dispatcher.open(json.dumps({"event": an_alert()}))
    world.kept[delivery_id] = replace(
        world.kept[delivery_id], leased_until=NOON + timedelta(seconds=9)
    )

    with pytest.raises(BusyError):
        world.dispatcher.attempt(delivery_id)
    world.now += timedelta(seconds=10)
    assert world.dispatcher.attempt(delivery_id) is State.DELIVERED


def test_an_endpoint_that_is_gone_is_given_up_aloud() -> None:
    world = World()
    lost = draft(an_alert(), Endpoint("wh_gone", "https://old.example/"), "{}", NOON)
    world.open(lost)

    assert world.dispatcher.attempt(lost.id) is State.DEAD_LETTER
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
        (Outcome(ms=1, status=400), State.DEAD_LETTER),
        (Outcome(ms=1, status=408), State.PENDING),
        (Outcome(ms=1, status=429), State.PENDING),
        (Outcome(ms=1, status=502), State.PENDING),
        (Outcome(ms=1, error="timeout"), State.PENDING),
        (Outcome(ms=1, error="forbidden", permanent=True), State.DEAD_LETTER),
    ],
)
def test_what_an_outcome_leads_to(outcome: Outcome, state: State) -> None:
    delivery = draft(an_alert(), Endpoint("wh", "https://x.example/"), "{}", NOON)

    assert settle(delivery, outcome, SCHEDULE, NOON).state is state


def test_the_endpoints_of_the_parameter() -> None:
    found = configured(" https://a.example/x , ,https://b.example/y,https://a.example/x")

    assert [e.label for e in found] == ["a.example", "b.example"]
    assert "/x" not in repr(found[0])
    assert configured("") == ()


def test_slack_text_is_the_release_notes() -> None:
    text = json.loads(slack.message(an_alert()))["text"]

    assert text == (
        ":rotating_light: *AetherLink Alert Triggered*\n\n"
        "*Rule:* `autoheal-failures-spike`\n*Severity:* `CRITICAL`\n"
        "*Source:* `aether-command-center`\n*Tenant:* `acme`\n"
        "*Threshold:* 3/2 events in 300s\n\n*Filters:*\n  • Event Type: `autoheal.failed`\n"
        "  • Severity: `error`\n\n*Timestamp:* 2026-11-23T12:00:00Z"
    )


@given(st.text(max_size=200))
def test_no_rule_name_becomes_markup(name: str) -> None:
    text = json.loads(slack.message(an_alert(rule_name=name)))["text"]

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

    world.in_hand, world.now = True, world.now + timedelta(seconds=5)
    assert world.run({"delivery_id": next(iter(world.kept))}) == [State.DELIVERED]


def test_the_step_stands_in_the_fragment_and_is_never_sent() -> None:
    plain, step = configured("https://a.example/x,https://a.example/x#after=60")

    assert (plain.url, plain.after) == ("https://a.example/x", timedelta(0))
    assert (step.url, step.after) == ("https://a.example/x", timedelta(seconds=60))
    assert plain.id != step.id
