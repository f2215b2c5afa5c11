"""The hourly run: closed hours into the archive, and a metric of how far behind it is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from aetherlink.platform.metrics import measure
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.archive.model import Report
    from aetherlink.archive.service import Archive

# The function's timeout is 300 s; the rest is for the hour that is under way at the deadline.
TIME = timedelta(seconds=200)


class Keeper:
    def __init__(self, archive: Archive, *, stage: str, now: Callable[[], datetime]) -> None:
        self._archive = archive
        self._stage = stage
        self._now = now

    def run(self) -> Report:
        now = self._now()
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
