"""Silences: what their matchers fit, when their schedules cover, and when they give notice."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo, reset_tzpath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aetherlink.alerts.episode import Episode, State
from aetherlink.alerts.silence import (
    Matcher,
    Schedule,
    Silence,
    SilenceDraft,
    facts_of,
    first_cover,
)
from aetherlink.events.model import Severity
from aetherlink.kernel.tenancy import TenantId
from tests.unit.alerts.world import NOON, a_rule, at

ACME = TenantId("acme")
HOUR = timedelta(hours=1)


def an_episode(**given: Any) -> Episode:
    rule = a_rule(name="checkout is slow", source="checkout")
    facts: dict[str, Any] = {
        "id": "e1", "tenant_id": ACME, "rule_id": rule.id, "rule_name": rule.name,
        "state": State.FIRING, "severity": Severity.ERROR, "group": {}, "labels": {},
        "annotations": {}, "source": rule.source, "event_type": None, "matched": 3,
        "threshold": 3, "window_seconds": 60, "started_at": NOON, "raised_at": NOON,
    }  # fmt: skip
    return Episode.model_validate({**facts, **given})


def a_silence(*matchers: dict[str, str], **given: Any) -> Silence:
    settings = {
        "id": "s1", "tenant_id": ACME, "reason": "maintenance", "starts_at": NOON,
        "ends_at": NOON + HOUR, "schedule": None, "notify_before_seconds": 900,
        "created_by": "ada", "created_at": NOON,
    }  # fmt: skip
    wanted = list(matchers) or [{"name": "severity", "value": "error"}]
    return Silence.model_validate({**settings, "matchers": wanted, **given})


def a_matcher(op: str, value: str) -> Matcher:
    return Matcher.model_validate({"name": "rule_name", "op": op, "value": value})


# ---- matchers


@pytest.mark.parametrize(
    ("op", "value", "fits"),
    [
        ("=", "checkout", True),
        ("=", "check", False),
        ("=", "check*", False),
        ("!=", "checkout", False),
        ("!=", "other", True),
        ("like", "check*", True),
        ("like", "*out", True),
        ("like", "*eck*", True),
        ("like", "c*k*t", True),
        ("like", "eck", False),
        ("like", "check", False),
        ("like", "checkout*checkout", False),
        ("like", "CHECK*", False),
        ("like", "c?eckout", False),
        ("like", "*", True),
        ("like", "**", True),
        ("not like", "check*", False),
        ("not like", "pay*", True),
    ],
)
def test_a_matcher_compares_the_whole_value(op: str, value: str, *, fits: bool) -> None:
    assert a_matcher(op, value).fits({"rule_name": "checkout"}) is fits


def test_a_piece_is_not_used_twice() -> None:
    assert not a_matcher("like", "aba*aba").fits({"rule_name": "ababa"})
    assert a_matcher("like", "aba*ba").fits({"rule_name": "ababa"})


def test_what_an_alert_does_not_have_is_empty() -> None:
    facts = facts_of(an_episode())

    assert Matcher(name="label.team", op="!=", value="ops").fits(facts)
    assert not Matcher(name="label.team", value="ops").fits(facts)
    assert Matcher(name="label.team", value="").fits(facts)


def _as_expression(pattern: str) -> str:
    return ".*".join(re.escape(piece) for piece in pattern.split("*"))


short = st.text(alphabet="ab.\n", max_size=12)


@given(short, st.text(alphabet="ab.\n*", max_size=10))
def test_a_pattern_means_what_a_regular_expression_would(found: str, pattern: str) -> None:
    expected = re.fullmatch(_as_expression(pattern), found, re.DOTALL) is not None

    assert a_matcher("like", pattern).fits({"rule_name": found}) is expected
    assert a_matcher("not like", pattern).fits({"rule_name": found}) is not expected


@given(st.lists(short, min_size=2, max_size=5), st.lists(short, max_size=4))
def test_a_pattern_fits_whatever_fills_its_gaps(pieces: list[str], fill: list[str]) -> None:
    filling = [*fill, *[""] * len(pieces)]
    text = "".join(piece + gap for piece, gap in zip(pieces, filling, strict=False))

    assert a_matcher("like", "*".join(pieces) + "*").fits({"rule_name": text})


def test_no_pattern_is_slow() -> None:
    found = {"rule_name": "a" * 256}
    started = process_time()

    # A regular expression would try every way to share the letters out.
    assert not a_matcher("like", "a*" * 100 + "b").fits(found)
    assert a_matcher("like", "a*" * 100).fits(found)
    assert not a_matcher("like", "*a" * 127 + "b").fits(found)
    assert process_time() - started < 0.1


def test_a_pattern_has_256_characters_at_most() -> None:
    with pytest.raises(ValidationError):
        a_matcher("like", "*" * 257)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rule_name", "checkout is slow"),
        ("rule_id", "rule-1"),
        ("severity", "error"),
        ("tenant_id", "acme"),
        ("source", "checkout"),
        ("service", "db"),
        ("label.team", "ops"),
        ("payload.service", "db"),
    ],
)
def test_a_matcher_may_ask_for(name: str, value: str) -> None:
    episode = an_episode(labels={"team": "ops"}, group={"payload.service": "db"})

    assert a_silence({"name": name, "value": value}).covers(episode)
    assert not a_silence({"name": name, "value": "else"}).covers(episode)


def test_every_matcher_has_to_fit() -> None:
    silence = a_silence(
        {"name": "severity", "value": "error"}, {"name": "source", "value": "elsewhere"}
    )

    assert not silence.covers(an_episode())


def test_a_group_cannot_pass_itself_off_as_another_fact() -> None:
    episode = an_episode(group={"tenant_id": "globex", "payload.rule_name": "x"})

    assert facts_of(episode)["rule_name"] == "checkout is slow"
    assert facts_of(episode)["tenant_id"] == "globex"


@pytest.mark.parametrize(
    ("given", "service"),
    [
        ({"labels": {"service": "a"}, "group": {"payload.service": "b", "source": "c"}}, "a"),
        ({"group": {"payload.service": "b", "source": "c"}}, "b"),
        ({"group": {"source": "c"}}, "c"),
        ({}, "checkout"),
        ({"source": None}, ""),
    ],
)
def test_the_service_of_an_alert_is_the_nearest_name(given: dict[str, Any], service: str) -> None:
    assert an_episode(**given).service == service


# ---- time


def zurich(text: str) -> datetime:
    """Swiss time with its offset, so that each instant of a changed clock can be named."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("when", "covers"),
    [
        ("2026-11-27T21:59:59+01:00", False),  # a Friday
        ("2026-11-27T22:00:00+01:00", True),
        ("2026-11-28T05:59:59+01:00", True),
        ("2026-11-28T06:00:00+01:00", False),
        ("2026-11-28T22:00:00+01:00", False),  # Saturday's own night is none of it
        ("2026-11-27T05:00:00+01:00", False),  # Thursday's neither
    ],
)
def test_a_night_belongs_to_the_day_it_begins_on(when: str, *, covers: bool) -> None:
    night = Schedule(days=["fri"], start="22:00", end="06:00", timezone="Europe/Zurich")

    assert night.covers(zurich(when)) is covers


