"""Rules, and the judging of them: by the stream in about a second, by the sweep for time, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.alerts.model import (
    Group,
    Phase,
    Rule,
    RuleDraft,
    RuleId,
    Span,
    Transition,
    Watch,
    advance,
    alert_payload,
    alert_tenant,
    draw_up,
    fingerprint,
    group_of,
    holding,
    matches,
    next_due,
    retire,
)
from aetherlink.events.model import Event, Filters, Severity, announce
from aetherlink.kernel.errors import ForbiddenError, NotFoundError, UnavailableError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

SOURCE = "aether-command-center"
# How many hits a judgement by hand counts at most; beyond it "at least that many" is all one learns.
MAX_COUNTED = 1000
_ATTEMPTS = 8
# A transaction takes 25 items on the emulators; one of them is the watch.
_TRANSITIONS = 20
_BACK_FILL = 100


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
    def newest(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime, limit: int
    ) -> list[datetime]: ...


class Window(Protocol):
    """The stored events of a view, for rules that are new or judged by hand."""

    def within(self, view: TenantId | None, filters: Filters, *, limit: int) -> list[Event]: ...


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
        """Move on the watches whose time has come; how many there were."""
        due = self._watches.due(self._now())
        for owner, rule_id, watch in due:
            rule = self._rules.get(owner, rule_id)
            if rule is None:
                # A record in flight opened it while its rule was being deleted.
                self._watches.drop(owner, rule_id, watch, self._orphaned(owner, rule_id, watch))
            elif rule.enabled:
                now = self._now()
                self.judge(rule, watch.group, first=now, last=now, fresh=0)
            else:
                self.end(rule, "the rule was disabled")
        return len(due)

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


class Alerting:
    """What people do with rules."""

    def __init__(
        self,
        rules: Rules,
        watches: Watches,
        hits: Hits,
        window: Window,
        now: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._watches = watches
        self._hits = hits
        self._window = window
        self._now = now
        self._judge = Judge(rules, watches, hits, now)

    def create(self, caller: Caller, draft: RuleDraft, *, is_global: bool) -> Rule:
        """Add a rule for the caller's tenant; global for one who has none, or an admin who says so."""
        tenant = self._tenant_for(caller, draft, is_global=is_global)
        rule_id = new_tenant_bound(tenant or SYSTEM)
        rule = draw_up(draft, rule_id, tenant, self._now())
        self._rules.put(rule)
        if rule.enabled:
            self._back_fill(rule)
        return rule

    def visible(self, view: TenantId | None) -> list[Rule]:
        """A tenant's rules and the global ones, oldest first; with no tenant, everyone's."""
        found = (
            self._rules.all()
            if view is None
            else [r for owner in dict.fromkeys((view, SYSTEM)) for r in self._rules.of(owner)]
        )
        return sorted(found, key=lambda rule: (rule.created_at, rule.id))

    def get(self, caller: Caller, rule_id: str) -> Rule:
        """A rule that the caller may see: its tenant's or a global one. Any other is not found."""
        owner = tenant_of(rule_id)
        view = caller.reads()
        if owner is not None and (view is None or owner in (view, SYSTEM)):
            rule = self._rules.get(owner, rule_id)
            if rule:
                return rule
        raise NotFoundError(f"Rule {rule_id} not found")

    def delete(self, caller: Caller, rule_id: str) -> str:
        rule = self._mine(caller, rule_id)
        # First off, so that nothing opens a new episode while its open ones are ended.
        self._rules.put(rule.model_copy(update={"enabled": False}))
        self._judge.end(rule, "the rule was deleted")
        if not self._rules.delete(rule):
            raise NotFoundError(f"Rule {rule_id} not found")
        return rule_id

    def enable(self, caller: Caller, rule_id: str, *, enabled: bool) -> Rule:
        rule = self._mine(caller, rule_id)
        changed = rule.model_copy(update={"enabled": enabled, "updated_at": self._now()})
        self._rules.put(changed)
        if enabled and not rule.enabled:
            self._back_fill(changed)
        if not enabled:
            self._judge.end(changed, "the rule was disabled")
        return changed

    def evaluate(self, caller: Caller) -> tuple[int, list[dict[str, Any]]]:
        """Judge every enabled rule of the caller's now: how many, and those whose condition holds."""
        enabled = [rule for rule in self.visible(caller.reads()) if rule.enabled]
        return len(enabled), [row for rule in enabled for row in self._back_fill(rule)]

    def _back_fill(self, rule: Rule) -> list[dict[str, Any]]:
        """Count what is in the rule's window already; a row for each group that holds now.

        One bounded read of the newest events that match: a judgement never needs more than
        `threshold` of them, and the relay has counted the rest.
        """
        now = self._now()
        filters = Filters(
            event_type=rule.event_type,
            source=rule.source,
            severity=rule.severity and str(rule.severity),
            since=now - rule.window,
        )
        newest = self._window.within(rule.tenant_id, filters, limit=max(rule.threshold, _BACK_FILL))
        found = [event for event in newest if matches(rule, event)]
        groups: dict[str, tuple[Group, list[Event]]] = {}
        for event in found:
            group = group_of(rule, event)
            groups.setdefault(fingerprint(group), (group, []))[1].append(event)
        for watch in self._watches.of(rule):
            groups.setdefault(fingerprint(watch.group), (watch.group, []))
        self._hits.add((rule, key, e) for key, (_, events) in groups.items() for e in events)
        rows = (self._judge_now(rule, group, key) for key, (group, _) in groups.items())
        return [row for row in rows if row]

    def _judge_now(self, rule: Rule, group: Group, key: str) -> dict[str, Any] | None:
        now = self._now()
        limit = max(rule.threshold, MAX_COUNTED)
        hits = self._hits.newest(rule, key, since=now - rule.window, until=now, limit=limit)
        spans = holding(hits, rule.threshold, rule.window)
        watch, is_new = self._judge.move(rule, group, spans, len(hits))
        if len(hits) < rule.threshold or watch.phase is Phase.INACTIVE:
            return None
        return {
            "rule_id": rule.id,
            "rule_name": rule.name,
            "count": len(hits),
            "threshold": rule.threshold,
            "state": str(watch.phase),
            "new": is_new,
            "group": group,
        }

    def _tenant_for(self, caller: Caller, draft: RuleDraft, *, is_global: bool) -> TenantId | None:
        if draft.tenant_id:
            return caller.writes(draft.tenant_id)
        if is_global and caller.tenant_id is not None:
            if not (caller.cross_tenant and Role.ADMIN in caller.roles):
                raise ForbiddenError(
                    "Only an admin with the cross-tenant grant may create a global rule"
                )
            return None
        return caller.tenant_id

    def _mine(self, caller: Caller, rule_id: str) -> Rule:
        """A rule that the caller may change. A global one only for who may act for every tenant."""
        rule = self.get(caller, rule_id)
        if rule.tenant_id is None and not caller.cross_tenant:
            raise ForbiddenError("A global rule can be changed only with the cross-tenant grant")
        return rule
