"""The records of the audit as people read them, newest first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.audit.model import (
    DAY,
    MAX_DAYS,
    Record,
    Records,
    Wanted,
    day_after,
    day_of,
    record_of,
)
from aetherlink.audit.store import place_of
from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId

MAX_EXAMINED = 1_000
# An answer may have 4 MB in all (contract); the rest is for the envelope.
MAX_ANSWER_BYTES = 3_500_000
_PAGE = 200
# Partitions that one call looks into, most of which may be empty.
_MAX_DAYS_A_CALL = 60
_TOP = "~"


class Journal(Protocol):
    def newest(
        self, view: TenantId | None, day: str, *, floor: str, ceiling: str, limit: int
    ) -> tuple[list[dict[str, Any]], bool]: ...
    def sealed_day_before(self, view: TenantId | None, day: str) -> str | None: ...


@dataclass
class _Shown:
    limit: int
    records: list[Record] = field(default_factory=list)
    examined: int = 0
    size: int = 0
    days: int = 0

    @property
    def has_room(self) -> bool:
        return (
            len(self.records) < self.limit
            and self.examined < MAX_EXAMINED
            and self.size < MAX_ANSWER_BYTES
            and self.days < _MAX_DAYS_A_CALL
        )


class Reading:
    def __init__(
        self, journal: Journal, now: Callable[[], datetime], *, retention_days: int
    ) -> None:
        self._journal = journal
        self._now = now
        self._retention_days = retention_days

    def records(
        self, view: TenantId | None, wanted: Wanted, *, limit: int, cursor: str | None
    ) -> Records:
        """A page of records; `view` None is every tenant's. A call examines at most 1,000."""
        now = self._now()
        question = (view or "*", *wanted.question())
        oldest = day_after(day_of(now), -self._retention_days)
        floor = max(to_text(wanted.since) if wanted.since else oldest, oldest)
        top = _place(cursor, question) if cursor else f"{day_after(day_of(now))}{_TOP}"
        if wanted.until:
            top = min(top, to_text(wanted.until) + _TOP)
        shown = _Shown(limit)
        going_on: str | None = top
        while going_on and going_on > floor and shown.has_room:
            going_on = self._read_day(view, wanted, floor, going_on, shown)
        return Records(
            count=len(shown.records),
            events=shown.records,
            next_cursor=encode_cursor(going_on, *question)
            if going_on and going_on > floor
            else None,
        )

    def _read_day(
        self, view: TenantId | None, wanted: Wanted, floor: str, below: str, shown: _Shown
    ) -> str | None:
        """Read what is below a place in its day; where to go on, None at the end."""
        day, now = below[:DAY], self._now().timestamp()
        shown.days += 1
        more = True
        while more:
            items, more = self._journal.newest(
                view, day, floor=max(floor, day), ceiling=below, limit=_PAGE
            )
            # The range has its ends in it.
            for item in (one for one in items if place_of(view, one) != below):
                if not shown.has_room:
                    return below
                below = place_of(view, item)
                shown.examined += 1
                record = record_of(item)
                if wanted.fits(record) and not _is_past(item, now):
                    shown.records.append(record)
                    shown.size += len(str(item.get("changes", ""))) * 2 + 1_000
        return self._day_before(view, day, floor)

    def _day_before(self, view: TenantId | None, day: str, floor: str) -> str | None:
        """The top of the next older day with records. The last month is looked at day by day; of what
        is older, the days that have a head: a day without a record costs nothing there."""
        before = day_after(day, -1)
        if before < day_after(day_of(self._now()), -MAX_DAYS):
            sealed = self._journal.sealed_day_before(view, day)
            before = sealed or ""
        return f"{before}{_TOP}" if before >= floor[:DAY] else None


def _place(cursor: str, question: tuple[str, ...]) -> str:
    place = decode_cursor(cursor, *question)
    try:
        day_after(place[:DAY], 0)
    except ValueError as error:
        raise InvalidError("This cursor was changed; start without one") from error
    return place


def _is_past(item: dict[str, Any], now: float) -> bool:
    expires_at = item.get("expires_at")
    return isinstance(expires_at, (int, float)) and expires_at <= now