@pytest.mark.parametrize(
    ("when", "covers"),
    [
        ("2026-11-27T09:00:00+01:00", True),
        ("2026-11-27T08:59:59+01:00", False),
        ("2026-11-27T17:00:00+01:00", False),
        ("2026-11-28T09:00:00+01:00", False),
    ],
)
def test_a_schedule_within_a_day_ends_where_it_says(when: str, *, covers: bool) -> None:
    work = Schedule(days=["fri"], start="09:00", end="17:00", timezone="Europe/Zurich")

    assert work.covers(zurich(when)) is covers


def test_an_end_that_is_the_start_is_a_whole_day() -> None:
    monday = Schedule(days=["mon"], start="08:00", end="08:00")
    covered = [
        hour
        for hour in range(48)
        if monday.covers(datetime(2026, 11, 23, tzinfo=UTC) + hour * HOUR)
    ]

    assert covered == list(range(8, 32))


@pytest.mark.parametrize(
    ("start", "covered"),
    [
        # At 02:00 the clock is put on to 03:00: the night has an hour less.
        (datetime(2026, 3, 28, 21, tzinfo=UTC), 7),
        # At 03:00 it is put back to 02:00: an hour more.
        (datetime(2026, 10, 24, 20, tzinfo=UTC), 9),
        (datetime(2026, 11, 23, 21, tzinfo=UTC), 8),
    ],
)
def test_a_schedule_goes_by_the_clock_on_the_wall(start: datetime, covered: int) -> None:
    night = Schedule(start="22:00", end="06:00", timezone="Europe/Zurich")
    hours = [hour for hour in range(-2, 14) if night.covers(start + hour * HOUR)]

    assert hours == list(range(covered))


def test_the_hour_that_comes_twice_is_covered_twice_and_the_one_left_out_never() -> None:
    night = Schedule(start="02:00", end="03:00", timezone="Europe/Zurich")
    half = timedelta(minutes=30)

    autumn = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert [night.covers(autumn + n * half) for n in range(-2, 4)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    spring = datetime(2026, 3, 29, tzinfo=UTC)
    assert not any(night.covers(spring + n * half) for n in range(8))


def test_a_silence_covers_from_its_start_until_before_its_end() -> None:
    silence = a_silence()

    assert [silence.state(at(s)) for s in (-1, 0, 3599, 3600)] == [
        "pending", "active", "active", "expired",
    ]  # fmt: skip


def test_between_its_times_a_silence_is_paused_and_mutes_nothing() -> None:
    silence = a_silence(schedule={"start": "12:30", "end": "12:45"})

    assert [silence.state(at(60 * m)) for m in (0, 30, 45)] == ["paused", "active", "paused"]
    assert first_cover([silence], an_episode(), NOON) is None


def test_of_several_silences_the_one_that_lasts_longest_is_named() -> None:
    short, long = a_silence(id="short"), a_silence(id="long", ends_at=NOON + 2 * HOUR)
    later = a_silence(id="later", starts_at=NOON + HOUR, ends_at=NOON + 9 * HOUR)

    found = first_cover([short, later, long], an_episode(), NOON)

    assert found is not None
    assert found.id == "long"


# ---- notice


def test_notice_is_given_before_the_end_once() -> None:
    silence = a_silence(notify_before_seconds=600)

    assert [silence.wants_notice(at(s)) for s in (2999, 3000, 3599, 3600)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not silence.model_copy(update={"noticed_at": at(3000)}).wants_notice(at(3001))


def test_zero_seconds_before_is_no_notice() -> None:
    assert not a_silence(notify_before_seconds=0).wants_notice(at(3599))


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be after starts_at"):
        SilenceDraft.model_validate(
            {
                "matchers": [{"name": "severity", "value": "info"}],
                "reason": "r",
                "starts_at": "2026-11-23T12:00:00Z",
                "ends_at": "2026-11-23T12:00:00Z",
            }
        )


def test_time_zones_are_known_where_the_system_has_none() -> None:
    reset_tzpath(to=[])
    try:
        assert ZoneInfo.no_cache("Europe/Zurich").key == "Europe/Zurich"
    finally:
        reset_tzpath()
