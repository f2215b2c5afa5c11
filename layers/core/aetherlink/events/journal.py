"""The relay's book: which events arrived, in which order, and how many there are of what.

projections  pk  <tenant>#seen#<minute>    sk  <page>             digests of the events counted in it
             pk  <tenant>#counts           sk  <level>#<bucket>   <severity>|<type>: n, …; retention_days
             pk  *#counts#<days>           sk  <level>#<bucket>   the same over all tenants whose
                                                                  retention is <days>, its class
             pk  *#counts                  sk  <days>             which of those there are
             pk  *#tenants                 sk  <tenant>           everyone who ever had an event
             pk  <tenant>#arrivals         sk  <page number>      refs: [[position, tenant, …], …]
             pk  *#arrivals                sk  <page number>      the same over all tenants

An event is entered once, whatever comes again: the page of digests that lacked it, the counts and
the pages of arrivals are written in one transaction, which fails if somebody else has written that
page of digests meanwhile. Page n + 1 of arrivals is only written after page n, and by one writer.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.events.counts import Bucket, Level, begins, bucket, count
from aetherlink.events.model import is_shown
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.ids import digest
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.dynamo import ConditionFailedError, ContendedError, Item, Table, transact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from aetherlink.events.keeping import Keeping
    from aetherlink.events.model import Event

# A stream record can come again for a day, and from the queue aside for 14 days.
SEEN_KEPT = timedelta(days=16)
ARRIVALS_KEPT = timedelta(hours=25)
# A guess of the last page is no good any more when its page may have gone.
_GUESS_KEPT = timedelta(minutes=10)
# Counts outlive the retention by this much, and longer than most policies are: one that is
# lengthened finds them.
COUNTS_KEPT = timedelta(days=400)
# Eight bytes each: a page of digests costs at most some five write units.
_PAGE_DIGESTS = 512
_DIGEST_BYTES = 8
# The emulators take no more in a transaction (AWS: 100).
MAX_TRANSACTION = 25
_BATCH_GET = 100
_ATTEMPTS = 12
ALL = "*"


@dataclass
class _Group:
    """Events of one tenant and minute that may be new, and the page that is to name them."""

    tenant: TenantId
    minute: Bucket
    events: list[Event]
    known: set[bytes] = field(default_factory=set)
    page: int = 0
    digests: bytes = b""

    @property
    def partition(self) -> str:
        return f"{self.tenant}#seen#{self.minute}"


class Journal:
    def __init__(
        self,
        table: Table,
        keeping: Keeping,
        now: Callable[[], datetime],
        *,
        sleep: Callable[[float], None] = time.sleep,
        write: Callable[[list[Item]], None] = transact,
    ) -> None:
        self._table = table
        self._keeping = keeping
        self._now = now
        self._sleep = sleep
        self._write = write
        # The last page of arrivals by scope. Only a guess: the transaction finds out.
        self._last: dict[str, tuple[int, datetime]] = {}
        self._listed: set[str] = set()

    def enter(self, events: Sequence[Event]) -> list[Event]:
        """Enter the events that are not in it yet; those come back. One that came back from the
        archive is entered by the recount alone."""
        waiting = [event for event in events if event.restored_until is None]
        entered: list[Event] = []
        for attempt in range(_ATTEMPTS):
            groups = self._unseen(waiting)
            self._introduce({group.tenant for group in groups})
            try:
                for chunk in self._chunks(groups, is_retry=attempt > 0):
                    self._write(chunk.requests())
                    for scope, page in chunk.pages.items():
                        self._last[scope] = page, self._now()
                    entered += chunk.events
                return entered
            except (ConditionFailedError, ContendedError):
                # Somebody was faster, or guessed pages were taken: read everything anew.
                self._last.clear()
                self._sleep(random.uniform(0.005, 0.05) * (attempt + 1))  # noqa: S311  # nosec B311 - jitter
        raise UnavailableError("The journal is written by too many at once; try again")

    def _unseen(self, events: Iterable[Event]) -> list[_Group]:
        groups: dict[tuple[str, str], _Group] = {}
        for event in events:
            minute = bucket(Level.MINUTE, event.timestamp)
            group = groups.setdefault(
                (event.tenant_id, minute), _Group(event.tenant_id, minute, [])
            )
            group.events.append(event)
        self._load(list(groups.values()))
        for group in groups.values():
            fresh: dict[bytes, Event] = {}
            for event in group.events:
                name = _digest(event)
                if name not in group.known:
                    fresh[name] = event
            group.events = list(fresh.values())
        return [group for group in groups.values() if group.events]

    def _load(self, groups: Sequence[_Group]) -> None:
        """Read the digests of what each group's minute counts already."""
        by_partition = {group.partition: group for group in groups}
        keys = [(partition, _page(0)) for partition in by_partition]
        for start in range(0, len(keys), _BATCH_GET):
            for item in self._table.get_many(keys[start : start + _BATCH_GET]):
                group = by_partition[item["pk"]]
                _read_page(group, item)
                if len(group.digests) >= _PAGE_DIGESTS * _DIGEST_BYTES:
                    for further in self._table.query_all(
                        "pk = :pk AND sk > :first", pk=group.partition, first=_page(0)
                    ):
                        _read_page(group, further)

    def _introduce(self, tenants: Iterable[TenantId]) -> None:
        """Note tenants that this process has not met."""
        new = [tenant for tenant in tenants if tenant not in self._listed]
        self._table.put_many({"pk": "*#tenants", "sk": tenant} for tenant in new)
        self._listed.update(new)

    def tenants(self) -> list[TenantId]:
        """Everyone who ever had an event."""
        return [TenantId(i["sk"]) for i in self._table.query_all("pk = :pk", pk="*#tenants")]

    def _chunks(self, groups: Sequence[_Group], *, is_retry: bool) -> Iterator[_Chunk]:
        """The groups in as few transactions as take them."""
        chunk = _Chunk()
        for group in groups:
            for start in range(0, len(group.events), _PAGE_DIGESTS):
                part = group.events[start : start + _PAGE_DIGESTS]
                places = self._places(group, is_retry=is_retry)
                if start or not chunk.has_room(group.tenant, places):
                    yield self._finished(chunk)
                    chunk = _Chunk()
                self._add(chunk, group, part, places)
        if chunk.events:
            yield self._finished(chunk)

    def _places(self, group: _Group, *, is_retry: bool) -> list[Place]:
        """Where a group is counted: in three buckets of its tenant's, each with its class."""
        days = self._keeping.of_event(group.events[0]).days
        places = []
        for level in Level:
            name = bucket(level, begins(group.minute))
            known = self._class_of(group.tenant, level, name) if is_retry else None
            places.append(Place(group.tenant, level, name, known or days))
        self._open_classes({place.days for place in places})
        return places

    def _open_classes(self, classes: set[int]) -> None:
        new = [str(days) for days in classes if str(days) not in self._listed]
        self._table.put_many({"pk": "*#counts", "sk": days} for days in new)
        self._listed.update(new)

    def _add(
        self, chunk: _Chunk, group: _Group, events: list[Event], places: Sequence[Place]
    ) -> None:
        now = self._now()
        chunk.events += events
        chunk.requests_by_key[group.partition, ""] = self._page_request(group, events, now)
        counts = count(events)
        for place in places:
            chunk.counts[place] = chunk.counts.get(place, Counter()) + counts
        retention = self._keeping.of_event(group.events[0])
        shown = [event for event in events if is_shown(event, retention, now)]
        for scope in (group.tenant, ALL):
            chunk.arrivals.setdefault(scope, []).extend(shown)

    def _page_request(self, group: _Group, events: list[Event], now: datetime) -> Item:
        """The page of digests with the new ones; a full page is followed by the next."""
        if len(group.digests) >= _PAGE_DIGESTS * _DIGEST_BYTES:
            group.page, group.digests = group.page + 1, b""
        earlier = len(group.digests)
        group.digests += b"".join(map(_digest, events))
        condition = "size(digests) = :earlier" if earlier else "attribute_not_exists(pk)"
        values = {"earlier": earlier} if earlier else {}
        return self._table.put_request(
            {
                "pk": group.partition,
                "sk": _page(group.page),
                "digests": group.digests,
                "expires_at": int((now + SEEN_KEPT).timestamp()),
            },
            only_if=condition,
            **values,
        )

    def _class_of(self, tenant: TenantId, level: Level, name: Bucket) -> int | None:
        item = self._table.get(f"{tenant}#counts", f"{level}#{name}")
        return int(item["retention_days"]) if item else None

    def _finished(self, chunk: _Chunk) -> _Chunk:
        """The chunk with its pages of arrivals and counts as requests."""
        now = self._now()
        for scope, events in chunk.arrivals.items():
            if events:
                number = self._next_page(scope, now)
                chunk.pages[scope] = number
                chunk.requests_by_key[scope, "arrivals"] = self._table.put_request(
                    _arrivals(scope, number, events, now), only_if="attribute_not_exists(pk)"
                )
        overall: dict[Place, Counter[str]] = {}
        for place, counts in chunk.counts.items():
            chunk.requests_by_key[place.key] = counting(self._table, place, counts)
            shared = place.overall()
            overall[shared] = overall.get(shared, Counter()) + counts
        for place, counts in overall.items():
            chunk.requests_by_key[place.key] = counting(self._table, place, counts)
        return chunk

    def _next_page(self, scope: str, now: datetime) -> int:
        last, known_at = self._last.get(scope, (0, now - _GUESS_KEPT))
        if known_at <= now - _GUESS_KEPT:
            newest = self._table.query(
                "pk = :pk", pk=f"{scope}#arrivals", limit=1, newest_first=True
            )
            # After a day of silence the pages go, in any order. A number from the clock is above any
            # that was: nobody writes a thousand pages a second for long.
            is_alive = bool(newest) and newest[0]["expires_at"] > now.timestamp()
            last = int(newest[0]["sk"]) if is_alive else int(now.timestamp() * 1000)
        return last + 1


