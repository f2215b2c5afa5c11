"""What people do with rules: create them, look at them, switch them, and judge them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.alerts.judge import Hits, Judge, Rules, Watches
from aetherlink.alerts.model import (
    Group,
    Phase,
    Rule,
    RuleDraft,
    draw_up,
    fingerprint,
    group_of,
    holding,
    matches,
)
from aetherlink.events.model import Event, Filters
from aetherlink.kernel.errors import ForbiddenError, NotFoundError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# How many hits a judgement by hand counts at most; beyond it "at least that many" is all one learns.
MAX_COUNTED = 50
_BACK_FILL = 100
# Beyond what decides it, a judgement by hand looks for what the relay has not counted yet.
_FRESH = 20


class Window(Protocol):
    """The stored events of a view, for rules that are new or judged by hand."""

    def within(self, view: TenantId | None, filters: Filters, *, limit: int) -> list[Event]: ...


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
        rows = [row for rule in enabled for row in self._back_fill(rule, rule.threshold + _FRESH)]
        return len(enabled), rows

    def _back_fill(self, rule: Rule, newest: int = _BACK_FILL) -> list[dict[str, Any]]:
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
        limit = max(rule.threshold, newest)
        newest_events = self._window.within(rule.tenant_id, filters, limit=limit)
        found = [event for event in newest_events if matches(rule, event)]
        groups: dict[str, tuple[Group, list[Event]]] = {}
        for event in found:
            group = group_of(rule, event)
            groups.setdefault(fingerprint(group), (group, []))[1].append(event)
        for watch in self._watches.of(rule):
            groups.setdefault(fingerprint(watch.group), (watch.group, []))
        self._hits.add_missing(
            [(rule, key, e) for key, (_, events) in groups.items() for e in events]
        )
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
