"""A rule over a stretch of the past: the episodes that it would have made. Pure.

The same facts, spans and machine as the live path, over all events at once: who looks when makes no
difference to what `advance` says.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aetherlink.alerts.condition import (
    Measure,
    Part,
    Point,
    Span,
    both,
    holding,
    in_steps,
    spans_of,
    value_of,
)
from aetherlink.alerts.condition import added as plus
from aetherlink.alerts.machine import Transition, Watch, advance, settled
from aetherlink.alerts.model import Group, Rule, fingerprint, group_of, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aetherlink.events.model import Event


@dataclass(frozen=True)
class Run:
    """One episode that would have been: `resolved_at` None if it was open at the end."""

    group: Group
    raised_at: datetime
    resolved_at: datetime | None
    matched: float


@dataclass
class Tape:
    """What a rule counts, as it is read; any order will do."""

    rule: Rule
    counted: int
    groups: dict[str, tuple[Group, list[Point]]]

    @classmethod
    def blank(cls, rule: Rule) -> Tape:
        return cls(rule, 0, {})

    def extend(self, group: Group, points: Iterable[Point]) -> None:
        """Add what was counted elsewhere."""
        self.groups.setdefault(fingerprint(group), (group, []))[1].extend(points)

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            part = part_of(self.rule, event)
            if part is None:
                continue
            group = group_of(self.rule, event)
            _, points = self.groups.setdefault(fingerprint(group), (group, []))
            points.append(Point(event.counted_at, part))
            self.counted += 1


def play(tape: Tape, *, since: datetime, until: datetime) -> list[Run]:
    """The episodes that the rule would have raised in [since, until), by time.

    Events from before `since` should be on the tape for a window's length, so that the first windows
    are whole. A rule about silence knows nothing before `since`.
    """
    rule = tape.rule
    groups = dict(tape.groups)
    if rule.holds_when_empty and not rule.group_by:
        groups.setdefault(fingerprint({}), ({}, []))
    runs: list[Run] = []
    for group, points in groups.values():
        runs += _runs(rule, group, points, since=since, until=until)
    return sorted(runs, key=lambda run: (run.raised_at, fingerprint(run.group)))


def transitions(
    rule: Rule, group: Group, points: Sequence[Point], *, since: datetime, until: datetime
) -> list[Transition]:
    """What the machine says of one group, up to `until`."""
    seen = in_steps(points, rule.step) if rule.step else sorted(points, key=lambda p: p.at)
    watch = Watch(group=group, settled_until=since)
    if rule.holds_when_empty:
        first = min((point.at for point in points), default=since)
        born = max(since, first) if rule.group_by else since
        watch = Watch(group=group, settled_until=born + rule.window)
    spans = condition_spans(rule, seen, since)
    _, made = advance(rule, watch, [s for s in spans if s.start < until], until)
    return settled(made)


def condition_spans(rule: Rule, points: Sequence[Point], since: datetime) -> list[Span]:
    """When the condition holds, from all that was counted."""
    if rule.measure is Measure.COUNT and rule.step is None:
        return holding((p.at for p in points), int(rule.threshold), rule.window)
    # From the first point on, since a window that begins before `since` has it too.
    start = min([since, *(point.at for point in points[:1])])
    spans = spans_of(points, rule.window, rule.holds, since=start)
    if rule.confirm_window:
        spans = both(spans, spans_of(points, rule.confirm_window, rule.holds, since=start))
    return spans


def _runs(
    rule: Rule, group: Group, points: Sequence[Point], *, since: datetime, until: datetime
) -> list[Run]:
    made = transitions(rule, group, points, since=since, until=until)
    seen = in_steps(points, rule.step) if rule.step else sorted(points, key=lambda p: p.at)
    ends = {t.episode_id: t.at for t in made if t.kind == "resolved"}
    return [
        Run(group, t.at, ends.get(t.episode_id), _matched(rule, seen, t.at))
        for t in made
        if t.kind == "raised" and since <= t.at < until
    ]


def _matched(rule: Rule, points: Sequence[Point], at: datetime) -> float:
    first = bisect_right(points, at - rule.window, key=lambda point: point.at)
    last = bisect_right(points, at, key=lambda point: point.at)
    part = Part()
    for point in points[first:last]:
        part = plus(part, point.part)
    return value_of(rule.measure, part) or 0
