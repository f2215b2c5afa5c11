"""When a rule's condition holds, computed from what was counted. Pure.

A condition is a fact about an instant: something about the matching events in the window that ends
there. It therefore holds over spans of time which follow from the events alone, whoever looks and
whenever. Counting to a threshold needs the newest hits only (`holding`); everything else looks at a
whole window (`spans_of`), from hits themselves (absence) or from steps, which are sums over a sixtieth
of the window: so that a judgement reads a bounded number of items however many events there were.

A step counts when it has ended. An average of half a step would be another number a moment later,
and whoever looked then would have seen an alert that nobody can explain.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# The end of a span that lasts until something arrives.
FAR = datetime.max.replace(tzinfo=UTC)
_STEPS_PER_WINDOW = 60
# A second, shorter window (burn rates) must not become too coarse for it.
_STEPS_PER_SHORT_WINDOW = 10


class Measure(StrEnum):
    COUNT = "count"
    DISTINCT = "distinct"
    SUM = "sum"
    AVERAGE = "avg"
    RATIO = "ratio"
    ABSENCE = "absence"


@dataclass(frozen=True)
class Span:
    """The condition holds from `start` until before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Part:
    """What one event adds: to the rule's own events (`n`), to the total that a ratio divides by, to a
    sum, and a value to the distinct ones."""

    n: int = 0
    total: int = 0
    sum: float = 0.0
    values: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Point:
    """What was counted at an instant: of one event, or of all in the step that ends there."""

    at: datetime
    part: Part = Part(n=1)


def step_of(window: timedelta, short_window: timedelta | None = None) -> timedelta:
    """How long a step is, in whole seconds: a sixtieth of the window, at least a second."""
    seconds = window.total_seconds() / _STEPS_PER_WINDOW
    if short_window:
        seconds = min(seconds, short_window.total_seconds() / _STEPS_PER_SHORT_WINDOW)
    return timedelta(seconds=max(1, math.ceil(seconds)))


def step_end(instant: datetime, step: timedelta) -> datetime:
    """When the step ends that `instant` is in; steps are counted from the epoch."""
    width = int(step.total_seconds())
    return datetime.fromtimestamp((int(instant.timestamp()) // width + 1) * width, UTC)


def in_steps(points: Iterable[Point], step: timedelta) -> list[Point]:
    """Points of single events, added up by step, in order."""
    sums: dict[datetime, Part] = {}
    for point in points:
        at = step_end(point.at, step)
        sums[at] = added(sums[at], point.part) if at in sums else point.part
    return [Point(at, sums[at]) for at in sorted(sums)]


def added(one: Part, other: Part) -> Part:
    return Part(
        one.n + other.n, one.total + other.total, one.sum + other.sum, one.values | other.values
    )


def holding(hits: Iterable[datetime], threshold: int, window: timedelta) -> list[Span]:
    """The spans over which a window holds at least `threshold` of `hits`, in order.

    It begins to hold at a hit that is the threshold-th within one window's length, and ends when the
    oldest of those leaves the window.
    """
    times = sorted(hits)
    spans: list[Span] = []
    for first, last in zip(times, times[threshold - 1 :], strict=False):
        if last - first >= window:
            continue
        end = first + window
        if spans and last <= spans[-1].end:
            spans[-1] = replace(spans[-1], end=max(end, spans[-1].end))
        else:
            spans.append(Span(last, end))
    return spans


def spans_of(
    points: Sequence[Point],
    window: timedelta,
    holds: Callable[[Part], bool | None],
    *,
    since: datetime,
    before: bool = False,
) -> list[Span]:
    """The spans, from `since` on, over which `holds` is true of the window (t - window, t].

    `holds` answers None where it cannot tell; then it stays as it was, and `before` is how it was
    before `since`. The last span ends at FAR if nothing but a new event can end it.
    """
    ordered = sorted(points, key=lambda point: point.at)
    leaving = [point.at + window for point in ordered]
    changes = sorted({since, *(p.at for p in ordered), *leaving})
    spans: list[Span] = []
    entered = left = 0
    running, values = Part(), Counter[str]()
    opened: datetime | None = None
    is_on = before
    for instant in changes:
        while entered < len(ordered) and ordered[entered].at <= instant:
            running = _plus(running, ordered[entered].part, values, 1)
            entered += 1
        while left < len(ordered) and leaving[left] <= instant:
            running = _plus(running, ordered[left].part, values, -1)
            left += 1
        if instant < since:
            continue
        answer = holds(replace(running, values=frozenset(values)))
        is_on = is_on if answer is None else answer
        if is_on and opened is None:
            opened = instant
        elif not is_on and opened is not None:
            spans.append(Span(opened, instant))
            opened = None
    if opened is not None:
        spans.append(Span(opened, FAR))
    return spans


def both(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The spans over which one of `some` and one of `others` hold."""
    met = (Span(max(a.start, b.start), min(a.end, b.end)) for a in some for b in others)
    return sorted((s for s in met if s.start < s.end), key=lambda span: span.start)


def value_of(measure: Measure, part: Part) -> float | None:
    """What a measure makes of a window; None where there is nothing to divide by."""
    if measure is Measure.DISTINCT:
        return len(part.values)
    if measure is Measure.SUM:
        return part.sum
    if measure is Measure.AVERAGE:
        return part.sum / part.n if part.n else None
    if measure is Measure.RATIO:
        return part.n / part.total if part.total else None
    return part.n


def is_empty(measure: Measure, part: Part) -> bool:
    return part.total == 0 if measure is Measure.RATIO else part.n == 0


def _plus(running: Part, part: Part, values: Counter[str], sign: int) -> Part:
    for value in part.values:
        values[value] += sign
        if not values[value]:
            del values[value]
    n, total = running.n + sign * part.n, running.total + sign * part.total
    # Of nothing the sum is nothing: what floats leave over would be neither.
    return Part(n, total, running.sum + sign * part.sum if n else 0.0)