@dataclass(frozen=True)
class Place:
    """A bucket of a tenant, or of all tenants (None) whose retention is `days`."""

    tenant: TenantId | None
    level: Level
    bucket: Bucket
    days: int

    @property
    def key(self) -> tuple[str, str]:
        scope = f"{self.tenant}#counts" if self.tenant else f"*#counts#{self.days}"
        return scope, f"{self.level}#{self.bucket}"

    def overall(self) -> Place:
        """The same bucket over all tenants of the class."""
        return Place(None, self.level, self.bucket, self.days)


@dataclass
class _Chunk:
    """What goes into one transaction."""

    events: list[Event] = field(default_factory=list)
    requests_by_key: dict[tuple[str, str], Item] = field(default_factory=dict)
    counts: dict[Place, Counter[str]] = field(default_factory=dict)
    arrivals: dict[str, list[Event]] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)

    def has_room(self, tenant: TenantId, places: Iterable[Place]) -> bool:
        """Whether a group more fits: its page of digests, its buckets, its arrivals."""
        buckets = {*self.counts, *places}
        arrivals = {*self.arrivals, tenant, ALL}
        overall = {place.overall() for place in buckets}
        pages = len(self.requests_by_key) + 1
        return pages + len(buckets) + len(overall) + len(arrivals) <= MAX_TRANSACTION

    def requests(self) -> list[Item]:
        return list(self.requests_by_key.values())


