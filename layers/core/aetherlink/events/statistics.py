"""How many events there are, by severity and by type, from the journal's counts."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from aetherlink.events.counts import by_part
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.events.keeping import Keeping
    from aetherlink.kernel.tenancy import TenantId

_DAY = timedelta(days=1)
# Beyond this since the last arrival nothing can be on its way: the relay takes seconds.
_IDLE = timedelta(minutes=1)


class Stats(Shape):
    """Events that are shown now; `last_24h` and the beginning are exact to the minute."""

    status: Literal["ok"] = "ok"
    total: int
    last_24h: int
    by_severity: dict[str, int]
    by_type: dict[str, int]
    as_of: str


class Counts(Protocol):
    def of_tenant(self, tenant: TenantId, since: datetime, until: datetime) -> Counter[str]: ...
    def of_class(self, days: int, since: datetime, until: datetime) -> Counter[str]: ...
    def classes(self) -> list[int]: ...
    def newest_arrivals(self) -> tuple[datetime, datetime] | None: ...


class Statistics:
    def __init__(self, counts: Counts, keeping: Keeping, now: Callable[[], datetime]) -> None:
        self._counts = counts
        self._keeping = keeping
        self._now = now

    def of(self, view: TenantId | None) -> Stats:
        """Of a tenant and the platform, whose events it sees too; of everybody for None."""
        now = self._now()
        total, last_day = self._everybody(now) if view is None else self._tenant(view, now)
        return Stats(
            total=total.total(),
            last_24h=last_day.total(),
            by_severity=by_part(total, 0),
            by_type=by_part(total, 1),
            as_of=to_text(now - self._behind(now)),
        )

    def _tenant(self, view: TenantId, now: datetime) -> tuple[Counter[str], Counter[str]]:
        total, last_day = Counter[str](), Counter[str]()
        retentions = {
            SYSTEM: self._keeping.default,
            view: self._keeping.term(view).retention,
        }
        for tenant, retention in retentions.items():
            total += self._counts.of_tenant(tenant, now - retention, now)
            last_day += self._counts.of_tenant(tenant, now - min(retention, _DAY), now)
        return total, last_day

    def _everybody(self, now: datetime) -> tuple[Counter[str], Counter[str]]:
        """One sum for each retention that tenants have, however many tenants have it."""
        total, last_day = Counter[str](), Counter[str]()
        for days in self._counts.classes():
            total += self._counts.of_class(days, now - timedelta(days=days), now)
            last_day += self._counts.of_class(days, now - _DAY, now)
        return total, last_day

    def _behind(self, now: datetime) -> timedelta:
        """How long the last events took to be counted; nothing, if all is quiet."""
        newest = self._counts.newest_arrivals()
        if newest is None or now - newest[0] > _IDLE:
            return timedelta()
        written, received = newest
        return max(written - received, timedelta())
