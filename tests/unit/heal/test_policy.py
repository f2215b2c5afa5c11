"""The healing policy (heal/policy.py): whatever happens, it does no harm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.heal.health import Health, State
from aetherlink.heal.policy import (
    BLAST_MINIMUM,
    BLAST_SHARE,
    LONGEST_WAIT,
    MAX_AT_ONCE,
    Around,
    Attempt,
    Limits,
    Outcome,
    Verdict,
    decide,
    forgotten,
    wait_after,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOWN = Health(state=State.DOWN, failures=3, since=NOON)


def failed(*seconds: float) -> list[Attempt]:
    return [Attempt(NOON + timedelta(seconds=s), Outcome.FAILED) for s in seconds]


def verdict(
    attempts: list[Attempt] | None = None, at: float = 0, health: Health = DOWN, **around: Any
) -> Verdict:
    limits = around.pop("limits", Limits())
    now = NOON + timedelta(seconds=at)
    return decide(health, attempts or [], limits, Around(**around), now).verdict


def test_what_is_down_is_healed() -> None:
    assert verdict() is Verdict.HEAL


@pytest.mark.parametrize("state", [State.UP, State.UNKNOWN, State.DEGRADED])
def test_what_is_not_down_is_left_alone(state: State) -> None:
    assert verdict(health=Health(state=state)) is Verdict.WELL


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ({"is_paused": True}, Verdict.HELD),
        ({"is_paused": True, "paused_until": NOON}, Verdict.HEAL),
        ({"maintenance": "disks"}, Verdict.HELD),
        ({"services": 10, "failing": 6}, Verdict.BLAST),
        ({"services": 10, "failing": 5}, Verdict.HEAL),
        ({"services": 2, "failing": 2}, Verdict.HEAL),
        ({"upstream_down": ("db",)}, Verdict.WAIT),
        ({"healing": MAX_AT_ONCE}, Verdict.WAIT),
        ({"limits": Limits(needs_approval=True)}, Verdict.ASK),
        ({"limits": Limits(needs_approval=True), "is_approved": True}, Verdict.HEAL),
    ],
)
def test_what_speaks_against_it(around: dict[str, Any], expected: Verdict) -> None:
    assert verdict(**around) is expected


def test_waits_grow_from_ten_seconds_to_five_minutes() -> None:
    waits = [wait_after(tries).total_seconds() for tries in range(8)]

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert wait_after(10_000) == LONGEST_WAIT
    assert verdict(failed(0), at=9.9) is Verdict.WAIT
    assert verdict(failed(0), at=10) is Verdict.HEAL


def test_after_five_attempts_in_an_hour_somebody_has_to_look() -> None:
    attempts = failed(0, 10, 30, 70, 150)

    assert verdict(attempts, at=1_000) is Verdict.GIVE_UP
    assert verdict(attempts, at=3_600) is Verdict.HEAL


def test_what_was_given_up_stays_so() -> None:
    assert verdict(at=10_000, gave_up=True) is Verdict.GIVE_UP


def test_one_attempt_at_a_time() -> None:
    assert verdict([Attempt(NOON, Outcome.PENDING)], at=1_000) is Verdict.WAIT


def test_ten_minutes_of_health_forget_what_was_tried() -> None:
    assert not forgotten(failed(0), NOON, NOON + timedelta(seconds=599))
    assert forgotten(failed(0), NOON, NOON + timedelta(seconds=600))
    assert not forgotten(failed(0), None, NOON + timedelta(days=1))


arounds = st.builds(
    Around,
    services=st.integers(1, 40),
    failing=st.integers(0, 40),
    elsewhere=st.sampled_from([False, False, False, True]),
    healing=st.integers(0, 6),
    upstream_down=st.sampled_from([(), ("db",)]),
    is_paused=st.booleans(),
    maintenance=st.sampled_from([None, "disks"]),
    is_approved=st.booleans(),
    gave_up=st.sampled_from([False, False, False, True]),
)
limits_of = st.builds(
    Limits,
    attempts=st.integers(1, 6),
    window=st.integers(30, 4_000).map(lambda s: timedelta(seconds=s)),
    needs_approval=st.booleans(),
)


@given(st.lists(st.tuples(st.integers(1, 400), arounds), max_size=60), limits_of)
def test_whatever_happens_it_does_no_harm(looks: list[tuple[int, Around]], limits: Limits) -> None:
    """A service that no attempt ever helps, looked at now and then, as everything around it changes."""
    now, attempts = NOON, list[Attempt]()
    for seconds, around in looks:
        now += timedelta(seconds=seconds)
        decision = decide(DOWN, attempts, limits, around, now)
        assert decision.because
        if decision.verdict is not Verdict.HEAL:
            continue
        # Never more than the limit in any window.
        assert sum(1 for a in attempts if now - a.at < limits.window) < limits.attempts
        assert not around.is_paused
        assert not around.gave_up
        assert not around.maintenance
        assert not around.upstream_down
        assert around.healing < MAX_AT_ONCE
        assert around.is_approved or not limits.needs_approval
        assert not around.elsewhere
        assert around.failing < BLAST_MINIMUM or around.failing <= BLAST_SHARE * around.services
        if attempts:
            assert now - attempts[-1].at >= wait_after(len(attempts))
        attempts.append(Attempt(now, Outcome.FAILED))


@given(arounds, limits_of)
def test_the_same_question_has_the_same_answer(around: Around, limits: Limits) -> None:
    attempts = failed(0, 10)
    first = decide(DOWN, attempts, limits, around, NOON + timedelta(seconds=15))

    assert first == decide(DOWN, attempts, limits, replace(around), NOON + timedelta(seconds=15))
