"""Judging rules for groups: by the stream in about a second, by the sweep for time. Records it too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from aetherlink.alerts.model import (
    Group,
    Rule,
    RuleId,
    Span,
    Transition,
    Watch,
    advance,
    alert_payload,
    alert_tenant,
    fingerprint,
    group_of,
    holding,
    matches,
    next_due,
    retire,
)
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import SYSTEM, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

SOURCE = "aether-command-center"
_ATTEMPTS = 8
# A transaction takes 25 items on the emulators; one of them is the watch.
_TRANSITIONS = 20


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
        announcing: list[Event],
    ) -> bool: ...
    def drop(
        self, owner: TenantId, rule_id: RuleId, watch: Watch, announcing: list[Event]
    ) -> None: ...


class Hits(Protocol):
    def add(self, hits: Iterable[tuple[Rule, str, Event]]) -> None: ...
    def add_missing(self, hits: Sequence[tuple[Rule, str, Event]]) -> None: ...
    def newest(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime, limit: int
    ) -> list[datetime]: ...


class Judge:
    """Decides for rules and groups, and records what that changes."""

    def __init__(
        self, rules: Rules, watches: Watches, hits: Hits, now: Callable[[], datetime]
    ) -> None:
        self._rules = rules
        self._watches = watches
        self._hits = hits
        self._now = now

    def observe(self, events: Sequence[Event]) -> None:
        """Count events that were just stored, and judge the rules and groups that they touch."""
        rules = {
            owner: [rule for rule in self._rules.of(owner) if rule.enabled]
            for owner in dict.fromkeys((*(event.tenant_id for event in events), SYSTEM))
        }
        # Global rules stand under `system`, and so would a rule of the tenant `system` itself.
        touched = [
            (rule, event)
            for event in events
            for rule in {r.id: r for r in (*rules[event.tenant_id], *rules[SYSTEM])}.values()
            if matches(rule, event)
        ]
        self.count(touched)

    def count(self, touched: Sequence[tuple[Rule, Event]]) -> None:
        """Write hits and judge their groups. Nothing is counted twice."""
        groups: dict[tuple[str, str], tuple[Rule, Group, list[Event]]] = {}
        for rule, event in touched:
            group = group_of(rule, event)
            entry = groups.setdefault((rule.id, fingerprint(group)), (rule, group, []))
            entry[2].append(event)
        self._hits.add(
            (rule, key[1], event) for key, (rule, _, found) in groups.items() for event in found
        )
        for rule, group, found in groups.values():
            times = [event.counted_at for event in found]
            self.judge(rule, group, first=min(times), last=max(times), fresh=len(found))

    def judge(
        self, rule: Rule, group: Group, *, first: datetime, last: datetime, fresh: int
    ) -> tuple[Watch, bool]:
        """Judge every window that ends at a hit between `first` and `last`, of which `fresh` are new.

        The watch as it then stands, and whether this call began an episode.
        """
        hits = self._hits.newest(
            rule,
            fingerprint(group),
            since=first - rule.window,
            until=max(last, self._now()),
            limit=rule.threshold + fresh,
        )
        return self.move(rule, group, holding(hits, rule.threshold, rule.window), len(hits))

    def move(
        self, rule: Rule, group: Group, spans: Sequence[Span], matched: int
    ) -> tuple[Watch, bool]:
        """Advance a watch and store what that makes, however many others do so at the same time."""
        is_new, attempts = False, _ATTEMPTS
        while attempts:
            earlier, now = self._watches.get(rule, group), self._now()
            watch, transitions = advance(rule, earlier, spans, now)
            is_rest = len(transitions) > _TRANSITIONS
            if is_rest:
                # More than one transaction takes: first up to there, then on from there.
                watch, transitions = advance(rule, earlier, spans, transitions[_TRANSITIONS - 1].at)
            if watch == earlier:
                return watch, is_new
            stored = self._store(rule, earlier, watch, transitions, matched)
            attempts -= 0 if stored else 1
            is_new = is_new or (stored is not None and any(t.kind == "raised" for t in transitions))
            if stored and not is_rest:
                return stored, is_new
        raise UnavailableError(f"Rule {rule.id} is being judged by too many at once; try again")

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
            self._watches.drop(owner, rule_id, watch, self._orphaned(owner, rule_id, watch))
        elif rule.enabled:
            now = self._now()
            self.judge(rule, watch.group, first=now, last=now, fresh=0)
        else:
            self.end(rule, "the rule was disabled")

    def _orphaned(self, owner: TenantId, rule_id: RuleId, watch: Watch) -> list[Event]:
        if watch.episode_id is None:
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
                if earlier.span is None or self._store(rule, earlier, watch, transitions, 0):
                    break
                earlier = self._watches.get(rule, seen.group)

    def _store(
        self,
        rule: Rule,
        earlier: Watch,
        watch: Watch,
        transitions: list[Transition],
        matched: int,
    ) -> Watch | None:
        changed = replace(watch, version=earlier.version + 1)
        announcing = [self._announce(rule, changed, t, matched) for t in transitions]
        is_stored = self._watches.commit(
            rule, earlier, changed, next_due(rule, changed), announcing
        )
        return changed if is_stored else None

    def _announce(self, rule: Rule, watch: Watch, transition: Transition, matched: int) -> Event:
        return announce(
            f"ops.alert.{transition.kind}",
            source=SOURCE,
            tenant_id=alert_tenant(rule, watch.group),
            payload=alert_payload(rule, watch, transition, max(matched, 0)),
            now=self._now(),
            event_id=f"{transition.episode_id}.{transition.kind}",
            severity=rule.alert_severity if transition.kind == "raised" else Severity.INFO,
        )
