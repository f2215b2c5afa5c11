"""What people see of healing: its state, its history, and what the numbers say."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.heal import own
from aetherlink.heal.health import State
from aetherlink.heal.service import INTERVAL, Scope
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import to_text
from aetherlink.registry import model as registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from aetherlink.heal.model import Target, Watched
    from aetherlink.heal.record import Approval, Heal, Maintenance, Report
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.registry.model import Seen, Service

# Of the spec's buffer: a page of the history has no more (v1.9).
MAX_HISTORY = 50
_RECENT = 2 * INTERVAL


class Kept(Protocol):
    def of(self, tenant: TenantId) -> list[Watched]: ...
    def between(self, first: str, last: str) -> list[Watched]: ...
    def report(self, tenant: TenantId) -> Report | None: ...
    def history(
        self, view: TenantId | None, *, before: str, limit: int
    ) -> tuple[list[tuple[str, Heal]], bool]: ...
    def approvals(self, tenant: TenantId) -> list[Approval]: ...
    def windows(self, tenant: TenantId) -> list[Maintenance]: ...


class Services(Protocol):
    def of(self, tenant_id: TenantId) -> list[Service]: ...
    def all(self) -> list[Service]: ...


class Reading:
    def __init__(
        self,
        kept: Kept,
        services: Services,
        monitored: Sequence[Target],
        now: Callable[[], datetime],
    ) -> None:
        self._kept = kept
        self._services = services
        self._monitored = monitored
        self._now = now

    def status(self, view: TenantId | None) -> dict[str, Any]:
        """What is watched, and what the latest run did."""
        now = self._now()
        watched = self._watched(view)
        report = self._kept.report(view or SYSTEM) or self._kept.report(SYSTEM)
        heals, _ = self._kept.history(view, before="", limit=MAX_HISTORY)
        since = report.last_run - INTERVAL if report else now
        return {
            "watching": self._watching(view),
            "interval_seconds": round(INTERVAL.total_seconds()),
            "last_report": {
                "last_run": to_text(report.last_run) if report else None,
                "took_ms": report.took_ms if report else None,
                "attempts": [heal.shown() for _, heal in heals if heal.at >= since],
            },
            "is_running": report is not None and now - report.last_run < _RECENT,
            "services": [_shown(each, now) for each in watched],
            "approvals": [
                each.shown()
                for each in (self._kept.approvals(view) if view else ())
                if each.decision == "open"
            ],
            "maintenance": [
                each.shown(now)
                for each in (self._kept.windows(view) if view else ())
                if each.is_on(now)
            ],
        }

    def history(self, view: TenantId | None, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """The attempts that are over, the newest first."""
        size = min(limit, MAX_HISTORY)
        before = decode_cursor(cursor, view or "*", "heals") if cursor else ""
        found, more = self._kept.history(view, before=before, limit=size)
        place = found[-1][0] if more and found else None
        return {
            "history": [heal.shown() for _, heal in found],
            "total_in_history": sum(w.tally.attempts for w in self._watched(view)),
            "limit": size,
            "next_cursor": encode_cursor(place, view or "*", "heals") if place else None,
        }

    def statistics(self, view: TenantId | None) -> dict[str, Any]:
        """How healing fares, over all time. `mttr_seconds` is how long an outage lasted on average,
        `by_itself_percent` how many of them ended before anything was done."""
        now, watched = self._now(), self._watched(view)
        total = sum(w.tally.attempts for w in watched)
        successful = sum(w.tally.succeeded for w in watched)
        recovered = sum(w.tally.recovered for w in watched)
        by_itself = sum(w.tally.by_itself for w in watched)
        down = sum(w.tally.down.total_seconds() for w in watched)
        services: Counter[str] = Counter()
        actions: Counter[str] = Counter()
        for each in watched:
            services[each.name] += each.tally.attempts
            actions.update(each.tally.actions)
        services = +services
        return {
            "total_attempts": total,
            "successful": successful,
            "failed": total - successful,
            "success_rate": _percent(successful, total),
            "services": dict(services.most_common()),
            "most_healed": services.most_common(1)[0][0] if services else None,
            "actions": dict(actions),
            "pending": sum(w.pending is not None for w in watched),
            "outages": sum(w.tally.outages for w in watched),
            "recovered": recovered,
            "recovered_by_itself": by_itself,
            "by_itself_percent": _percent(by_itself, recovered),
            "mttr_seconds": round(down / recovered, 1) if recovered else None,
            "flapping": sorted(w.name for w in watched if w.is_flapping(now)),
        }

    def reconciliation(self, view: TenantId | None) -> dict[str, Any]:
        """What is registered, what is looked at and what is configured, and where they differ."""
        services = self._registered(view)
        names = {service.name for service in services}
        looked_at = {w.name for w in self._watched(view) if w.health.state is not State.UNKNOWN}
        configured = {target.name for target in self._monitored}
        monitored = looked_at & (names | configured | set(own.NAMES))
        expired = {name for standing in self._standings(services) for name in standing.expired}
        wanted = {other for service in services for other in service.depends_on}
        gaps = {
            "registered_not_monitored": sorted(names - monitored),
            "monitored_not_registered": sorted(monitored - names - configured - set(own.NAMES)),
            "configured_not_registered": sorted(configured - names),
            "configured_not_monitored": sorted(configured - looked_at),
            "lease_expired": sorted(expired),
            "depended_on_not_registered": sorted(wanted - names - configured - set(own.NAMES)),
            "without_action": sorted(
                s.name for s in services if not (s.plan and s.plan.action) and s.tenant_id != SYSTEM
            ),
        }
        serious = ("registered_not_monitored", "configured_not_monitored", "lease_expired",
                   "depended_on_not_registered")  # fmt: skip
        return {
            "status": "ok",
            "in_sync": not any(gaps[name] for name in serious),
            "registered": sorted(names),
            "monitored": sorted(monitored),
            "configured": sorted(configured),
            "platform": list(own.NAMES),
            "gaps": gaps,
        }

    def _standings(self, services: Iterable[Service]) -> list[registry.Standing]:
        by_tenant: dict[str, list[Service]] = {}
        for service in services:
            by_tenant.setdefault(service.tenant_id, []).append(service)
        now = self._now()
        return [registry.Standing(of, now) for of in by_tenant.values()]

    def _watching(self, view: TenantId | None) -> list[str]:
        named = (
            *own.DEFAULT_WATCHED,
            *own.NAMES,
            *(target.name for target in self._monitored),
            *(service.name for service in self._registered(view)),
        )
        return list(dict.fromkeys(named))

    def _registered(self, view: TenantId | None) -> list[Service]:
        return self._services.all() if view is None else self._services.of(view)

    def _watched(self, view: TenantId | None) -> list[Watched]:
        """With the platform's own parts: they show in every tenant's views."""
        if view is None:
            everywhere = Scope()
            return self._kept.between(everywhere.first, everywhere.last)
        return [w for tenant in dict.fromkeys((view, SYSTEM)) for w in self._kept.of(tenant)]


def seen_by(kept: Kept, view: TenantId | None) -> Mapping[tuple[str, str], Seen]:
    """What looking at services found, for the registry's list."""
    everywhere = Scope()
    found = kept.between(everywhere.first, everywhere.last) if view is None else kept.of(view)
    return {
        each.key: registry.Seen(
            state=registry.State(each.health.state),
            since=each.health.since,
            checked_at=each.health.last.at if each.health.last else None,
            error=each.health.last.error if each.health.last else None,
        )
        for each in found
    }


def _shown(watched: Watched, now: datetime) -> dict[str, Any]:
    health, pending, pause = watched.health, watched.pending, watched.pause
    is_paused = pause is not None and pause.holds_at(now)
    return {
        "service": watched.name,
        "tenant_id": watched.tenant_id,
        "state": str(health.state),
        "since": to_text(health.since) if health.since else None,
        "error": health.last.error if health.last else None,
        "healing": pending and {"attempt_id": pending.id, "action": pending.action,
                                "since": to_text(pending.at)},
        "paused": {"reason": pause.reason, "by": pause.by,
                   "until": to_text(pause.until) if pause.until else None}
        if pause and is_paused else None,
        "attempts_counted": len(watched.attempts),
        "alert": watched.alert,
        "flapping": watched.is_flapping(now),
    }  # fmt: skip


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
