"""Chains what was appended: at once by the table's stream, and by the minute what that did not bring.

Writers only append; this is the one place that orders. Any number of sealers may run at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from aetherlink.audit.model import DAY, DENY, day_after, day_of, days_of, record_of
from aetherlink.audit.sealing import (
    MAX_ENTRIES,
    Head,
    Raw,
    Seal,
    head_after,
    link_to,
    next_seal,
)
from aetherlink.audit.violation import WINDOW, violations
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import from_item
from aetherlink.platform.metrics import measure
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from aetherlink.audit.store import Indexed
    from aetherlink.events.model import Event

# The function's timeout is 55 s; the rest is for what is under way at the deadline.
TIME = timedelta(seconds=40)
# How long a record may take from its `at` to being seen in the index.
OVERLAP = timedelta(minutes=10)
# By how much the clocks of whoever appends and of who seals may differ.
SKEW = timedelta(minutes=5)
# Where there is no watermark, as on the first day.
_BEGINNING = timedelta(days=1)
_ATTEMPTS = 6
_PAGE = 1_000
_MAX_INDEXED = 10_000
_INSTANT = len("2026-11-23T08:30:00.000000Z")


class Chains(Protocol):
    """What sealing needs of its storage."""

    def records(self, tenant: TenantId, day: str, since: str) -> Iterator[Raw]: ...
    def indexed(self, day: str, since: str, *, limit: int) -> tuple[list[Indexed], str | None]: ...
    def seal(self, tenant: TenantId, day: str, seq: int) -> Seal | None: ...
    def sealed_since(self, tenant: TenantId, day: str, since: str) -> set[str]: ...
    def head(self, tenant: TenantId, day: str) -> tuple[Head | None, bool]: ...
    def head_before(self, tenant: TenantId, day: str) -> Head | None: ...
    def commit(self, seal: Seal, head: Head, earlier: Head | None) -> bool: ...
    def watermark(self) -> datetime | None: ...
    def set_watermark(self, at: datetime) -> None: ...


class Announcing(Protocol):
    """The events table."""

    def add(self, event: Event) -> Event | None: ...


@dataclass(frozen=True)
class Delivered:
    """A stream record: what became of which item. `expires_at` is the old item's, 0 if it had none."""

    name: Literal["INSERT", "MODIFY", "REMOVE"]
    pk: str
    sk: str
    expires_at: int = 0


@dataclass
class Outcome:
    """`sealed` counts records, `altered` what should never have happened."""

    sealed: int = 0
    altered: int = 0
    failed: int = 0


