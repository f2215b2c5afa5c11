"""Hysteresis (heal/health.py): one lost probe is no outage, and one good one no recovery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aetherlink.heal.health import Change, Health, Probe, State, Thresholds, observed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def told(*looks: bool, thresholds: Thresholds | None = None) -> tuple[Health, list[Change | None]]:
    health, changes = Health(), list[Change | None]()
    for number, is_well in enumerate(looks):
        probe = Probe(NOON + timedelta(seconds=number), is_well, ms=1)
        health, change = observed(health, probe, thresholds or Thresholds())
        changes.append(change)
    return health, changes


def test_three_failures_in_a_row_are_one_outage() -> None:
    health, changes = told(True, False, False, True, False, False, False, False)

    assert changes == [None, None, None, None, None, None, "failed", None]
    assert (health.state, health.since) == (State.DOWN, NOON + timedelta(seconds=6))


def test_two_good_ones_in_a_row_are_its_end() -> None:
    _, changes = told(False, False, False, True, False, True, True, True)

    assert changes == [None, None, "failed", None, None, None, "recovered", None]


def test_one_that_wavers_is_worth_another_look() -> None:
    thresholds = Thresholds()

    assert told(True, False)[0].is_wavering(thresholds)
    assert not told(False, False, False)[0].is_wavering(thresholds)
    assert told(False, False, False, True)[0].is_wavering(thresholds)
    assert not told(True)[0].is_wavering(thresholds)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_failures_and_recoveries_take_turns(looks: list[bool], bad: int, good: int) -> None:
    """And each comes after as many looks in a row as the thresholds say."""
    _, changes = told(*looks, thresholds=Thresholds(bad, good))
    said = [(number, change) for number, change in enumerate(changes) if change]

    assert [change for _, change in said] == ["failed", "recovered"] * (len(said) // 2) + [
        "failed"
    ] * (len(said) % 2)
    for number, change in said:
        needed = bad if change == "failed" else good
        assert looks[number + 1 - needed : number + 1] == [change == "recovered"] * needed
