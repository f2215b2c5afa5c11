"""Events in the events table, and the all-tenant timelines in the projections table.

events        pk  <tenant>#<event_id>               sk  <source>
  timeline        <tenant>#<shard>                  at  <timestamp>#<received_at>#<digest>
  by_type         <tenant>#<shard>#<event_type>     at
  by_severity     <tenant>#<shard>#<severity>       at  (warning and worse only)

projections   pk  *#timeline#<shard>                sk  <second of event time>#<batch>
                  *#type#<shard>#<event_type>
                  *#severity#<shard>#<severity>     (warning and worse only)
              refs: [[position, tenant, event_id, source, event_type, severity], …]

"*" is no tenant id, so the all-tenant partition collides with none. The payload is kept as JSON
text: it comes back exactly as it was sent, floats included.
"""

from __future__ import annotations

import json
import zlib
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from aetherlink.events.model import (
    INDEXED_SEVERITIES,
    Entry,
    Event,
    Filters,
    Severity,
    expires_at,
    is_past,
    payload_text,
)
from aetherlink.kernel.ids import digest
from aetherlink.kernel.tenancy import TENANT_PATTERN, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, call, client, to_item

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from datetime import datetime, timedelta

    from aetherlink.events.keeping import Keeping

# Above any position: positions start with a digit.
TOP = "~"
_SECOND = len("2026-11-23T08:30:00")
_POSITION = 2 * len("2026-11-23T08:30:00.000000Z#") + 12


class BrokenItemError(Exception):
    """An item that is no event of ours: written by hand, or damaged."""


