"""Counting events by the minute, the hour and the day of their event time. Pure.

A count's name is `<severity>|<event type>`. Every event is counted in one bucket of each level, so
that any span of whole minutes is the sum of a few buckets: minutes to the end of the first hour,
hours to the end of the first day, days from there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aetherlink.events.model import Event

Bucket = NewType("Bucket", str)

_WIDTH = {"minute": len("2026-11-23T08:30"), "hour": len("2026-11-23T08"), "day": 10}


class Level(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


def bucket(level: Level, instant: datetime) -> Bucket:
    """The bucket of a level that an instant falls into: its own beginning, as text."""
    return Bucket(to_text(instant)[: _WIDTH[level]])


def begins(of: Bucket) -> datetime:
    """When a bucket of any level begins."""
    return datetime.fromisoformat(f"{of}{'0000-01-01T00:00'[len(of) :]}+00:00")


def name_of(event: Event) -> str:
    return f"{event.severity}|{event.event_type}"


def count(events: Iterable[Event]) -> Counter[str]:
    return Counter(name_of(event) for event in events)


@dataclass(frozen=True)
class Segment:
    """Consecutive buckets of one level, both ends included."""

    level: Level
    first: Bucket
    last: Bucket


def segments(since: datetime, until: datetime) -> list[Segment]:
    """The buckets that sum up to everything from the minute of `since` to the day of `until`."""
    minute = since.replace(second=0, microsecond=0)
    hour = _ceiling(minute, timedelta(hours=1))
    day = _ceiling(hour, timedelta(days=1))
    found = []
    for level, start, end in (
        (Level.MINUTE, minute, hour),
        (Level.HOUR, hour, day),
        (Level.DAY, day, until + timedelta(days=1)),
    ):
        if start < end:
            last = end - timedelta(microseconds=1) if level is not Level.DAY else until
            if start <= last:
                found.append(Segment(level, bucket(level, start), bucket(level, last)))
    return found


def _ceiling(instant: datetime, step: timedelta) -> datetime:
    """The first whole hour or day that does not begin before `instant`."""
    floor = instant.replace(minute=0)
    if step == timedelta(days=1):
        floor = floor.replace(hour=0)
    return floor if floor == instant else floor + step


def by_part(counts: Mapping[str, int], part: int) -> dict[str, int]:
    """Counts summed by severity (part 0) or by type (part 1), the largest first."""
    summed: Counter[str] = Counter()
    for name, number in counts.items():
        summed[name.split("|", 1)[part]] += number
    return {name: number for name, number in summed.most_common() if number}
