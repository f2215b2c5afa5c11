"""Monitors (ingest/monitor.py): what a ping and what silence means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.ingest.monitor import (
    Monitor,
    MonitorDraft,
    State,
    Word,
    changed,
    id_of,
    made,
    outcome_of,
    overdue,
    pinged,
)
from aetherlink.kernel.errors import NotFoundError
from aetherlink.kernel.ids import tenant_bound
from aetherlink.kernel.tenancy import TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
KEY = tenant_bound(ACME, "0f" * 16)


def a_monitor(**given: Any) -> Monitor:
    draft = MonitorDraft(**{"name": "backup", "period_seconds": 60, "grace_seconds": 10, **given})
    return made(draft, KEY, ACME, NOON)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_silence_for_its_period_and_its_grace_alerts_once() -> None:
    monitor, _ = pinged(a_monitor(), Word.SUCCESS, at(0))

    assert overdue(monitor, at(69.9)) == (monitor, None)
    down, signal = overdue(monitor, at(70))
    assert (down.state, down.due) == (State.DOWN, None)
    assert signal
    assert (signal.action, signal.name) == ("firing", "backup")
    assert "nothing heard since 2026-11-23T12:00:00" in signal.reason
    assert overdue(down, at(1_000)) == (down, None)


def test_one_that_was_never_called_alerts_too() -> None:
    _, signal = overdue(a_monitor(), at(70))

    assert signal
    assert signal.reason == "it has never reported in"


def test_its_next_success_ends_the_alert() -> None:
    down, begun = overdue(a_monitor(), at(70))
    up, over = pinged(down, Word.SUCCESS, at(80))

    assert begun
    assert over
    assert (begun.key, over.action) == (over.key, "resolved")
    assert (up.state, up.due) == (State.UP, at(150))


def test_a_failure_alerts_at_once() -> None:
    down, signal = pinged(a_monitor(), Word.FAIL, at(1), why="it ended with exit code 3")

    assert (down.state, down.reason) == (State.DOWN, "it ended with exit code 3")
    assert signal
    assert signal.action == "firing"


def test_a_job_that_started_has_its_grace_to_end() -> None:
    started, signal = pinged(a_monitor(), Word.START, at(50))
    assert (started.state, started.due, signal) == (State.STARTED, at(60), None)

    ended, _ = pinged(started, Word.SUCCESS, at(53.25))
    assert (ended.state, ended.last_ms, ended.due) == (State.UP, 3_250, at(123.25))
    _, signal = overdue(started, at(60))
    assert signal
    assert "did not end in time" in signal.reason


def test_that_it_tries_again_is_no_proof_that_it_is_well() -> None:
    down, _ = pinged(a_monitor(), Word.FAIL, at(1))
    again, signal = pinged(down, Word.START, at(2))

    assert (again.state, signal) == (State.DOWN, None)


def test_one_that_is_off_is_never_missed_and_has_its_whole_time_when_it_is_on_again() -> None:
    off = a_monitor(enabled=False)
    assert overdue(off, at(10_000)) == (off, None)

    draft = MonitorDraft(name="backup", period_seconds=60, grace_seconds=10)
    assert changed(off, draft, at(10_000)).due == at(10_070)


def test_its_id_does_not_tell_its_key() -> None:
    monitor = a_monitor()

    assert id_of(KEY) == monitor.id != KEY
    assert id_of(monitor.id) != monitor.id
    assert id_of("nonsense") is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", (Word.SUCCESS, "")),
        ("0", (Word.SUCCESS, "")),
        ("start", (Word.START, "")),
        ("fail", (Word.FAIL, "it reported a failure: no space left")),
        ("1", (Word.FAIL, "it ended with exit code 1: no space left")),
        ("255", (Word.FAIL, "it ended with exit code 255: no space left")),
    ],
)
def test_the_words_of_a_ping(word: str, said: tuple[Word, str]) -> None:
    assert outcome_of(word, " no space left\n") == said


@pytest.mark.parametrize("word", ["256", "-1", "01", "+1", "Start", "log", "¹", "1" * 50])
def test_another_word_is_an_error_that_names_the_right_ones(word: str) -> None:
    with pytest.raises(NotFoundError, match="/start, /fail or an exit code from 0 to 255"):
        outcome_of(word, "")


pings = st.lists(st.tuples(st.integers(0, 200), st.sampled_from([*Word, None])), max_size=20)


@given(pings)
def test_alerts_and_their_ends_take_turns(pings: list[tuple[int, Word | None]]) -> None:
    """Whatever is pinged and missed: down exactly while an alert is open."""
    monitor, now, is_open = a_monitor(), NOON, False
    for seconds, word in pings:
        now += timedelta(seconds=seconds)
        monitor, missed = overdue(monitor, now)
        signals = [missed]
        if word:
            monitor, said = pinged(monitor, word, now)
            signals.append(said)
        for signal in signals:
            if signal and signal.action == "resolved":
                assert is_open
                is_open = False
            elif signal:
                is_open = True
        assert is_open == (monitor.state is State.DOWN)
        assert monitor.due is None or monitor.due > now or monitor.grace < timedelta(0)
