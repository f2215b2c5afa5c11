"""Rules, watches and hits in memory, under a clock that is set; for judges of every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.alerts.condition import Part, Point, added, step_end
from aetherlink.alerts.judge import Judge
from aetherlink.alerts.machine import Watch
from aetherlink.alerts.model import Group, Rule, RuleDraft, RuleId, draw_up, fingerprint
from aetherlink.events.model import Event, announce
from aetherlink.kernel.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherlink.alerts.episode import Told
    from aetherlink.events.model import Filters

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_rule(**given: Any) -> Rule:
    tenant = given.pop("tenant", ACME)
    draft = RuleDraft.model_validate({"name": "r", "window_seconds": 60, "threshold": 3, **given})
    return draw_up(draft, "rule-1", tenant, NOON)


def an_event(seconds: float = 0, event_type: str = "autoheal.failed", **given: Any) -> Event:
    settings: dict[str, Any] = {"source": "heal", "tenant_id": ACME, "payload": {}}
    named = {"event_id": f"e-{seconds}", "now": at(seconds)}
    return announce(event_type, **{**settings, **named, **given})


class World:
    """Everything that a judge needs. `told` is what it said, in the order of saying it."""

    def __init__(self, *rules: Rule) -> None:
        self.now = NOON
        self.rules = {rule.id: rule for rule in rules}
        self.watches: dict[tuple[str, str], tuple[Watch, datetime | None]] = {}
        self.hits: dict[tuple[str, str], dict[str, tuple[datetime, Part]]] = {}
        self.events: list[Event] = []
        self.told: list[tuple[str, str, datetime]] = []
        self.stored = 0
        self.judge = Judge(self, self, _Hits(self), lambda: self.now, window=self)  # type: ignore[arg-type]  # one object in several roles

    def arrive(self, *events: Event) -> None:
        """Events are stored, and the relay brings them."""
        self.events += events
        self.judge.observe(events)

    # ---- rules and watches
    def of(self, owner: Any) -> Any:
        if isinstance(owner, Rule):
            return [w for (rule, _), (w, _due) in self.watches.items() if rule == owner.id]
        return [rule for rule in self.rules.values() if rule.owner == owner]

    def get(self, owner: Any, key: Any) -> Any:
        if isinstance(owner, Rule):
            kept = self.watches.get((owner.id, fingerprint(key)))
            return kept[0] if kept else Watch(group=key)
        return self.rules.get(key)

    def due(self, now: datetime) -> list[tuple[TenantId, RuleId, Watch]]:
        found = [
            (due, self.rules[RuleId(rule)], watch)
            for (rule, _), (watch, due) in self.watches.items()
            if due and due <= now
        ]
        return [(r.owner, r.id, w) for _, r, w in sorted(found, key=lambda f: f[0])]

    def commit(
        self, rule: Rule, earlier: Watch, watch: Watch, due: datetime | None, told: Sequence[Told]
    ) -> bool:
        if self.get(rule, watch.group).version != earlier.version:
            return False
        self.watches[rule.id, fingerprint(watch.group)] = (watch, due)
        self.stored += 1
        self.told += [
            (t.transition.kind, fingerprint(watch.group), t.transition.at) for t in told if t.event
        ]
        return True

    # ---- stored events
    def within(self, view: TenantId | None, filters: Filters, *, limit: int) -> list[Event]:
        since = filters.since or NOON
        found = [e for e in self.events if e.counted_at > since and e.received_at <= self.now]
        return sorted(found, key=lambda e: e.counted_at, reverse=True)[:limit]


class _Hits:
    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None:
        for rule, key, event, part in hits:
            name = f"{event.tenant_id}/{event.event_id}/{event.source}"
            self._world.hits.setdefault((rule.id, key), {})[name] = (event.counted_at, part)

    add_missing = add

    def newest(
        self, rule: Rule, key: str, *, since: datetime, until: datetime, limit: int
    ) -> list[datetime]:
        kept = self._world.hits.get((rule.id, key), {}).values()
        return sorted((t for t, _ in kept if since < t <= until), reverse=True)[:limit]

    def steps(self, rule: Rule, key: str, *, since: datetime, until: datetime) -> list[Point]:
        assert rule.step
        sums: dict[datetime, Part] = {}
        for time, part in self._world.hits.get((rule.id, key), {}).values():
            end = step_end(time, rule.step)
            sums[end] = added(sums.get(end, Part()), part)
        return [Point(end, sums[end]) for end in sorted(sums) if since < end <= until]


def group_name(**group: str) -> str:
    named: Group = {name.replace("__", "."): value for name, value in group.items()}
    return fingerprint(named)
