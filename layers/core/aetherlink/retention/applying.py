"""The job that applies a changed retention to what is stored. Each step may be done again.

1. The tenant's counts move to the class of its new retention (statistics over all tenants).
2. Lengthened: what had passed the old retention and was not deleted yet is shown again, so the
   minutes of that time count what there is; they still counted what is gone.
3. Lengthened: what is stored gets its new time of expiry.
4. Once more from 1 for what was written by whoever still believed the old policy (for 30 s).
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.counts import Bucket, Level, bucket
from aetherlink.events.keeping import MAX_AGE
from aetherlink.events.model import kept_until
from aetherlink.jobs.model import Progress
from aetherlink.kernel.time import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aetherlink.events.keeping import Keeping
    from aetherlink.events.model import Entry
    from aetherlink.events.upkeep_store import Stored
    from aetherlink.jobs.model import Job
    from aetherlink.kernel.tenancy import TenantId

_PAGE = 500
# Indexes are behind the table by less than this.
_SETTLED = timedelta(minutes=2)
_COUNTED_DAYS = 400


class Upkeep(Protocol):
    @property
    def shards(self) -> int: ...
    def oldest(
        self, tenant: TenantId, shard: int, *, above: str, until: datetime, limit: int
    ) -> tuple[list[Stored], str | None]: ...
    def restamp(self, stored: Sequence[tuple[Entry, int]]) -> int: ...


class Counts(Protocol):
    def reclassify(
        self, tenant: TenantId, level: Level, first: Bucket, last: Bucket, days: int
    ) -> int: ...
    def minutes(
        self, tenant: TenantId, first: Bucket, last: Bucket
    ) -> Iterator[tuple[Bucket, Counter[str]]]: ...
    def correct(self, tenant: TenantId, minute: Bucket, actual: Counter[str]) -> bool: ...


class Applying:
    def __init__(
        self, upkeep: Upkeep, counts: Counts, keeping: Keeping, now: Callable[[], datetime]
    ) -> None:
        self._upkeep = upkeep
        self._counts = counts
        self._keeping = keeping
        self._now = now

    def step(self, job: Job, deadline: datetime) -> Progress:
        """A piece of the job. Whatever the policy is by now is applied, not what it was then."""
        cursor: dict[str, Any] = job.cursor or {"phase": "classes", "restamped": 0}
        retention = self._keeping.term(job.tenant_id).retention
        earlier = timedelta(days=job.params["earlier_days"])
        if cursor["phase"] == "classes":
            self._reclassify(job.tenant_id, retention.days)
            cursor = {**cursor, "phase": "recount"}
            if retention <= earlier:
                return self._finish(job, cursor)
            cursor["day"] = to_text(self._now() - retention)[:10]
        elif cursor["phase"] == "recount":
            cursor = self._recount(job, cursor, retention, earlier, deadline)
        elif cursor["phase"] == "restamp":
            cursor = self._restamp(job.tenant_id, cursor, retention, deadline)
        if cursor["phase"] == "done":
            return self._finish(job, cursor)
        return Progress(cursor, done=cursor["restamped"], total=job.total, finished=False)

    def _finish(self, job: Job, cursor: dict[str, Any]) -> Progress:
        """Finished once nobody can believe the old policy any more."""
        done = cursor["restamped"]
        if not cursor.get("again"):
            believed_until = from_text(job.params["changed_at"]) + MAX_AGE + timedelta(seconds=5)
            left = (believed_until - self._now()).total_seconds()
            again = {"phase": "classes", "restamped": done, "again": True}
            delay = max(0, int(left) + 1)
            return Progress(again, done=done, total=done, finished=False, delay_seconds=delay)
        result = {"restamped": done}
        return Progress(cursor, done=done, total=done, finished=True, result=result)

    def _reclassify(self, tenant: TenantId, days: int) -> None:
        now = self._now()
        first = now - timedelta(days=max(days, _COUNTED_DAYS) + 1)
        for level in (Level.DAY, Level.HOUR):
            last = bucket(level, now + timedelta(days=1))
            self._counts.reclassify(tenant, level, bucket(level, first), last, days)

    def _recount(
        self,
        job: Job,
        cursor: dict[str, Any],
        retention: timedelta,
        earlier: timedelta,
        deadline: datetime,
    ) -> dict[str, Any]:
        """Day by day through the time that the old retention had hidden."""
        now = self._now()
        since, until = now - retention, from_text(job.params["changed_at"]) - earlier
        day = max(from_text(cursor["day"] + "T00:00:00+00:00"), since)
        while day < until and self._now() < deadline:
            end = min(
                day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1), until
            )
            if not self.recount(job.tenant_id, day, end):
                return {**cursor, "day": to_text(day)[:10]}
            day = end
        if day < until:
            return {**cursor, "day": to_text(day)[:10]}
        return {**cursor, "phase": "restamp", "shard": 0, "above": ""}

    def recount(self, tenant: TenantId, since: datetime, until: datetime) -> bool:
        """Make every whole minute between count what is stored. False if one was counted on
        meanwhile: then once more."""
        since = since.replace(second=0, microsecond=0)
        until = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
        actual: dict[Bucket, Counter[str]] = {}
        for shard in range(self._upkeep.shards):
            above: str | None = to_text(since)
            while above is not None:
                found, above = self._upkeep.oldest(
                    tenant, shard, above=above, until=until - timedelta(microseconds=1), limit=_PAGE
                )
                for stored in found:
                    minute = Bucket(stored.entry.timestamp_text[: len("2026-11-23T08:30")])
                    name = f"{stored.entry.severity}|{stored.entry.event_type}"
                    actual.setdefault(minute, Counter())[name] += 1
        first = bucket(Level.MINUTE, since)
        last = bucket(Level.MINUTE, until - timedelta(minutes=1))
        counted = dict(self._counts.minutes(tenant, first, last))
        return all(
            self._counts.correct(tenant, minute, actual.get(minute, Counter()))
            for minute in {*actual, *counted}
            if actual.get(minute, Counter()) != counted.get(minute, Counter())
        )

    def _restamp(
        self, tenant: TenantId, cursor: dict[str, Any], retention: timedelta, deadline: datetime
    ) -> dict[str, Any]:
        shard, above, restamped = cursor["shard"], cursor["above"], cursor["restamped"]
        while shard < self._upkeep.shards and self._now() < deadline:
            found, above = self._upkeep.oldest(
                tenant, shard, above=above or "", until=self._now() + timedelta(days=1), limit=_PAGE
            )
            wanted = [
                (s.entry, kept_until(s.entry.position, retention, self._keeping.floor))
                for s in found
            ]
            restamped += self._upkeep.restamp(
                [
                    (entry, until)
                    for (entry, until), stored in zip(wanted, found, strict=True)
                    if stored.expires_at < until
                ]
            )
            if above is None:
                shard, above = shard + 1, ""
        phase = "restamp" if shard < self._upkeep.shards else "done"
        return {**cursor, "phase": phase, "shard": shard, "above": above, "restamped": restamped}