def counting(table: Table, place: Place, counts: Mapping[str, int]) -> Item:
    """Adding to a bucket, as a member of a transaction. A tenant's own bucket says in which class
    it is counted over all tenants, and takes nothing for another."""
    kept = max(timedelta(days=place.days), COUNTS_KEPT)
    setting: dict[str, Any] = {"expires_at": int((begins(place.bucket) + kept).timestamp())}
    pk, sk = place.key
    if place.tenant is None:
        return table.add_request(pk, sk, counts, setting=setting)
    return table.add_request(
        pk,
        sk,
        counts,
        setting={**setting, "retention_days": place.days},
        only_if="attribute_not_exists(#retention_days) OR #retention_days = :days",
        days=place.days,
    )


def _arrivals(scope: str, number: int, events: Sequence[Event], now: datetime) -> Item:
    return {
        "pk": f"{scope}#arrivals",
        "sk": f"{number:016d}",
        "refs": [
            [e.position, e.tenant_id, e.event_id, e.source, e.event_type, str(e.severity)]
            for e in events
        ],
        "written_at": to_text(now),
        "received_at": to_text(min(e.received_at for e in events)),
        "expires_at": int((now + ARRIVALS_KEPT).timestamp()),
    }


def _digest(event: Event) -> bytes:
    # A position holds the times of the event and a digest of its name: unlike its name alone, it
    # tells an event from one of the same id that took its place after its retention.
    return bytes.fromhex(digest(event.position, length=2 * _DIGEST_BYTES))


def _page(number: int) -> str:
    return f"{number:06d}"


def _read_page(group: _Group, item: Item) -> None:
    group.page, group.digests = int(item["sk"]), item["digests"]
    group.known |= {
        group.digests[i : i + _DIGEST_BYTES] for i in range(0, len(group.digests), _DIGEST_BYTES)
    }
