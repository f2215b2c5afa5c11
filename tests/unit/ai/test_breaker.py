"""When a provider is left alone: the rules, and what holds however calls come and go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.ai.breaker import MAX_RETRY_AFTER, Breaker, State, half, open_until, should_open
from aetherlink.ai.descriptor import BreakerPolicy
from aetherlink.ai.model import COUNTED, TELLING, Trouble

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = BreakerPolicy()


def counted(calls: int, failures: int, in_a_row: int) -> Breaker:
    now = half(NOON, POLICY)
    return Breaker("claude", {now: calls}, {now: failures}, in_a_row)


@pytest.mark.parametrize(
    ("calls", "failures", "in_a_row", "opens"),
    [
        (4, 4, 4, False),
        (5, 5, 5, True),
        (100, 5, 5, True),
        (100, 49, 4, False),
        (100, 50, 1, True),
        (4, 2, 1, False),
    ],
)
def test_it_opens_at_a_rate_or_after_some_in_a_row(
    calls: int, failures: int, in_a_row: int, *, opens: bool
) -> None:
    breaker = counted(calls, failures, in_a_row)
    assert should_open(breaker, Trouble.SERVER_ERROR, NOON, POLICY) is opens


@pytest.mark.parametrize("trouble", sorted(TELLING))
def test_one_that_tells_is_enough(trouble: Trouble) -> None:
    assert should_open(counted(1, 1, 1), trouble, NOON, POLICY)


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - COUNTED))
def test_what_says_nothing_of_the_provider_opens_nothing(trouble: Trouble) -> None:
    assert not should_open(counted(100, 100, 100), trouble, NOON, POLICY)


def test_what_is_older_than_the_window_counts_no_more() -> None:
    now = half(NOON, POLICY)
    old = Breaker("claude", {now - 2: 100, now: 5}, {now - 2: 100, now: 1}, 1)
    assert not should_open(old, Trouble.TIMEOUT, NOON, POLICY)


@given(st.integers(0, 10_000), st.none() | st.integers(0, 10**9))
def test_an_opening_is_longer_each_time_and_never_endless(openings: int, asked: int | None) -> None:
    until = open_until(openings, asked, NOON, POLICY) - NOON
    least = timedelta(seconds=POLICY.open_seconds)
    most = max(timedelta(seconds=POLICY.max_open_seconds), MAX_RETRY_AFTER)
    assert least <= until <= most
    assert until >= min(timedelta(seconds=asked or 0), MAX_RETRY_AFTER)
    assert until <= open_until(openings + 1, asked, NOON, POLICY) - NOON


@given(st.integers(0, 600), st.integers(0, 600), st.integers(-600, 600))
def test_a_state_and_what_may_be_done_in_it_go_together(opens: int, probes: int, at: int) -> None:
    breaker = Breaker(
        "claude",
        open_until=NOON + timedelta(seconds=opens),
        probing_until=NOON + timedelta(seconds=probes),
    )
    now = NOON + timedelta(seconds=at)
    if breaker.may_be_probed(now):
        assert breaker.state(now) is State.HALF_OPEN
        assert breaker.retry_at(now) is None
    else:
        later = breaker.retry_at(now)
        assert later is not None
        assert later > now
        assert breaker.may_be_probed(later)
