"""A run of the healer (heal/run.py), with services, a network and a table in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherlink.heal.model import Pause
from aetherlink.heal.policy import MAX_AT_ONCE
from aetherlink.heal.record import Maintenance
from aetherlink.registry.graph import upstream
from tests.unit.heal.world import ACME, HOOK, NOON, Killed, World, names


@pytest.fixture
def world() -> World:
    return World().add(*names(range(8)))


def test_what_is_well_costs_one_look_and_then_no_write(world: World) -> None:
    world.minutes(1)
    first = world.kept.commits
    world.minutes(3)

    assert (first, world.kept.commits, world.looks) == (8, 8, 32)
    assert world.kept.events == []


def test_a_dead_service_is_down_healed_and_up_within_one_run(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    world.run()

    assert world.state("s01") == "up"
    assert world.named() == ["s01"]
    assert world.told() == [
        "service.health.failed",
        "autoheal.attempted",
        "service.health.recovered",
        "autoheal.succeeded",
    ]
    # Three looks 2 s apart to be sure, two to see that it is well again.
    assert world.now - NOON < timedelta(seconds=60 + 12)
    (heal,) = world.kept.heals
    assert heal.success
    assert "the hook answered 204; healthy after" in heal.msg


def test_its_outage_and_its_heal_are_two_transactions(world: World) -> None:
    """`failed` and the claim are one, `recovered` and `succeeded` the other (at most 2 calls a change)."""
    world.minutes(1)
    before = world.kept.commits
    world.sick.add("s01")
    world.run()

    assert world.kept.commits - before == 2


def test_one_bad_look_is_no_outage(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    world.heals_at["s01"] = world.now + timedelta(seconds=1)
    world.run()

    assert world.told() == []
    assert world.acted == []
    assert world.state("s01") == "up"


def test_what_has_no_action_is_told_of_and_left_alone(world: World) -> None:
    world.add("bare", heal=None).minutes(1)
    world.sick.add("bare")
    world.minutes(2)

    assert world.told() == ["service.health.failed"]
    assert world.run().found()[0]["because"] == "it has no action to heal it by"


def test_a_hook_that_refuses_has_failed_at_once_and_is_tried_again_later(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    world.refuses = True
    world.run()

    (heal, *_) = world.kept.heals
    assert (heal.success, heal.msg) == (False, "the hook answered 503")
    assert world.told("autoheal.failed")
    # 10 s after the first one, within the same run.
    (_, first), (_, second) = world.acted
    assert timedelta(seconds=10) <= second - first < timedelta(seconds=14)


def test_an_action_that_does_not_help_has_failed_after_its_time(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    world.useless = True
    world.minutes(1)

    assert world.kept.heals == []
    world.minutes(1)
    assert "not healthy after" in world.kept.heals[0].msg
    assert world.kept.ledger(ACME).healing == {"s01"}  # The next attempt.


def test_a_killed_healer_neither_repeats_its_action_nor_forgets_it(world: World) -> None:
    """Killed after the action and before noting what came of it."""
    world.minutes(1)
    world.sick.add("s01")
    world.kill_after_action = True
    with pytest.raises(Killed):
        world.run()
    assert world.kept.watched[ACME, "s01"].pending

    world.kill_after_action = False
    world.minutes(1)
    assert world.named() == ["s01"]
    assert world.told("autoheal.succeeded", "autoheal.failed") == ["autoheal.succeeded"]
    assert world.kept.ledger(ACME).healing == frozenset()


def test_two_runs_at_once_heal_once(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    rival = world.make()
    looks: list[int] = []

    def rivalry() -> None:
        looks.append(1)
        if len(looks) == 3:
            # Both have seen it fail; the other one decides first.
            rival.go()

    world.on_look = rivalry
    world.run()

    assert world.named() == ["s01"]
    assert world.told("autoheal.attempted") == ["autoheal.attempted"]


def test_of_ten_that_run_at_once_each_limit_holds_for_all_together() -> None:
    world = World().add(*names(range(40)))
    world.minutes(1)
    world.sick |= set(names(range(10)))
    world.useless = True
    for run in [world.make() for _ in range(10)]:
        run.go()

    assert len(world.acted) == MAX_AT_ONCE
    assert len(set(world.named())) == MAX_AT_ONCE


def test_most_services_down_at_once_is_one_alert_and_nothing_is_touched() -> None:
    world = World().add(*names(range(10)))
    world.minutes(1)
    world.sick |= set(names(range(6)))
    world.minutes(30)

    assert world.acted == []
    assert world.alerts() == ["blast"]
    assert world.told("service.health.failed") == ["service.health.failed"] * 6

    world.sick.clear()
    world.minutes(1)
    assert world.alerts("resolved") == ["blast"]
    assert world.told("service.health.recovered") == ["service.health.recovered"] * 6


def test_most_tenants_in_trouble_is_ours() -> None:
    world = World()
    for tenant in ("a", "b", "c", "d"):
        world.add(f"{tenant}1", f"{tenant}2", tenant=tenant)
    world.minutes(1)
    world.sick |= {"a1", "a2", "b1", "b2", "c1", "c2"}
    world.minutes(2)

    assert world.acted == []
    assert world.alerts() == ["blast"] * 3


def test_what_was_left_behind_long_ago_keeps_nobody_from_being_healed() -> None:
    """Six of ten, and every service of three other tenants, died one by one and were never removed."""
    world = World().add(*names(range(10)))
    for tenant in ("a", "b", "c"):
        world.add(f"{tenant}1", tenant=tenant)
    world.useless = True
    world.minutes(1)
    for gone in (*names(range(6)), "a1", "b1", "c1"):
        world.sick.add(gone)
        world.minutes(11)
    acted = len(world.acted)
    world.useless = False
    world.sick.add("s09")
    world.minutes(1)

    assert world.named()[acted:] == ["s09"]
    assert "blast" not in world.alerts()


def test_what_others_depend_on_comes_first() -> None:
    world = World().add(*names(range(8))).add("db").add("shop", depends_on=["api"])
    world.add("api", depends_on=["db"]).minutes(1)
    world.sick |= {"db", "api", "shop"}
    world.run()

    assert world.named() == ["db", "api", "shop"]
    assert not world.sick


def test_two_that_wait_for_each_other_are_healed_all_the_same() -> None:
    world = World().add(*names(range(8))).add("a", depends_on=["b"]).add("b", depends_on=["a"])
    world.minutes(1)
    world.sick |= {"a", "b"}
    world.run()

    assert sorted(world.named()) == ["a", "b"]


def test_a_flapping_service_backs_off_gives_up_and_alerts_once(world: World) -> None:
    world.minutes(1)
    for _ in range(40):
        world.sick.add("s01")
        world.minutes(1)

    gaps = [
        (later - earlier).total_seconds()
        for (_, earlier), (_, later) in zip(world.acted, world.acted[1:], strict=False)
    ]
    assert len(world.acted) == 5
    assert gaps == sorted(gaps)
    assert world.alerts() == ["service/s01"]
    assert world.kept.watched[ACME, "s01"].is_flapping(world.now)

    world.sick.clear()
    world.minutes(15)
    # Ten minutes of health, and it is over: once.
    assert world.alerts("resolved") == ["service/s01"]
    assert world.kept.watched[ACME, "s01"].attempts == ()


def test_one_that_breaks_holds_up_no_other(world: World) -> None:
    world.minutes(1)
    world.sick |= {"s01", "s02"}
    commit = world.kept.commit

    def broken(writes: list[Any]) -> bool:
        if writes[0][1].name == "s01":
            raise ValueError("damaged")
        return commit(writes)

    world.kept.commit = broken  # type: ignore[method-assign]
    run = world.run()

    assert (world.named(), world.state("s02")) == (["s02"], "up")
    assert [str(failure) for failure in run.failures] == ["damaged"]
    world.kept.commit = commit  # type: ignore[method-assign]
    world.minutes(1)
    assert world.state("s01") == "up"


def test_pause_and_maintenance_hold_everything_but_looking(world: World) -> None:
    world.minutes(1)
    paused = world.kept.watched[ACME, "s01"]
    world.kept.watched[ACME, "s01"] = replace(paused, pause=Pause("mine", "ann"))
    world.windows.append(
        Maintenance("w", ACME, "disks", "ann", NOON, NOON + timedelta(hours=1), ("s02",))
    )
    world.sick |= {"s01", "s02"}
    world.minutes(5)

    assert world.acted == []
    assert (world.state("s01"), world.state("s02")) == ("down", "down")
    severities = {e.payload["service"]: str(e.severity) for e in world.kept.events}
    assert severities == {"s01": "error", "s02": "info"}

    world.windows.clear()
    world.minutes(1)
    assert world.named() == ["s02"]


def test_a_risky_action_waits_until_somebody_agrees(world: World) -> None:
    world.add("db", heal={**HOOK, "approval": True}).minutes(1)
    world.sick.add("db")
    world.minutes(3)

    (approval,) = world.kept.approvals
    assert (world.acted, world.alerts()) == ([], ["service/db"])

    watched = world.kept.watched[ACME, "db"]
    assert watched.approval_id == approval.id
    until = world.now + timedelta(minutes=15)
    world.kept.watched[ACME, "db"] = replace(watched, approved_until=until, alert=None)
    world.minutes(1)
    assert world.named() == ["db"]
    assert world.state("db") == "up"


def test_what_is_not_allowed_is_held_and_says_so(world: World) -> None:
    world.minutes(1)
    world.forbidden.add("s01")
    world.sick.add("s01")

    found = {each["service"]: each for each in world.run().found()}
    assert world.acted == []
    assert (found["s01"]["verdict"], found["s01"]["because"]) == ("held", "not allowed")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    world.minutes(1)
    world.sick.add("s01")
    before = dict(world.kept.watched)
    found = {each["service"]: each for each in world.run(dry=True).found()}

    assert found["s01"]["verdict"] == "heal"
    assert found["s00"]["verdict"] == "well"
    assert (world.acted, world.kept.events, world.signals) == ([], [], [])
    assert world.kept.watched == before


def test_a_heartbeat_that_stops_is_an_outage_without_anybody_calling(world: World) -> None:
    plan = {**HOOK, "probe": {"kind": "heartbeat"}}
    world.add("beat", lease_seconds=90, heal=plan).minutes(1)
    assert world.state("beat") == "up"

    world.minutes(2)
    assert world.state("beat") == "down"
    assert world.named() == ["beat"]
    assert world.looks == 3 * 8


graphs = st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=8, max_size=8)


@settings(max_examples=80, deadline=None)
@given(graphs, st.sets(st.integers(0, 7), max_size=4))
def test_nothing_is_healed_before_what_it_depends_on(graph: list[set[int]], sick: set[int]) -> None:
    """Whatever the dependencies are; of services that go round in a circle none waits for another."""
    world = World()
    edges = {f"s{n:02}": [f"s{other:02}" for other in sorted(graph[n])] for n in range(8)}
    for name, upon in edges.items():
        world.add(name, depends_on=upon)
    world.add(*(f"other{n}" for n in range(4)))
    world.minutes(1)
    world.sick = {f"s{n:02}" for n in sick}
    world.on_act = lambda name: early.extend(
        (name, upon) for upon in upstream(name, edges) if upon in world.sick
    )
    early: list[tuple[str, str]] = []
    world.minutes(6)

    assert early == []
    assert not world.sick


steps = st.lists(
    st.tuples(
        st.sets(st.integers(0, 7), max_size=8),
        st.booleans(),
        st.booleans(),
        st.sets(st.integers(0, 7), max_size=2),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_fails_no_limit_is_broken(
    steps: list[tuple[set[int], bool, bool, set[int]]],
) -> None:
    """Services fail and recover, actions help or do not, pauses come and go; every claim is written down
    before it is acted on, and the ledger is what is going on."""
    world = World().add(*names(range(8)))
    world.minutes(1)
    paused_at: list[tuple[Any, set[str]]] = []
    for sick, useless, refuses, paused in steps:
        world.sick = {f"s{number:02}" for number in sick}
        world.heals_at.clear()
        world.useless, world.refuses = useless, refuses
        held = {f"s{number:02}" for number in paused}
        for name in names(range(8)):
            watched = world.kept.watched[ACME, name]
            pause = Pause("", "ann") if name in held else None
            world.kept.watched[ACME, name] = replace(watched, pause=pause)
        paused_at.append((world.now, held))
        before = len(world.acted)
        world.minutes(1)
        assert not {name for name, _ in world.acted[before:]} & held
        going_on = {w.name for w in world.kept.watched.values() if w.pending}
        assert going_on == world.kept.ledger(ACME).healing
        assert len(going_on) <= MAX_AT_ONCE
    for name in names(range(8)):
        times = [at for who, at in world.acted if who == name]
        for at in times:
            window = [other for other in times if at - timedelta(hours=1) < other <= at]
            assert len(window) <= 5
    assert len(world.told("autoheal.attempted")) == len(world.acted)
    ended = world.told("autoheal.succeeded", "autoheal.failed")
    assert len(ended) == len(world.kept.heals)
    assert len(world.acted) - len(ended) == len(world.kept.ledger(ACME).healing)