class Sealer:
    def __init__(
        self, chains: Chains, events: Announcing, now: Callable[[], datetime], *, stage: str
    ) -> None:
        self._chains = chains
        self._events = events
        self._now = now
        self._stage = stage

    def take(self, delivered: Iterable[Delivered]) -> Outcome:
        """Seal what a batch of the stream brought. Never raises: a batch that fails comes again for
        ever on some clouds, and the schedule seals what is left."""
        outcome, deadline = Outcome(), self._now() + TIME
        first: dict[tuple[TenantId, str], str] = {}
        for record in delivered:
            if record.name != "INSERT":
                self._report(record, outcome)
            elif place := _place(record):
                first[place] = min(first.get(place, record.sk), record.sk)
        for (tenant, day), sk in first.items():
            self._attempt(tenant, day, sk, deadline, outcome)
        return outcome

    def sweep(self) -> Outcome:
        """Seal what the stream did not bring, since the watermark and somewhat before it."""
        outcome, started = Outcome(), self._now()
        deadline = started + TIME
        since = (self._chains.watermark() or started - _BEGINNING) - OVERLAP
        found, reached = self._unseen(since, started)
        for (tenant, day), sk in found.items():
            self._attempt(tenant, day, sk, deadline, outcome)
        if not outcome.failed and self._now() < deadline:
            self._chains.set_watermark(reached)
        return outcome

    def _unseen(
        self, since: datetime, until: datetime
    ) -> tuple[dict[tuple[TenantId, str], str], datetime]:
        """The first record of each tenant and day since then, and up to when that is complete."""
        first: dict[tuple[TenantId, str], str] = {}
        read = 0
        for day in days_of(day_of(since), day_of(until)):
            place: str | None = to_text(since)
            while place:
                page, following = self._chains.indexed(day, place, limit=_PAGE)
                for record in page:
                    key = (record.tenant, day)
                    first[key] = min(first.get(key, record.sk), record.sk)
                read += len(page)
                if following and read >= _MAX_INDEXED:
                    # The rest is for the next run, which begins where this one ends.
                    return first, max(since, _instant_of(following) or since) + OVERLAP
                place = following
        return first, until

    def _attempt(
        self, tenant: TenantId, day: str, since: str, deadline: datetime, outcome: Outcome
    ) -> None:
        if self._now() >= deadline:
            outcome.failed += 1
            return
        try:
            self._seal(tenant, day, since, deadline, outcome)
        except Exception:  # noqa: BLE001 - one tenant of many; the next run takes it up
            outcome.failed += 1
            logger.exception("audit not sealed", tenant=tenant, day=day)

    def _seal(
        self, tenant: TenantId, day: str, since: str, deadline: datetime, outcome: Outcome
    ) -> None:
        """Seal the records of a day from `since` on that are not sealed."""
        for _ in range(_ATTEMPTS):
            # In this order: whoever seals one of these records after the head was read moves the
            # head on, and then ours is refused.
            head, is_exact = self._chains.head(tenant, day)
            known = self._chains.sealed_since(tenant, day, _before(since, day))
            records = list(self._chains.records(tenant, day, since))
            waiting = [record for record in records if record["sk"]["S"] not in known]
            if waiting and not is_exact:
                self._alter("audit head altered", outcome, tenant=tenant, day=day)
                if head is None:
                    # Nothing to chain on. The records stay unsealed, and verify says so.
                    return
            done, is_beaten = self._extend(tenant, day, waiting, head, deadline)
            outcome.sealed += done
            if not is_beaten:
                outcome.failed += done < len(waiting)
                if any(_is_denial(record) for record in records):
                    self._watch(tenant, since)
                return
        self._complain(tenant, day, outcome)

    def _extend(
        self,
        tenant: TenantId,
        day: str,
        waiting: Sequence[Raw],
        head: Head | None,
        deadline: datetime,
    ) -> tuple[int, bool]:
        """Add seals after `head`; how many records they hold, and whether somebody else was faster."""
        done = 0
        for start in range(0, len(waiting), MAX_ENTRIES):
            if self._now() >= deadline:
                break
            records = waiting[start : start + MAX_ENTRIES]
            link = link_to(self._chains.head_before(tenant, day)) if head is None else None
            seal = next_seal(tenant, day, records, head=head, link=link, now=self._now())
            following = head_after(seal)
            if not self._chains.commit(seal, following, head):
                return done, True
            head = following
            done += len(records)
            # A third place for the head, beside the two tables.
            logger.info(
                "audit sealed", tenant=tenant, day=day, seals=head.seals, count=head.count,
                hash=head.hash,
            )  # fmt: skip
        return done, False

    def _complain(self, tenant: TenantId, day: str, outcome: Outcome) -> None:
        """Others were faster each time; or the chain is not what its head says, and nothing fits."""
        head, _exact = self._chains.head(tenant, day)
        following = head.seals + 1 if head else 1
        if self._chains.seal(tenant, day, following) is None:
            outcome.failed += 1
            logger.warning("audit chain is contended", tenant=tenant, day=day)
            return
        # Nothing that another run could mend: the record stays unsealed, and verify says so.
        self._alter("audit chain is broken", outcome, tenant=tenant, day=day, seal=following)

    def _report(self, record: Delivered, outcome: Outcome) -> None:
        if record.name == "REMOVE" and 0 < record.expires_at <= self._now().timestamp():
            return
        message = "audit item removed" if record.name == "REMOVE" else "audit item altered"
        self._alter(message, outcome, pk=record.pk, sk=record.sk)

    def _alter(self, message: str, outcome: Outcome, **fields: object) -> None:
        outcome.altered += 1
        logger.error(message, extra=fields)
        measure("AuditAltered", 1, stage=self._stage, now=self._now(), unit="Count")

    def _watch(self, tenant: TenantId, since: str) -> None:
        """Announce who was denied again and again since then."""
        start = to_text((_instant_of(since) or self._now()) - WINDOW)
        days = dict.fromkeys((start[:DAY], since[:DAY]))
        found = [
            record_of(from_item(raw))
            for day in days
            for raw in self._chains.records(tenant, day, start)
        ]
        for violation in violations(found):
            self._events.add(violation.event(self._now()))


def _place(record: Delivered) -> tuple[TenantId, str] | None:
    """Whose record of which day it is; None for a seal, and for what somebody wrote by hand."""
    tenant, _, day = record.pk.partition("#")
    return (TenantId(tenant), day) if _is_day(day) else None


def _is_denial(record: Raw) -> bool:
    return bool(record.get("decision", {}).get("S") == DENY)


def _is_day(text: str) -> bool:
    try:
        return len(text) == DAY and day_after(text, 0) == text
    except ValueError:
        return False


def _instant_of(sk: str) -> datetime | None:
    try:
        instant = from_text(sk[:_INSTANT])
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def _before(since: str, day: str) -> str:
    """When a record from `since` on can have been sealed at the earliest."""
    instant = _instant_of(since)
    return to_text(instant - SKEW) if instant else day
