"""What people do with rules: create them, look at them, switch them, and judge them by hand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.alerts.condition import FAR
from aetherlink.alerts.explain import because, sentence
from aetherlink.alerts.judge import Hits, Judge, Rules, Watches, Window
from aetherlink.alerts.machine import Phase, Watch, next_due
from aetherlink.alerts.model import (
    Group,
    Rule,
    RuleDraft,
    draw_up,
    fingerprint,
    group_of,
    part_of,
    read_by,
    why_not,
)
from aetherlink.events.model import Filters
from aetherlink.kernel.errors import ForbiddenError, NotFoundError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.alerts.condition import Part
    from aetherlink.alerts.episode import Episode, Mute
    from aetherlink.events.model import Event

# How many hits a judgement by hand counts at most; beyond it "at least that many" is all one learns.
MAX_COUNTED = 50
_BACK_FILL = 100
# Beyond what decides it, a judgement by hand looks for what the relay has not counted yet.
_FRESH = 20
# An explanation looks at so many of the newest events, and shows so many groups.
_LOOKED_AT = 100
_EXPLAINED = 50
EVERYTHING = Filters()


class Episodes(Protocol):
    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None: ...


class Alerting:
    """What people do with rules."""

    def __init__(
        self,
        rules: Rules,
        watches: Watches,
        hits: Hits,
        window: Window,
        now: Callable[[], datetime],
        *,
        episodes: Episodes,
        alarm: Callable[[datetime], None],
    ) -> None:
        self._rules = rules
        self._watches = watches
        self._hits = hits
        self._window = window
        self._now = now
        self._episodes = episodes
        self._judge = Judge(rules, watches, hits, now, alarm=alarm)

    def create(self, caller: Caller, draft: RuleDraft, *, is_global: bool) -> Rule:
        """Add a rule for the caller's tenant; global for one who has none, or an admin who says so."""
        tenant = self._owner(caller, draft, is_global=is_global)
        rule_id = new_tenant_bound(tenant or SYSTEM)
        rule = draw_up(draft, rule_id, tenant, self._now())
        self._rules.put(rule)
        # A global rule is the platform's, whoever made it.
        caller.trail.tenant_id = rule.owner
        caller.trail.changed(f"rule/{rule.id}", after=rule.shown())
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
        caller.trail.changed(f"rule/{rule.id}", before=rule.shown())
        return rule_id

    def enable(self, caller: Caller, rule_id: str, *, enabled: bool) -> Rule:
        rule = self._mine(caller, rule_id)
        now = self._now()
        since = now if enabled and not rule.enabled else rule.enabled_since
        changed = rule.model_copy(
            update={"enabled": enabled, "updated_at": now, "enabled_since": since}
        )
        self._rules.put(changed)
        caller.trail.changed(f"rule/{rule.id}", before=rule.shown(), after=changed.shown())
        if enabled and not rule.enabled:
            self._back_fill(changed)
        if not enabled:
            self._judge.end(changed, "the rule was disabled")
        return changed

    def evaluate(self, caller: Caller) -> tuple[int, list[dict[str, Any]]]:
        """Judge every enabled rule of the caller's now: how many, and those whose condition holds."""
        view = caller.reads()
        enabled = [
            rule
            for rule in self.visible(view)
            # A global rule counts every tenant's events, and its groups may name them.
            if rule.enabled and (caller.cross_tenant or rule.owner == view)
        ]
        rows = [
            row for rule in enabled for row in self._back_fill(rule, int(rule.threshold) + _FRESH)
        ]
        return len(enabled), rows

    def explain(
        self, caller: Caller, rule_id: str, why_muted: Callable[[Episode], Mute | None]
    ) -> dict[str, Any]:
        """Why a rule fires, or does not: what it counts of the newest events, and where each of its
        groups stands."""
        rule, now = self.get(caller, rule_id), self._now()
        if not caller.cross_tenant and rule.owner != caller.tenant_id:
            raise ForbiddenError(
                "A global rule counts every tenant's events; it takes the cross-tenant grant to have "
                "it explained"
            )
        newest = self._window.within(rule.tenant_id, EVERYTHING, limit=_LOOKED_AT)
        reasons = Counter(why_not(rule, event) for event in newest)
        counted = reasons.pop("", 0)
        watches = self._watches.of(rule)
        if not rule.group_by and not watches:
            watches = [Watch(group={})]
        shown = sorted(watches, key=lambda watch: watch.phase is Phase.INACTIVE)[:_EXPLAINED]
        return {
            "rule": rule.shown(),
            "condition": sentence(rule),
            "now": to_text(now),
            "newest_events": {
                "looked_at": len(newest),
                "counted": counted,
                "not_counted": dict(reasons.most_common(10)),
            },
            "groups": [self._explained(rule, watch, now, why_muted) for watch in shown],
            "groups_left_out": max(0, len(watches) - _EXPLAINED),
        }

    def _explained(
        self,
        rule: Rule,
        watch: Watch,
        now: datetime,
        why_muted: Callable[[Episode], Mute | None],
    ) -> dict[str, Any]:
        fresh = max(0, MAX_COUNTED - int(rule.threshold))
        known = self._judge.known(rule, watch.group, first=now, last=now, fresh=fresh)
        span = next((s for s in known.spans if s.start <= now < s.end), None)
        due = next_due(rule, watch)
        episode = self._open_episode(watch)
        mute = why_muted(episode) if episode and watch.phase is Phase.FIRING else None
        return {
            "group": watch.group,
            "state": str(watch.phase),
            "value": known.matched(rule, now),
            "holds_now": rule.enabled and span is not None,
            "holds_since": to_text(span.start) if span else None,
            "raised_at": to_text(watch.raised_at) if watch.raised_at else None,
            "next_change_at": to_text(due) if due and due != FAR else None,
            "alert_id": watch.episode_id,
            "acknowledged": episode.shown()["acknowledged"] if episode else None,
            "muted": mute and {"kind": mute.kind, "by": mute.by, "reason": mute.reason},
            "because": because(rule, watch, known.matched(rule, now), span),
        }

    def _open_episode(self, watch: Watch) -> Episode | None:
        tenant = tenant_of(watch.episode_id or "")
        if tenant is None or watch.episode_id is None:
            return None
        return self._episodes.get(tenant, watch.episode_id)

    def _back_fill(self, rule: Rule, newest: int = _BACK_FILL) -> list[dict[str, Any]]:
        """Count what is in the rule's window already; a row for each group that holds now.

        One bounded read of the newest events that match: a judgement never needs more than
        `threshold` of them, and the relay has counted the rest.
        """
        now = self._now()
        limit = max(int(rule.threshold), newest)
        filters = read_by(rule, since=now - rule.window)
        newest_events = self._window.within(rule.tenant_id, filters, limit=limit)
        groups: dict[str, tuple[Group, list[tuple[Event, Part]]]] = {}
        for event in newest_events:
            part = part_of(rule, event)
            if part:
                group = group_of(rule, event)
                groups.setdefault(fingerprint(group), (group, []))[1].append((event, part))
        for watch in self._watches.of(rule):
            groups.setdefault(fingerprint(watch.group), (watch.group, []))
        self._hits.add_missing(
            [(rule, key, e, p) for key, (_, found) in groups.items() for e, p in found]
        )
        if not rule.group_by and rule.holds_when_empty:
            groups.setdefault(fingerprint({}), ({}, []))
        rows = (self._judge_now(rule, group) for group, _ in groups.values())
        return [row for row in rows if row]

    def _judge_now(self, rule: Rule, group: Group) -> dict[str, Any] | None:
        now = self._now()
        fresh = max(0, MAX_COUNTED - int(rule.threshold))
        known = self._judge.known(rule, group, first=now, last=now, fresh=fresh)
        watch, is_new = self._judge.move(rule, group, known, first=now)
        holds = any(span.start <= now < span.end for span in known.spans)
        if not holds or watch.phase is Phase.INACTIVE:
            return None
        return {
            "rule_id": rule.id,
            "rule_name": rule.name,
            "count": known.matched(rule, now),
            "threshold": rule.threshold,
            "state": str(watch.phase),
            "new": is_new,
            "group": group,
            "alert_id": watch.episode_id,
        }

    def tenant_for(self, caller: Caller, draft: RuleDraft) -> TenantId | None:
        """Whose rule a draft would be; None for a global one."""
        is_global = "tenant_id" in draft.model_fields_set and draft.tenant_id is None
        return self._owner(caller, draft, is_global=is_global)

    def _owner(self, caller: Caller, draft: RuleDraft, *, is_global: bool) -> TenantId | None:
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
        caller.trail.tenant_id = rule.owner
        return rule
