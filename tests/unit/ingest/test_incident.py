"""Incidents (ingest/incident.py): one episode from a trigger to its resolve, however often each comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.alerts.episode import Acknowledgement, Episode, State, Told
from aetherlink.events.model import Event, Severity
from aetherlink.ingest.incident import Incident, Sender, Signal, decide
from aetherlink.ingest.service import Intake
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
Action = Literal["firing", "acknowledged", "resolved"]


def a_signal(action: Action = "firing", **given: Any) -> Signal:
    fields: dict[str, Any] = {
        "sender": Sender.ALERTMANAGER,
        "key": "f1/2026",
        "at": NOON,
        "name": "HighLatency",
        "severity": Severity.CRITICAL,
        "source": "checkout",
        "group": {"service": "checkout"},
        "annotations": {"summary": "slow"},
    }
    return Signal(action=action, **{**fields, **given})


@dataclass
class World:
    """What is stored, in memory."""

    now: datetime = NOON
    incidents: dict[str, Incident] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    also: list[Any] = field(default_factory=list)
    losing: int = 0

    @property
    def intake(self) -> Intake:
        return Intake(self, _Episodes(self.episodes), lambda: self.now)

    def get(self, tenant: TenantId, name: str) -> Incident | None:
        assert tenant == ACME
        return self.incidents.get(name)

    def commit(
        self,
        earlier: Incident | None,
        changed: Incident,
        told: Sequence[Told],
        heard: Event | None,
        also: Any = (),
    ) -> bool:
        if self.losing:
            self.losing -= 1
            return False
        assert (earlier.version if earlier else 0) == (
            self.incidents[changed.name].version if changed.name in self.incidents else 0
        )
        self.incidents[changed.name] = replace(changed, version=changed.version + 1)
        for each in told:
            state = {"pending": State.PENDING, "raised": State.FIRING}.get(each.transition.kind)
            over = {"state": state or State.RESOLVED}
            self.episodes[each.episode.id] = each.episode.model_copy(update=over)
        self.events += [each.event for each in told if each.event] + ([heard] if heard else [])
        self.also += also
        return True

    def took(self, *signals: Signal) -> list[str]:
        return [self.intake.take(ACME, signal) for signal in signals]


class _Episodes:
    def __init__(self, kept: dict[str, Episode]) -> None:
        self._kept = kept

    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None:
        return self._kept.get(episode_id)

    def acknowledge(self, episode: Episode, given: Acknowledgement | None) -> bool:
        self._kept[episode.id] = episode.model_copy(update={"acknowledged": given})
        return True


def types(world: World) -> list[str]:
    return [event.event_type for event in world.events]


def test_a_trigger_is_an_episode_and_its_resolve_is_its_end() -> None:
    world = World()

    assert world.took(a_signal(), a_signal(), a_signal("resolved"), a_signal("resolved")) == [
        "opened", "known", "closed", "known",
    ]  # fmt: skip
    [episode] = world.episodes.values()
    assert (episode.state, episode.rule_name, episode.severity) == (
        State.RESOLVED, "HighLatency", "critical",
    )  # fmt: skip
    assert types(world) == [
        "ops.alert.raised", "ingest.alert.firing", "ops.alert.resolved", "ingest.alert.resolved",
    ]  # fmt: skip
    assert {event.payload["episode_id"] for event in world.events} == {episode.id}
    assert len({event.event_id for event in world.events}) == 4


def test_an_alert_carries_what_the_contract_names() -> None:
    world = World()
    world.took(a_signal())
    raised = world.events[0]

    assert (raised.source, raised.severity) == ("aether-command-center", "critical")
    assert raised.payload.keys() >= {
        "rule_name", "rule_id", "matched_count", "window_seconds", "threshold", "filters", "group",
        "episode_id",
    }  # fmt: skip
    assert raised.payload["group"] == {"service": "checkout"}
    assert raised.payload["annotations"] == {"summary": "slow"}


def test_a_resolve_that_brings_its_key_alone_says_what_it_ends() -> None:
    world = World()
    bare = Signal(Sender.ALERTMANAGER, "f1/2026", "resolved", NOON)
    world.took(a_signal(), bare)

    [episode] = world.episodes.values()
    assert (episode.rule_name, episode.group) == ("HighLatency", {"service": "checkout"})
    heard = next(e for e in world.events if e.event_type == "ingest.alert.resolved")
    assert (heard.payload["alert"], heard.severity) == ("HighLatency", "info")


def test_a_resolve_that_overtook_its_trigger_leaves_nothing_open() -> None:
    world = World()
    late = a_signal(settled_for=timedelta(seconds=30))

    assert world.took(a_signal("resolved"), late) == ["unknown", "known"]
    assert (world.episodes, world.events) == ({}, [])


def test_the_same_key_fires_again_later_as_another_episode() -> None:
    world = World()
    late = a_signal(settled_for=timedelta(seconds=30))
    world.took(late, a_signal("resolved"))
    world.now += timedelta(seconds=31)

    assert world.took(late) == ["opened"]
    assert len(world.episodes) == 2


def test_somebody_who_acknowledges_has_it_in_hand() -> None:
    world = World()

    assert world.took(a_signal("acknowledged", by="ann")) == ["unknown"]
    world.took(a_signal())
    assert world.took(a_signal("acknowledged", by="ann")) == ["acknowledged"]
    [episode] = world.episodes.values()
    assert episode.acknowledged
    assert episode.acknowledged.by == "ann"


def test_who_loses_a_race_looks_again_and_not_for_ever() -> None:
    world = World(losing=3)
    assert world.took(a_signal()) == ["opened"]

    world.losing = 100
    with pytest.raises(UnavailableError):
        world.took(a_signal("resolved"))


def test_a_start_in_the_future_is_the_senders_clock() -> None:
    world = World()
    world.took(a_signal(at=NOON + timedelta(hours=1)))

    [episode] = world.episodes.values()
    assert episode.started_at == NOON


steps = st.lists(
    st.tuples(st.sampled_from(["firing", "resolved", "acknowledged"]), st.integers(0, 50)),
    max_size=12,
)


@given(steps, st.sampled_from([0, 30]))
def test_each_episode_is_raised_once_and_resolved_once(
    steps: list[tuple[Action, int]], settled: int
) -> None:
    """Whatever comes, however often: an alert per episode, one end each, one open at a time."""
    world = World()
    for action, seconds in steps:
        world.now += timedelta(seconds=seconds)
        world.took(a_signal(action, settled_for=timedelta(seconds=settled)))
        is_open = [e for e in world.episodes.values() if e.state is State.FIRING]
        assert len(is_open) == int(
            next(iter(world.incidents.values())).is_open if world.incidents else 0
        )
    told = [(event.event_type, event.payload["episode_id"]) for event in world.events]
    assert len(set(told)) == len(told)
    raised = [episode for kind, episode in told if kind == "ops.alert.raised"]
    assert raised == list(world.episodes)
    ended = {e.id for e in world.episodes.values() if e.state is State.RESOLVED}
    assert {episode for kind, episode in told if kind == "ops.alert.resolved"} == ended


@given(st.sampled_from(["firing", "resolved"]))
def test_a_signal_taken_twice_changes_nothing_the_second_time(action: Action) -> None:
    once = decide(None, ACME, a_signal(action), NOON)

    assert once is not None
    assert decide(once, ACME, a_signal(action), NOON) is None
