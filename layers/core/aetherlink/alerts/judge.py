"""Judging rules for groups: by the stream in about a second, by the sweep for time. Records it too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from aetherlink.alerts.condition import (
    FAR,
    Measure,
    Part,
    Point,
    Span,
    added,
    both,
    holding,
    spans_of,
    value_of,
)
from aetherlink.alerts.episode import Told, begun
from aetherlink.alerts.machine import (
    Transition,
    Watch,
    advance,
    alert_payload,
    next_due,
    retire,
    settled,
)
from aetherlink.alerts.model import (
    Group,
    Rule,
    RuleId,
    alert_tenant,
    fingerprint,
    group_of,
    part_of,
    read_by,
)
from aetherlink.events.model import Event, Filters, Severity, announce
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import SYSTEM, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

SOURCE = "aether-command-center"
_ATTEMPTS = 8
# A transaction takes 25 items on the emulators: the watch, and up to three for each transition.
_TRANSITIONS = 7
# Before an absence is believed, the newest events are looked at once more: the relay may be behind.
_NEWEST = 20


class Rules(Protocol):
    def put(self, rule: Rule) -> None: ...
    def get(self, owner: TenantId, rule_id: str) -> Rule | None: ...
    def delete(self, rule: Rule) -> bool: ...
    def of(self, owner: TenantId) -> list[Rule]: ...
    def all(self) -> list[Rule]: ...


class Watches(Protocol):
    def get(self, rule: Rule, group: Group) -> Watch: ...
    def of(self, rule: Rule) -> list[Watch]: ...
    def due(self, now: datetime) -> list[tuple[TenantId, RuleId, Watch]]: ...
    def commit(
        self,
        rule: Rule,
        earlier: Watch,
        watch: Watch,
        due: datetime | None,
        told: Sequence[Told],
    ) -> bool: ...
    def drop(
        self,
        owner: TenantId,
        rule_id: RuleId,
        watch: Watch,
        announcing: list[Event],
        at: datetime,
    ) -> None: ...


class Hits(Protocol):
    def add(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None: ...
    def add_missing(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None: ...
    def newest(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime, limit: int
    ) -> list[datetime]: ...
    def steps(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime
    ) -> list[Point]: ...


class Window(Protocol):
    """The stored events of a view."""

    def within(self, view: TenantId | None, filters: Filters, *, limit: int) -> list[Event]: ...


@dataclass(frozen=True)
class Known:
    """What the stored facts say of a rule and group: when its condition holds.

    `since` is from when on that is all there is; None if there may be more than was read.
    """

    spans: Sequence[Span]
    points: Sequence[Point]
    since: datetime | None = None

    def matched(self, rule: Rule, at: datetime) -> float:
        """The measure at an instant; of a count, what was read of it (the threshold and some)."""
        if self.since is None:
            return len(self.points)
        part = Part()
        for point in self.points:
            if at - rule.window < point.at <= at:
                part = added(part, point.part)
        return value_of(rule.measure, part) or 0


class Judge:
    """Decides for rules and groups, and records what that changes."""

    def __init__(
        self,
        rules: Rules,
        watches: Watches,
        hits: Hits,
        now: Callable[[], datetime],
        *,
        window: Window | None = None,
        alarm: Callable[[datetime], None] | None = None,
    ) -> None:
        self._rules = rules
        self._watches = watches
        self._hits = hits
        self._now = now
        self._window = window
        # Has the sweep run at a time, rather than at its next minute.
        self._alarm = alarm

    def observe(self, events: Sequence[Event]) -> None:
        """Count events that were just stored, and judge the rules and groups that they touch."""
        rules = {
            owner: [rule for rule in self._rules.of(owner) if rule.enabled]
            for owner in dict.fromkeys((*(event.tenant_id for event in events), SYSTEM))
        }
        # Global rules stand under `system`, and so would a rule of the tenant `system` itself.
        touched = [
            (rule, event, part)
            for event in events
            for rule in {r.id: r for r in (*rules[event.tenant_id], *rules[SYSTEM])}.values()
            if (part := part_of(rule, event))
        ]
        self.count(touched)

    def count(self, touched: Sequence[tuple[Rule, Event, Part]]) -> None:
        """Write hits and judge their groups. Nothing is counted twice."""
        groups: dict[tuple[str, str], tuple[Rule, Group, list[datetime]]] = {}
        hits: list[tuple[Rule, str, Event, Part]] = []
        for rule, event, part in touched:
            group = group_of(rule, event)
            key = fingerprint(group)
            groups.setdefault((rule.id, key), (rule, group, []))[2].append(event.counted_at)
            hits.append((rule, key, event, part))
        self._hits.add(hits)
        for rule, group, times in groups.values():
            self.judge(rule, group, first=min(times), last=max(times), fresh=len(times))

    def judge(
        self, rule: Rule, group: Group, *, first: datetime, last: datetime, fresh: int
    ) -> tuple[Watch, bool]:
        """Judge every window that ends at or after `first`, of whose events `fresh` are new.

        The watch as it then stands, and whether this call began an episode.
        """
        first = self._back(rule, group, first)
        known = self.known(rule, group, first=first, last=last, fresh=fresh)
        return self.move(rule, group, known, first=first)

    def _back(self, rule: Rule, group: Group, first: datetime) -> datetime:
        """From when on to look: while an alert was kept firing, silence, or the step that went on when
        an event came, may have made its condition hold once more, and nobody was there to see it."""
        if not rule.keep_firing_for_seconds or not (rule.holds_when_empty or rule.step):
            return first
        watch = self._watches.get(rule, group)
        return min(first, watch.span.end) if watch.raised_at and watch.span else first

    def known(
        self, rule: Rule, group: Group, *, first: datetime, last: datetime, fresh: int
    ) -> Known:
        """What is stored, read within bounds: the newest hits, or the steps of a window."""
        key, until = fingerprint(group), max(last, self._now())
        if rule.step:
            return self._known_by_steps(rule, group, first, until, rule.step)
        threshold = int(rule.threshold)
        limit = threshold + fresh
        times = sorted(
            self._hits.newest(rule, key, since=first - rule.window, until=until, limit=limit)
        )
        points = [Point(at) for at in times]
        if rule.measure is not Measure.ABSENCE:
            return Known(holding(times, threshold, rule.window), points)
        # Of what lies below the oldest that was read nothing is known, unless that was all.
        since = max(first, times[threshold - 1]) if len(times) == limit else first
        return Known(spans_of(points, rule.window, rule.holds, since=since), points, since)

    def _known_by_steps(
        self, rule: Rule, group: Group, first: datetime, until: datetime, step: timedelta
    ) -> Known:
        # The step that goes on now has an end yet to come: then it counts.
        points = self._hits.steps(
            rule, fingerprint(group), since=first - rule.window, until=until + step
        )
        since = first
        is_on = rule.no_data == "keep_last" and self._held_at(rule, group, first)
        spans = spans_of(points, rule.window, rule.holds, since=since, before=is_on)
        if rule.confirm_window:
            short = spans_of(points, rule.confirm_window, rule.holds, since=since, before=is_on)
            spans = both(spans, short)
        return Known(spans, points, since)

    def _held_at(self, rule: Rule, group: Group, at: datetime) -> bool:
        """Whether the condition held until then. (An open episode does not say so: it may be kept
        firing.)"""
        span = self._watches.get(rule, group).span
        return span is not None and span.start <= at < span.end

    def move(
        self, rule: Rule, group: Group, known: Known, *, first: datetime
    ) -> tuple[Watch, bool]:
        """Advance a watch and store what that makes, however many others do so at the same time."""
        is_new, attempts = False, _ATTEMPTS
        while attempts:
            stored, now = self._watches.get(rule, group), self._now()
            earlier = self._fresh(rule, stored, first)
            watch, transitions = advance(rule, earlier, known.spans, now, known_since=known.since)
            is_rest = len(transitions) > _TRANSITIONS
            if is_rest:
                # More than one transaction takes: first up to there, then on from there.
                watch, transitions = advance(
                    rule, earlier, known.spans, transitions[_TRANSITIONS - 1].at,
                    known_since=known.since,
                )  # fmt: skip
            if watch == earlier and (stored.version or watch.span is None):
                return watch, is_new
            if not transitions and _is_put_off(stored, watch, now):
                return watch, is_new
            kept = self._store(rule, stored, watch, settled(transitions), known)
            attempts -= 0 if kept else 1
            is_new = is_new or (kept is not None and any(t.kind == "raised" for t in transitions))
            if kept and not is_rest:
                return kept, is_new
        raise UnavailableError(f"Rule {rule.id} is being judged by too many at once; try again")

    def _fresh(self, rule: Rule, watch: Watch, first: datetime) -> Watch:
        """A watch that is new knows nothing from before: silence must last a window from now on."""
        if not rule.holds_when_empty or watch.version or watch.settled_until:
            return watch
        since = rule.enabled_since or rule.created_at
        born = since if not rule.group_by else max(since, first)
        return replace(watch, settled_until=born + rule.window)

    def sweep(self) -> int:
        """Move on the watches whose time has come; how many there were.

        One that fails holds up no other: the rest are moved, and its error is raised after them, so
        that the run is tried again and, failing to the end, is seen in the dead-letter queue.
        """
        due = self._watches.due(self._now())
        failures: list[Exception] = []
        for owner, rule_id, watch in due:
            try:
                self._move_on(owner, rule_id, watch)
            except Exception as error:  # noqa: BLE001 - one watch of many; raised below
                failures.append(error)
        if failures:
            raise failures[0]
        return len(due)

    def _move_on(self, owner: TenantId, rule_id: RuleId, watch: Watch) -> None:
        rule = self._rules.get(owner, rule_id)
        if rule is None:
            # A record in flight opened it while its rule was being deleted.
            orphaned = self._orphaned(owner, rule_id, watch)
            self._watches.drop(owner, rule_id, watch, orphaned, self._now())
        elif rule.enabled:
            now = self._now()
            if rule.holds_when_empty:
                self._catch_up(rule, watch.group, now)
            first = min(now, next_due(rule, watch) or now)
            self.judge(rule, watch.group, first=first, last=now, fresh=0)
        else:
            self.end(rule, "the rule was disabled")

    def _catch_up(self, rule: Rule, group: Group, now: datetime) -> None:
        """Count the newest events that the relay has not brought yet, before silence is believed."""
        if self._window is None:
            return
        filters = read_by(rule, since=now - rule.window)
        newest = self._window.within(rule.tenant_id, filters, limit=_NEWEST)
        parts = [(event, part_of(rule, event)) for event in newest]
        key = fingerprint(group)
        self._hits.add_missing(
            [(rule, key, e, p) for e, p in parts if p and fingerprint(group_of(rule, e)) == key]
        )

    def _orphaned(self, owner: TenantId, rule_id: RuleId, watch: Watch) -> list[Event]:
        if watch.episode_id is None or watch.raised_at is None:
            return []
        named = TenantId(watch.group.get("tenant_id", "") or owner)
        return [
            announce(
                "ops.alert.resolved",
                source=SOURCE,
                tenant_id=named,
                payload={
                    "rule_id": rule_id,
                    "episode_id": watch.episode_id,
                    "group": watch.group,
                    "reason": "the rule was deleted",
                },
                now=self._now(),
                event_id=f"{watch.episode_id}.resolved",
            )
        ]

    def end(self, rule: Rule, reason: str) -> None:
        """Resolve everything that the rule has open."""
        for seen in self._watches.of(rule):
            earlier = seen
            for _ in range(_ATTEMPTS):
                watch, transitions = retire(earlier, self._now(), reason)
                nothing = Known((), ())
                if earlier.span is None or self._store(rule, earlier, watch, transitions, nothing):
                    break
                earlier = self._watches.get(rule, seen.group)

    def _store(
        self,
        rule: Rule,
        earlier: Watch,
        watch: Watch,
        transitions: Sequence[Transition],
        known: Known,
    ) -> Watch | None:
        changed = replace(watch, version=earlier.version + 1)
        told = [self._tell(rule, changed, t, known.matched(rule, t.at)) for t in transitions]
        due = next_due(rule, changed)
        if not self._watches.commit(rule, earlier, changed, due, told):
            return None
        if self._alarm and due and changed.raised_at is None and due != next_due(rule, earlier):
            # What begins by time alone begins on time.
            self._alarm(due)
        return changed

    def _tell(self, rule: Rule, watch: Watch, transition: Transition, matched: float) -> Told:
        episode = begun(rule, watch.group, transition, matched)
        if not transition.is_told:
            return Told(transition, episode, None)
        event = announce(
            f"ops.alert.{transition.kind}",
            source=SOURCE,
            tenant_id=alert_tenant(rule, watch.group),
            payload=alert_payload(rule, watch, transition, matched),
            now=self._now(),
            event_id=f"{transition.episode_id}.{transition.kind}",
            severity=rule.alert_severity if transition.kind == "raised" else Severity.INFO,
        )
        return Told(transition, episode, event)


def _is_put_off(earlier: Watch, watch: Watch, now: datetime) -> bool:
    """Whether all that changed is that a silence would be an alert later still.

    It need not be stored: when the earlier time comes, somebody looks again. That saves a write for
    every event of a service that is alive.
    """
    old, new = earlier.span, watch.span
    return (
        old is not None
        and new is not None
        and earlier.episode_id is None
        and watch.episode_id is None
        and now < old.start <= new.start
        and old.end == new.end == FAR
    )
