"""Removing what is past its retention, and reporting what TTL removed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.jobs.model import Progress
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.retention.model import Scope, pruned_event, scope_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from aetherlink.events.keeping import Keeping
    from aetherlink.events.model import Entry, Event
    from aetherlink.events.upkeep_store import Stored
    from aetherlink.jobs.model import Job

_PAGE = 500
# What TTL is about to remove anyway is left to it: it does so for nothing.
TTL_SOON = timedelta(hours=1)


class Events(Protocol):
    def add(self, event: Event) -> Event | None: ...


class Upkeep(Protocol):
    @property
    def shards(self) -> int: ...
    def oldest(
        self, tenant: TenantId, shard: int, *, above: str, until: datetime, limit: int
    ) -> tuple[list[Stored], str | None]: ...
    def remove(self, entries: Sequence[Entry], now: datetime) -> int: ...


class Counts(Protocol):
    def of_tenant(self, tenant: TenantId, since: datetime, until: datetime) -> Counter[str]: ...


class Tenants(Protocol):
    def tenants(self) -> list[TenantId]: ...


class Reported(Protocol):
    def get(self, tenant: TenantId) -> datetime | None: ...
    def put(self, tenant: TenantId, until: datetime) -> None: ...


class Archiving(Protocol):
    """Puts events into the archive before they are removed; which of them are in it."""

    def secure(self, tenant: TenantId, entries: Sequence[Entry]) -> list[Entry]: ...


@dataclass
class _Removal:
    """How far the removal of a scope has come."""

    pruned: int = 0
    is_complete: bool = True


class Rest:
    """The job that goes on with a prune which took longer than an answer may."""

    def __init__(self, pruning: Pruning) -> None:
        self._pruning = pruning

    def step(self, job: Job, deadline: datetime) -> Progress:
        cursor = job.cursor or {"scopes": job.params["scopes"], "total_pruned": 0}
        done, left = self._pruning.prune([TenantId(t) for t in cursor["scopes"]], deadline)
        total = cursor["total_pruned"] + sum(scope.pruned_count for scope in done)
        return Progress(
            {"scopes": left, "total_pruned": total},
            done=job.total - len(left),
            total=job.total,
            finished=not left,
            result={"total_pruned": total},
        )


class Pruning:
    def __init__(
        self,
        *,
        events: Events,
        upkeep: Upkeep,
        counts: Counts,
        tenants: Tenants,
        reported: Reported,
        archiving: Archiving | None,
        keeping: Keeping,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._upkeep = upkeep
        self._counts = counts
        self._tenants = tenants
        self._reported = reported
        self._archiving = archiving
        self._keeping = keeping
        self._now = now

    def scopes(self, view: TenantId | None) -> list[TenantId]:
        """Whose events a caller with this view may prune: its own, or the platform's and then
        everybody's."""
        if view is not None:
            return [view]
        return [SYSTEM, *sorted(set(self._tenants.tenants()) - {SYSTEM})]

    def prune(
        self, scopes: Sequence[TenantId], deadline: datetime
    ) -> tuple[list[Scope], list[TenantId]]:
        """Remove everything past its retention; what came of it, and the scopes that are left."""
        done: list[Scope] = []
        for number, tenant in enumerate(scopes):
            if self._now() >= deadline:
                return done, list(scopes[number:])
            cutoff, days = self._cutoff(tenant)
            removal = self._remove(tenant, cutoff, deadline, spare_ttl=False)
            done.append(self._report(tenant, removal.pruned, cutoff, days))
            if not removal.is_complete:
                return done, list(scopes[number:])
            self._mark(tenant, cutoff)
        return done, []

    def keep(self, tenant: TenantId, deadline: datetime) -> Scope | None:
        """The schedule's part: report what passed its retention since the last time, whoever
        removed it, and remove what TTL will not remove soon."""
        cutoff, days = self._cutoff(tenant)
        removal = self._remove(tenant, cutoff, deadline, spare_ttl=True)
        reported = self._reported.get(tenant)
        if reported is None:
            # The first time, everything that was ever counted and is past.
            reported = cutoff - timedelta(days=366)
        passed = self._passed(tenant, reported, cutoff)
        if not removal.is_complete:
            return None
        self._mark(tenant, cutoff)
        return self._report(tenant, max(passed, 0), cutoff, days)

    def _cutoff(self, tenant: TenantId) -> tuple[datetime, int]:
        retention = self._keeping.term(tenant).retention
        return self._now() - retention, retention.days

    def _passed(self, tenant: TenantId, since: datetime, cutoff: datetime) -> int:
        """How many events passed their retention between two whole minutes."""
        first, last = (instant.replace(second=0, microsecond=0) for instant in (since, cutoff))
        if last <= first:
            return 0
        now = self._now()
        before = self._counts.of_tenant(tenant, first, now)
        return before.total() - self._counts.of_tenant(tenant, last, now).total()

    def _mark(self, tenant: TenantId, cutoff: datetime) -> None:
        reported = self._reported.get(tenant)
        # A policy that was lengthened moves the cutoff back; what is gone has been reported.
        if reported is None or reported < cutoff:
            self._reported.put(tenant, cutoff)

    def _remove(
        self, tenant: TenantId, cutoff: datetime, deadline: datetime, *, spare_ttl: bool
    ) -> _Removal:
        removal = _Removal()
        for shard in range(self._upkeep.shards):
            above: str | None = ""
            while above is not None:
                if self._now() >= deadline:
                    removal.is_complete = False
                    return removal
                found, above = self._upkeep.oldest(
                    tenant, shard, above=above, until=cutoff, limit=_PAGE
                )
                removal.pruned += self._remove_these(tenant, found, spare_ttl=spare_ttl)
        return removal

    def _remove_these(self, tenant: TenantId, found: list[Stored], *, spare_ttl: bool) -> int:
        now = self._now()
        soon = (now + TTL_SOON).timestamp()
        entries = [s.entry for s in found if not (spare_ttl and s.expires_at <= soon)]
        if self._archiving and entries:
            by_hour: dict[str, list[Entry]] = defaultdict(list)
            for entry in entries:
                by_hour[entry.hour].append(entry)
            entries = [e for h in by_hour.values() for e in self._archiving.secure(tenant, h)]
        return self._upkeep.remove(entries, now)

    def _report(self, tenant: TenantId, pruned: int, cutoff: datetime, days: int) -> Scope:
        archived = pruned if self._archiving else 0
        scope = scope_of(tenant, days=days, cutoff=cutoff, pruned=pruned, archived=archived)
        if pruned:
            self._events.add(pruned_event(tenant, scope, self._now()))
        return scope
