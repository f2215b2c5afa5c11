"""The archive: closed hours go in, nothing expires before it is in, and people look and ask for more.

While the storage fails, what waits is kept in the table by a later expiry, however long that takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.archive.model import (
    BEHIND,
    CLOSING,
    PROLONGED,
    SETTLING,
    DamagedError,
    Failure,
    Listed,
    Report,
    end_of,
    hour_of,
    start_of,
)
from aetherlink.archive.store import place_of
from aetherlink.events.model import Severity, announce
from aetherlink.events.stops import stop_in
from aetherlink.kernel.errors import ConflictError, UnavailableError
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, TENANT_PATTERN
from aetherlink.kernel.time import to_text
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aetherlink.archive.filing import Filing
    from aetherlink.archive.model import Manifest, Mark, Range, Restore
    from aetherlink.events.model import Entry, Event
    from aetherlink.jobs.model import Job
    from aetherlink.jobs.service import Starter
    from aetherlink.kernel.tenancy import Caller, TenantId

SOURCE = "aether-command-center"
VERIFY = "archive.verify"
RESTORE = "archive.restore"
OFF = "The archive is off; deploy with ArchiveEnabled=true to use it"
# So many failures in a row are the storage's, not one hour's: the run's time is needed elsewhere.
_MAX_FAILURES_IN_A_ROW = 3
_TOP = "~"
# What `place_of` makes of a manifest.
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d", re.ASCII)
_HOUR_OF_TENANT = re.compile(f"{_HOUR.pattern}#{TENANT_PATTERN.pattern}", re.ASCII)
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
_BEFORE_EVERY_HOUR = "0000"
_SECURING = timedelta(seconds=10)


class Due(Protocol):
    def closed(self, now: datetime) -> list[Mark]: ...
    def marked(self, tenant_id: TenantId, first: str, last: str) -> set[str]: ...
    def remove(self, mark: Mark) -> bool: ...
    def renew(self, mark: Mark, waiting_since: datetime) -> None: ...


class Catalogue(Protocol):
    def page(
        self, view: TenantId | None, *, first: str, below: str, limit: int
    ) -> tuple[list[Manifest], bool]: ...


class Kept(Protocol):
    """What keeping unarchived events needs of the events table."""

    def add(self, event: Event) -> Event | None: ...
    def expiring_between(
        self, tenant_id: TenantId, since: datetime, until: datetime, *, before: datetime
    ) -> Iterator[Entry]: ...
    def keep_until(self, entry: Entry, instant: datetime) -> bool: ...


@dataclass
class _Run:
    """What a run has come to so far."""

    now: datetime
    hours: int = 0
    events: int = 0
    prolonged: int = 0
    failures: list[Failure] = field(default_factory=list)
    left: list[Mark] = field(default_factory=list)

    def failed(self, mark: Mark, error: Exception) -> None:
        # A stranger's exception may quote anything; its kind is enough.
        is_ours = isinstance(error, UnavailableError)
        sentence = str(error) if is_ours else f"{type(error).__name__}: {error}"[:300]
        self.failures.append(Failure(mark.tenant_id, mark.hour, sentence))

    def report(self) -> Report:
        return Report(
            hours=self.hours,
            events=self.events,
            failures=tuple(self.failures),
            waiting=len(self.left),
            behind_hours=max((mark.hours_waiting(self.now) for mark in self.left), default=0),
            prolonged=self.prolonged,
        )


class Archive:
    """`filing` is None where the archive is off; then there is nothing to do and nothing to see."""

    def __init__(
        self,
        events: Kept,
        due: Due,
        manifests: Catalogue,
        filing: Filing | None,
        jobs: Starter,
        *,
        directory: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._due = due
        self._manifests = manifests
        self._filing = filing
        self._jobs = jobs
        self._directory = directory
        self._now = now

    @property
    def is_on(self) -> bool:
        return self._filing is not None

    def archive_due(
        self, now: datetime, deadline: datetime, tenant: TenantId | None = None
    ) -> Report:
        """Archive the hours that are closed, of one tenant or of all, oldest first.

        An hour that fails is in the report and holds up no other. What is not done by the deadline
        stays marked; what has waited for a day is kept longer, and said so once a day.
        """
        if self._filing is None:
            return Report()
        marks = [
            m for m in self._due.closed(now) if tenant in (None, m.tenant_id) and m.is_due(now)
        ]
        run = _Run(now)
        # What is in danger needs a share of the time, should the archive not take it.
        share = (deadline - now) / 3 if any(m.is_behind(now) for m in marks) else timedelta(0)
        self._file(self._filing, marks, run, deadline - share)
        behind = [mark for mark in run.left if mark.is_behind(now)]
        self._prolong(behind, run, deadline)
        self._complain(behind, run)
        return run.report()

    def unarchived(self, tenant_id: TenantId, hours: Iterable[str]) -> set[str]:
        """Those of the tenant's hours with events that the archive does not have; none if it is off.

        An event counts from when the relay has seen it, a second or two after it was stored."""
        wanted = set(hours)
        if self._filing is None or not wanted:
            return set()
        return wanted & self._due.marked(tenant_id, min(wanted), max(wanted))

    def secure(self, tenant_id: TenantId, entries: Sequence[Entry]) -> list[Entry]:
        """Put events of one hour that are about to be removed into the archive; those that are in it
        come back. None, while the storage does not take them."""
        if self._filing is None:
            return list(entries)
        now, hour = self._now(), entries[0].hour
        arrived = max(entry.received_text for entry in entries)
        # The relay has marked by now whatever of it is not archived; but for what was stored before
        # the archive was turned on, of which there is no manifest.
        is_old = arrived < to_text(now - SETTLING - CLOSING)
        if is_old and self._filing.has(tenant_id, hour) and not self.unarchived(tenant_id, [hour]):
            return list(entries)
        try:
            self._filing.file(tenant_id, hour, now + _SECURING)
            known = self._filing.holding(tenant_id, hour)
        except (UnavailableError, DamagedError) as error:
            logger.warning("not archived, hence not removed", hour=hour, error=str(error))
            return []
        return [entry for entry in entries if entry.position in known]

    def listed(
        self,
        view: TenantId | None,
        *,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Listed:
        """The archived hours that `view` sees (None: every tenant's), newest first."""
        question = ("archive", view or "*", *(to_text(t) if t else "" for t in (since, until)))
        shape = _HOUR if view else _HOUR_OF_TENANT
        below = stop_in(cursor, shape, *question) if cursor else _TOP
        if until:
            below = min(below, _last_hour(until) + _TOP)
        found: list[Manifest] = []
        more = False
        if self._filing is not None:
            first = hour_of(since) if since else "0"
            found, more = self._manifests.page(view, first=first, below=below, limit=limit)
        return Listed(
            archive_enabled=self._filing is not None,
            archive_dir=self._directory,
            count=len(found),
            objects=[{**manifest.body(), "key": manifest.key} for manifest in found],
            next_cursor=encode_cursor(place_of(view, found[-1]), *question) if more else None,
        )

    def verify(self, caller: Caller, wanted: Range) -> Job:
        """A job that compares what is archived of a time with its manifests."""
        view = caller.reads(wanted.tenant_id)
        self._require()
        caller.trail.tenant_id = view or SYSTEM
        return self._start(caller, VERIFY, view or SYSTEM, _params(view, wanted))

    def restore(self, caller: Caller, wanted: Restore) -> Job:
        """A job that puts one tenant's archived events of a time back for some days."""
        tenant = caller.writes(wanted.tenant_id)
        self._require()
        until = self._now() + timedelta(days=wanted.keep_days)
        params = {**_params(tenant, wanted), "restored_until": to_text(until)}
        return self._start(caller, RESTORE, tenant, params)

    def _start(self, caller: Caller, kind: str, tenant: TenantId, params: dict[str, Any]) -> Job:
        job = self._jobs.start(caller, kind, tenant, params, 0)
        caller.trail.changed(f"job/{job.id}", after={"kind": kind, **params})
        return job

    def _require(self) -> None:
        if self._filing is None:
            raise ConflictError(OFF)

    def _file(self, filing: Filing, marks: list[Mark], run: _Run, deadline: datetime) -> None:
        in_a_row = 0
        for mark in marks:
            if self._now() >= deadline or in_a_row >= _MAX_FAILURES_IN_A_ROW:
                run.left.append(mark)
                continue
            try:
                in_a_row, is_done = 0, self._one(filing, mark, run, deadline)
            except Exception as error:  # noqa: BLE001 - one hour of many; reported, and tried again
                in_a_row += 1 if isinstance(error, UnavailableError) else 0
                run.failed(mark, error)
                is_done = False
            if not is_done:
                run.left.append(mark)

    def _one(self, filing: Filing, mark: Mark, run: _Run, deadline: datetime) -> bool:
        started = self._now()
        filed = filing.file(mark.tenant_id, mark.hour, deadline)
        run.events += filed.events
        if not filed.finished:
            return False
        run.hours += 1
        if not (mark.is_settled(run.now) and self._due.remove(mark)):
            # More is coming in: what was received until shortly before the reading is archived.
            self._due.renew(mark, started - SETTLING)
        return True

    def _prolong(self, behind: list[Mark], run: _Run, deadline: datetime) -> None:
        """Keep what waits. Only what would go within a day, so that a run does not do over and over
        what the last one did, and comes to the end."""
        soon, later = run.now + BEHIND, run.now + PROLONGED
        for mark in behind:
            try:
                for entry in self._events.expiring_between(
                    mark.tenant_id, start_of(mark.hour), end_of(mark.hour), before=soon
                ):
                    run.prolonged += self._events.keep_until(entry, later)
                    if self._now() >= deadline:
                        return
            except Exception as error:  # noqa: BLE001 - one hour of many; reported, and tried again
                run.failed(mark, error)

    def _complain(self, behind: list[Mark], run: _Run) -> None:
        """One event for each tenant that is behind, and day."""
        tenants: dict[TenantId, list[Mark]] = {}
        for mark in behind:
            tenants.setdefault(mark.tenant_id, []).append(mark)
        for tenant, marks in tenants.items():
            try:
                self._events.add(_failed(tenant, marks, run))
            except Exception as error:  # noqa: BLE001 - one tenant of many; the next run says it
                run.failed(marks[0], error)


def _failed(tenant: TenantId, marks: list[Mark], run: _Run) -> Event:
    # The tenant's own trouble if there is one, else what stopped the run before its turn.
    errors = sorted(run.failures, key=lambda failure: failure.tenant_id != tenant)
    oldest = min(marks, key=lambda mark: mark.waiting_since)
    payload: dict[str, Any] = {
        "tenant": tenant,
        "oldest_hour": min(mark.hour for mark in marks),
        "hours_behind": oldest.hours_waiting(run.now),
        "waiting": len(marks),
        "error": errors[0].error if errors else "There are more hours than the runs have time for",
    }
    return announce(
        "ops.archive.failed",
        source=SOURCE,
        tenant_id=tenant,
        payload=payload,
        now=run.now,
        event_id=f"archive-failed-{tenant}-{run.now:%Y-%m-%d}",
        severity=Severity.ERROR,
    )


def _last_hour(until: datetime) -> str:
    """The last hour with instants before `until`; of the first instant there is, none that exists."""
    if until == _FIRST_INSTANT:
        return _BEFORE_EVERY_HOUR
    return hour_of(until - timedelta(microseconds=1))


def _params(view: TenantId | None, wanted: Range) -> dict[str, Any]:
    return {
        "tenant_id": view,
        "since": to_text(wanted.since),
        "until": to_text(wanted.until),
        "first": hour_of(wanted.since),
        "last": _last_hour(wanted.until),
    }
