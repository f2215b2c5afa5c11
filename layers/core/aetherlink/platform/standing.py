"""What a tenant's record says of its requests: how many, and whether any still.

    control    pk  <tenant>#tenant    sk  record    state, limits {requests_per_minute, ai_usd_per_day,
                                                    ai_cache_seconds}

Believed for 30 seconds in each process, also that there is no record: a tenant needs none. (A change
of a limit, and an offboarding, take that long to be everywhere.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aetherlink.kernel.errors import UnavailableError
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any, Protocol

    class Records(Protocol):
        def get(self, pk: str, sk: str) -> dict[str, Any] | None: ...


MAX_AGE = timedelta(seconds=30)
# After a read that failed: a request in this time does not wait for the same timeout again.
_RETRY_AFTER = timedelta(seconds=5)
# Tenants remembered in one process at most: a few MB.
_MAX_KNOWN = 20_000


@dataclass(frozen=True)
class Standing:
    """`requests_per_minute` None: no limit of its own; 0: none at all. `is_known` False: the record could
    not be read, and these are what holds for anybody."""

    requests_per_minute: int | None = None
    ai_usd_per_day: float | None = None
    ai_cache_seconds: int = 0
    is_known: bool = True
    is_leaving: bool = False
    has_left: bool = False


@dataclass(frozen=True)
class _Known:
    standing: Standing
    until: datetime


class Standings:
    def __init__(self, records: Records, now: Callable[[], datetime]) -> None:
        self._records = records
        self._now = now
        # In the order in which they were read.
        self._known: dict[str, _Known] = {}

    def of(self, tenant: str) -> Standing:
        now = self._now()
        known = self._known.get(tenant)
        if known and now < known.until:
            return known.standing
        known = self._read(tenant, known, now)
        self._known.pop(tenant, None)
        if len(self._known) >= _MAX_KNOWN:
            self._known.pop(next(iter(self._known)), None)
        self._known[tenant] = known
        return known.standing

    def _read(self, tenant: str, last: _Known | None, now: datetime) -> _Known:
        """As the record says; as it last said, or as of any tenant, if it cannot be read.

        That lets requests in which a limit would have kept out, or those of a tenant that is leaving.
        A limit guards against load and no secret, and whoever has left has no credential any more;
        keeping everybody out because of one read that failed would be the worse outage.
        """
        try:
            return _Known(_standing(self._records.get(f"{tenant}#tenant", "record")), now + MAX_AGE)
        except UnavailableError as error:
            logger.warning("tenant's limits not read", tenant_id=tenant, reason=str(error))
            known = last or _Known(Standing(is_known=False), now)
            return replace(known, until=now + _RETRY_AFTER)

    def forget(self) -> None:
        self._known.clear()


def _standing(record: dict[str, Any] | None) -> Standing:
    if record is None:
        return Standing()
    state = record.get("state")
    limits = record.get("limits") or {}
    return Standing(
        requests_per_minute=limits.get("requests_per_minute"),
        ai_usd_per_day=limits.get("ai_usd_per_day"),
        ai_cache_seconds=limits.get("ai_cache_seconds") or 0,
        is_leaving=state == "offboarding",
        has_left=state == "removed",
    )
