"""The hourly run: closed hours into the archive, and a metric of how far behind it is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.archive.model import SETTLING, Mark
from aetherlink.platform.metrics import measure
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from aetherlink.archive.model import Report
    from aetherlink.archive.service import Archive
    from aetherlink.kernel.tenancy import TenantId

# The function's timeout is 300 s; the rest is for the hour that is under way at the deadline.
TIME = timedelta(seconds=200)


class Marks(Protocol):
    def unlisted(self, tenants: Iterable[TenantId]) -> list[TenantId]: ...
    def enlist(self, tenant: TenantId) -> None: ...
    def mark_all(self, marks: Iterable[Mark]) -> None: ...


class Hours(Protocol):
    def hours(self, tenant: TenantId) -> list[str]: ...


class Tenants(Protocol):
    def tenants(self) -> list[TenantId]: ...


class Keeper:
    def __init__(
        self,
        archive: Archive,
        marks: Marks,
        hours: Hours,
        tenants: Tenants,
        *,
        stage: str,
        now: Callable[[], datetime],
    ) -> None:
        self._archive = archive
        self._marks = marks
        self._hours = hours
        self._tenants = tenants
        self._stage = stage
        self._now = now

    def run(self) -> Report:
        now = self._now()
        if self._archive.is_on:
            self._mark_earlier(now)
        report = self._archive.archive_due(now, now + TIME)
        for failure in report.failures:
            logger.warning("hour not archived", **asdict(failure))
        logger.info(
            "archived",
            hours=report.hours,
            events=report.events,
            waiting=report.waiting,
            behind_hours=report.behind_hours,
            prolonged=report.prolonged,
        )
        measure("ArchiveBehindHours", report.behind_hours, stage=self._stage, now=now)
        return report

    def _mark_earlier(self, now: datetime) -> None:
        """Events from before the archive was turned on are nobody's news: mark every hour that
        counts some, once for each tenant."""
        for tenant in self._marks.unlisted(self._tenants.tenants()):
            if self._now() >= now + TIME / 4:
                return
            settled = now - SETTLING - timedelta(seconds=1)
            self._marks.mark_all(
                Mark(tenant, hour, settled, settled) for hour in self._hours.hours(tenant)
            )
            self._marks.enlist(tenant)