class EventStore:
    def __init__(self, table: Table, keeping: Keeping, *, shards: int) -> None:
        self._table = table
        self._keeping = keeping
        self._shards = shards

    def add(self, event: Event) -> Event | None:
        """Store it unless it is there; then the one that is there comes back.

        An item past its retention that TTL has not removed yet is no obstacle.
        """
        try:
            self._table.put(
                self._item(event),
                only_if="attribute_not_exists(pk) OR expires_at < :now",
                now=int(event.received_at.timestamp()),
            )
        except ConditionFailedError as taken:
            if taken.found is None:
                found = self.get_exact(event.tenant_id, event.event_id, event.source)
                return found or event
            return _to_event(taken.found)
        return None

    def add_request(self, event: Event) -> Item:
        """The same write as a member of a transaction; an event that is there already fails it."""
        return self._table.put_request(self._item(event), only_if="attribute_not_exists(pk)")

    def put_request(self, event: Event) -> Item:
        """The same without a condition, for events whose id is fresh."""
        return self._table.put_request(self._item(event))

    def get_exact(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None:
        """Raises BrokenItemError for an item that is no event."""
        item = self._table.get(f"{tenant_id}#{event_id}", source)
        return _to_event(item) if item else None

    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None:
        """The same for readers: what is no event is not there."""
        item = self._table.get(f"{tenant_id}#{event_id}", source)
        return _readable(item) if item else None

    def by_id(self, tenant_id: TenantId, event_id: str) -> Iterator[Event]:
        """Every event of that id, one for each source that used it, by source."""
        found = self._table.query_all("pk = :pk", pk=f"{tenant_id}#{event_id}")
        return (event for event in map(_readable, found) if event)

    def entries(
        self, tenant_id: TenantId, shard: int, filters: Filters, *, below: str, limit: int
    ) -> tuple[list[Entry], str | None]:
        """Index entries below a position, newest first, from the narrowest index there is; and down
        to which position they are complete (None: there is nothing further)."""
        partition = f"{tenant_id}#{shard}"
        index, key = "timeline", partition
        if filters.event_type:
            index, key = "by_type", f"{partition}#{filters.event_type}"
        elif filters.severity in INDEXED_SEVERITIES:
            index, key = "by_severity", f"{partition}#{filters.severity}"
        floor, ceiling = _floor(filters), _just_below(below)
        if ceiling < floor:
            return [], None
        items, more = self._table.query_down(
            f"#{index} = :key AND #at BETWEEN :floor AND :ceiling",
            index=index,
            limit=limit,
            key=key,
            floor=floor,
            ceiling=ceiling,
        )
        complete = str(items[-1]["at"]) if more and items else None
        return [entry_of(item) for item in items if is_entry(item)], complete

    def fetch(self, entries: Iterable[Entry]) -> dict[str, Event]:
        """The events behind at most 100 entries, by position; those that are gone are left out."""
        keys = [(f"{e.tenant_id}#{e.event_id}", e.source) for e in entries]
        found: dict[str, Event] = {}
        for item in self._table.get_many(keys):
            event = _readable(item)
            if event:
                found[event.position] = event
        return found

    def stored_between(
        self,
        tenant_id: TenantId,
        since: datetime,
        until: datetime,
        *,
        leaving_out: Container[str] = (),
    ) -> Iterator[list[Event]]:
        """Every stored event of that time in pages of at most 100, oldest first, past its retention
        or not, but for those at the positions to leave out. The end is not included."""
        shards = (self._ascending(tenant_id, n, since, until) for n in range(self._shards))
        entries = (
            entry_of(item)
            for item in merge(*shards, key=lambda item: str(item["at"]))
            if item["at"] not in leaving_out
        )
        while page := list(islice(entries, 100)):
            found = self.fetch(page)
            yield [found[entry.position] for entry in page if entry.position in found]

    def expiring_between(
        self, tenant_id: TenantId, since: datetime, until: datetime, *, before: datetime
    ) -> Iterator[Entry]:
        """The stored events of that time which storage may delete before an instant."""
        limit = int(before.timestamp())
        for shard in range(self._shards):
            for item in self._ascending(tenant_id, shard, since, until):
                if item.get("expires_at", limit) < limit:
                    yield entry_of(item)

    def keep_until(self, entry: Entry, instant: datetime) -> bool:
        """Keep an event at least so long; False if it is gone, or stays as long already."""
        until = int(instant.timestamp())
        try:
            call(
                lambda: client().update_item(
                    TableName=self._table.name,
                    Key=to_item({"pk": f"{entry.tenant_id}#{entry.event_id}", "sk": entry.source}),
                    UpdateExpression="SET expires_at = :until",
                    # Never the beginnings of an event that storage has deleted meanwhile.
                    ConditionExpression="attribute_exists(pk) AND expires_at < :until",
                    ExpressionAttributeValues=to_item({":until": until}),
                )
            )
        except ConditionFailedError:
            return False
        return True

    def restore(self, event: Event, *, retention: timedelta, now: datetime) -> bool:
        """Put an archived event back until its `restored_until`; False if it is there and shown.

        One that is there but past its retention, or restored for a shorter time, is put in its place;
        one that this same restore has put there already counts as restored.
        """
        stays_until = _text(event.restored_until)
        only_if = "attribute_not_exists(pk) OR expires_at < :now OR restored_until < :until"
        if is_past(event.timestamp, retention, now):
            only_if += " OR attribute_not_exists(restored_until)"
        try:
            self._table.put(
                _to_item(event, self._shards, expires_at(event, retention, self._keeping.floor)),
                only_if=only_if,
                now=int(now.timestamp()),
                until=stays_until,
            )
        except ConditionFailedError as taken:
            return taken.found is not None and taken.found.get("restored_until") == stays_until
        return True

    @property
    def shards(self) -> int:
        return self._shards

    def _ascending(
        self, tenant_id: TenantId, shard: int, since: datetime, until: datetime
    ) -> Iterator[Item]:
        """A shard's index items of that time, oldest first; what is no event of ours is left out."""
        found = self._table.query_all(
            # No position is as short as the end: it is not included.
            "#timeline = :key AND #at BETWEEN :since AND :until",
            index="timeline",
            key=f"{tenant_id}#{shard}",
            since=to_text(since),
            until=to_text(until),
        )
        return (item for item in found if is_entry(item))

    def _item(self, event: Event) -> Item:
        return _to_item(event, self._shards, self._keeping.expires_at(event))


class OverviewStore:
    """The timelines over all tenants, whole, by type and by severity: small pages of references that
    the relay writes, a batch and a second of event time each. A batch that comes twice may repeat
    one."""

    def __init__(self, table: Table, keeping: Keeping, *, shards: int) -> None:
        self._table = table
        self._keeping = keeping
        self._shards = shards

    def add(self, events: Iterable[Event]) -> None:
        pages: dict[tuple[str, str], list[Event]] = {}
        for event in events:
            second = to_text(event.timestamp)[:_SECOND]
            for strand in _strands(event, _shard(event.event_id, self._shards)):
                pages.setdefault((strand, second), []).append(event)
        self._table.put_many(
            {
                "pk": strand,
                # Named by its content: the same batch again overwrites its own page.
                "sk": f"{second}#{digest(*(e.position for e in page))}",
                "refs": [
                    [e.position, e.tenant_id, e.event_id, e.source, e.event_type, e.severity]
                    for e in page
                ],
                "expires_at": max(self._keeping.expires_at(e) for e in page),
            }
            for (strand, second), page in pages.items()
        )

    def entries(
        self, shard: int, filters: Filters, *, below: str, limit: int
    ) -> tuple[list[Entry], str | None]:
        """Entries below a position, newest first, and down to which position they are complete.

        None as that position: there is nothing further. `limit` bounds the pages that are read; the
        second that the last page belongs to is left out unless it is the only one, since more of its
        pages may follow.
        """
        floor, strand = _floor(filters), f"*#timeline#{shard}"
        if filters.event_type:
            strand = f"*#type#{shard}#{filters.event_type}"
        elif filters.severity in INDEXED_SEVERITIES:
            strand = f"*#severity#{shard}#{filters.severity}"
        bounds = {"floor": floor[:_SECOND], "ceiling": below}
        if len(below) > _SECOND:
            bounds["ceiling"] = below[:_SECOND] + TOP
        if bounds["ceiling"] <= bounds["floor"]:
            return [], None
        pages, more = self._table.query_down(
            "pk = :pk AND sk BETWEEN :floor AND :ceiling",
            limit=limit,
            pk=strand,
            **bounds,
        )
        complete: str | None = None
        if more:
            last = pages[-1]["sk"][:_SECOND]
            kept = [page for page in pages if page["sk"][:_SECOND] != last]
            if kept:
                pages, complete = kept, last + TOP
            else:
                # A single second with more pages than one read takes: read it whole.
                pages = list(
                    self._table.query_all(
                        "pk = :pk AND begins_with(sk, :second)",
                        pk=strand,
                        second=last,
                    )
                )
                complete = last
        refs = [Entry(*ref) for page in pages for ref in page["refs"]]
        found = {e.position: e for e in refs if floor <= e.position < below}
        return [found[p] for p in sorted(found, reverse=True)], complete

    @property
    def shards(self) -> int:
        return self._shards


def event_of(item: Item) -> Event:
    """The event in a stream record's image. Raises BrokenItemError if it is none."""
    return _to_event(item)


def _strands(event: Event, shard: int) -> list[str]:
    """The all-tenant timelines that an event stands in."""
    strands = [f"*#timeline#{shard}", f"*#type#{shard}#{event.event_type}"]
    if event.severity in INDEXED_SEVERITIES:
        strands.append(f"*#severity#{shard}#{event.severity}")
    return strands


def _shard(event_id: str, shards: int) -> int:
    return zlib.crc32(event_id.encode()) % shards


def _to_item(event: Event, shards: int, until: int) -> Item:
    partition = f"{event.tenant_id}#{_shard(event.event_id, shards)}"
    is_indexed = event.severity in INDEXED_SEVERITIES
    return {
        "pk": f"{event.tenant_id}#{event.event_id}",
        "sk": event.source,
        "at": event.position,
        "timeline": partition,
        "by_type": f"{partition}#{event.event_type}",
        "by_severity": f"{partition}#{event.severity}" if is_indexed else None,
        "event_type": event.event_type,
        "severity": str(event.severity),
        "payload": payload_text(event.payload),
        "schema_version": event.schema_version,
        "client_ip": event.client_ip,
        "trace_id": event.trace_id,
        "published_by": event.published_by,
        "original_timestamp": _text(event.original_timestamp),
        "attributes": json.dumps(event.attributes, ensure_ascii=False)
        if event.attributes
        else None,
        "restored_until": _text(event.restored_until),
        "expires_at": until,
    }


def _floor(filters: Filters) -> str:
    return to_text(filters.since) if filters.since else "0"


def _just_below(position: str) -> str:
    """An upper end that includes every position below `position` but not itself."""
    return position[:-1] + chr(ord(position[-1]) - 1) + TOP


def is_entry(item: Item) -> bool:
    """Not for one that somebody wrote into the table by hand: a list goes on without it."""
    return len(item["at"]) == _POSITION and {"event_type", "severity"} <= item.keys()


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


def _to_event(item: Item) -> Event:
    try:
        tenant, _, event_id = str(item["pk"]).partition("#")
        if not TENANT_PATTERN.fullmatch(tenant):
            raise ValueError("the partition key does not begin with a tenant id")
        timestamp, received_at, _digest = str(item["at"]).split("#")
        payload: dict[str, Any] = json.loads(item["payload"])
        original, restored = item.get("original_timestamp"), item.get("restored_until")
        attributes = item.get("attributes")
        return Event(
            event_id=event_id,
            event_type=item["event_type"],
            source=item["sk"],
            tenant_id=TenantId(tenant),
            severity=Severity(item["severity"]),
            timestamp=_canonical(timestamp),
            received_at=_canonical(received_at),
            payload=payload,
            schema_version=item.get("schema_version"),
            client_ip=item.get("client_ip"),
            trace_id=item.get("trace_id"),
            published_by=item.get("published_by"),
            original_timestamp=from_text(original) if original else None,
            attributes=json.loads(attributes) if attributes else None,
            restored_until=from_text(restored) if restored else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise BrokenItemError(f"{type(error).__name__}: {error}"[:300]) from error


def _canonical(text: str) -> datetime:
    """The instant of a position, which must be spelt as we spell it: positions are compared as text."""
    instant = from_text(text)
    if instant.tzinfo is None or to_text(instant) != text:
        raise ValueError(f"{text!r} is no time as it is kept")
    return instant


def _readable(item: Item) -> Event | None:
    """None for an item that somebody wrote by hand; the relay has set its key aside."""
    try:
        return _to_event(item)
    except BrokenItemError:
        return None


def entry_of(item: Item) -> Entry:
    tenant, _, event_id = str(item["pk"]).partition("#")
    return Entry(
        item["at"], TenantId(tenant), event_id, item["sk"], item["event_type"], item["severity"]
    )
