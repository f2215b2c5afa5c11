"""Records and seals in the audit table, heads of chains in the control table.

audit       pk  <tenant>#<day>          sk  <at>#<id>        a record (platform/auditing writes them)
  by_day    day                         day_key  <at>#<tenant>#<id>
            pk  <tenant>#<day>#seals    sk  <seq, 8 digits>  first, count, entries, prev, link, hash, …

control     pk  <tenant>#audit          sk  head#<day>       seals, count, hash
  by_kind   audit-head                  kind_key  <day>#<tenant>
            pk  system#audit            sk  watermark        at: up to where the schedule has come

Records are handled as DynamoDB has them, since every attribute of theirs is sealed, whatever it is.
All reads are strongly consistent but those of an index, which only find what is then read itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from aetherlink.audit.sealing import Entry, Head, Link, Raw, Seal, canonical
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import (
    ConditionFailedError,
    ContendedError,
    Item,
    Table,
    call,
    client,
    from_item,
    to_item,
    transact,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

_HEAD = "head#"
_HEAD_KIND = "audit-head"
_BATCH_GET = 100
# Above any sort key of ours.
_TOP = "~"


@dataclass(frozen=True)
class Found:
    """A seal as it stands in the table: None where the item is none; `exact` says that the item has
    what the seal has and nothing else."""

    seq: int
    seal: Seal | None
    exact: bool


@dataclass(frozen=True)
class Indexed:
    """A record in the index over all tenants."""

    tenant: TenantId
    sk: str


class AuditStore:
    def __init__(self, audit: Table, control: Table) -> None:
        self._audit = audit
        self._control = control

    # ------------------------------------------------------------ records

    def records(self, tenant: TenantId, day: str, since: str) -> Iterator[Raw]:
        """The records of a day from a time (or sort key) on, in their order."""
        request: Item = {
            "TableName": self._audit.name,
            "KeyConditionExpression": "pk = :pk AND sk >= :since",
            "ExpressionAttributeValues": to_item({":pk": f"{tenant}#{day}", ":since": since}),
            "ConsistentRead": True,
        }
        yield from _pages(request)

    def keys(self, tenant: TenantId, day: str) -> list[str]:
        """The sort keys of all records of a day, in their order."""
        request: Item = {
            "TableName": self._audit.name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": to_item({":pk": f"{tenant}#{day}"}),
            "ProjectionExpression": "sk",
            "ConsistentRead": True,
        }
        return [item["sk"]["S"] for item in _pages(request)]

    def fetch(self, tenant: TenantId, day: str, keys: Sequence[str]) -> dict[str, Raw]:
        """The records of those sort keys that there are."""
        found: dict[str, Raw] = {}
        unique = list(dict.fromkeys(keys))
        for start in range(0, len(unique), _BATCH_GET):
            part = unique[start : start + _BATCH_GET]
            wanted = [to_item({"pk": f"{tenant}#{day}", "sk": sk}) for sk in part]
            pending: Any = {self._audit.name: {"Keys": wanted, "ConsistentRead": True}}
            while pending:
                answer = call(partial(client().batch_get_item, RequestItems=pending))
                for item in answer["Responses"].get(self._audit.name, []):
                    found[item["sk"]["S"]] = item
                pending = answer.get("UnprocessedKeys")
        return found

    def newest(
        self, view: TenantId | None, day: str, *, floor: str, ceiling: str, limit: int
    ) -> tuple[list[Item], bool]:
        """Records of a day between two places, newest first, and whether there are more; `view` None
        is every tenant's. A place begins with a time; `place_of` is a record's own."""
        if view is not None:
            return self._audit.query_down(
                "pk = :pk AND sk BETWEEN :floor AND :ceiling",
                limit=limit,
                pk=f"{view}#{day}",
                floor=floor,
                ceiling=ceiling,
            )
        return self._audit.query_down(
            "#day = :day AND day_key BETWEEN :floor AND :ceiling",
            index="by_day",
            limit=limit,
            day=day,
            floor=floor,
            ceiling=ceiling,
        )

    def indexed(self, day: str, since: str, *, limit: int) -> tuple[list[Indexed], str | None]:
        """All tenants' records of a day from a place on, in their order, and from where to go on
        (None: there is nothing further)."""
        items, more = self._audit.query_up(
            "#day = :day AND day_key BETWEEN :since AND :top",
            index="by_day",
            limit=limit,
            day=day,
            since=since,
            top=_TOP,
        )
        found = [
            Indexed(TenantId(str(item["pk"]).partition("#")[0]), item["sk"])
            for item in items
            # By its key: what somebody wrote into `day` by hand does not move it to another day.
            if str(item["pk"]).partition("#")[2] == day
        ]
        return found, f"{items[-1]['day_key']}!" if more and items else None

    # ------------------------------------------------------------ seals and heads

    def seals(self, tenant: TenantId, day: str) -> list[Found]:
        """All seals of a day in their order."""
        return [_found(tenant, day, raw) for raw in self._seal_items(tenant, day)]

    def seal(self, tenant: TenantId, day: str, seq: int) -> Seal | None:
        """A seal of that number, if there is one that can be read."""
        found = next(self._seal_items(tenant, day, seq), None)
        return _found(tenant, day, found).seal if found else None

    def sealed_since(self, tenant: TenantId, day: str, since: str) -> set[str]:
        """The sort keys of records in seals that were made since then, and perhaps some others."""
        sealed: set[str] = set()
        for raw in self._seal_items(tenant, day, newest_first=True):
            seal = _found(tenant, day, raw).seal
            if seal is None:
                continue
            if seal.sealed_at < since:
                break
            sealed.update(entry.sk for entry in seal.entries)
        return sealed

    def head(self, tenant: TenantId, day: str) -> tuple[Head | None, bool]:
        """The head of a day's chain; and whether the item has what a head has and nothing else
        (False too for an item that is no head at all)."""
        key = to_item({"pk": f"{tenant}#audit", "sk": f"{_HEAD}{day}"})
        answer = call(
            lambda: client().get_item(TableName=self._control.name, Key=key, ConsistentRead=True)
        )
        raw = answer.get("Item")
        if raw is None:
            return None, True
        head = _head(tenant, day, from_item(raw))
        is_exact = head is not None and canonical(to_item(_head_item(head))) == canonical(raw)
        return head, is_exact

    def head_before(self, tenant: TenantId, day: str) -> Head | None:
        """The head of the tenant's last sealed day before this one."""
        found = self._control.query(
            "pk = :pk AND sk BETWEEN :first AND :last",
            limit=2,
            newest_first=True,
            pk=f"{tenant}#audit",
            first=_HEAD,
            last=f"{_HEAD}{day}",
        )
        for item in found:
            earlier = str(item["sk"]).removeprefix(_HEAD)
            if earlier != day:
                return _head(tenant, earlier, item)
        return None

    def sealed_tenants(self, day: str, after: str, *, limit: int) -> list[TenantId]:
        """Tenants with a sealed record on that day, by name, above `after`."""
        found = self._control.query(
            "kind = :kind AND kind_key BETWEEN :first AND :last",
            index="by_kind",
            limit=limit + 1,
            kind=_HEAD_KIND,
            first=f"{day}#{after}",
            last=f"{day}#{_TOP}",
        )
        # By the key of the item: another tenant's name in `kind_key` would hide it.
        names = [str(item["pk"]).partition("#")[0] for item in found]
        return [TenantId(name) for name in names if name != after][:limit]

    def sealed_day_before(self, view: TenantId | None, day: str) -> str | None:
        """The last day before this one on which anything of the view is sealed."""
        if view is not None:
            head = self.head_before(view, day)
            return head.day if head else None
        found = self._control.query(
            "kind = :kind AND kind_key < :day",
            index="by_kind",
            limit=1,
            newest_first=True,
            kind=_HEAD_KIND,
            day=day,
        )
        return str(found[0]["kind_key"]).partition("#")[0] if found else None

    def commit(self, seal: Seal, head: Head, earlier: Head | None) -> bool:
        """Store a seal and the head after it together; False if the chain has moved on meanwhile.

        The conditions keep two sealers from forking the chain: only one can be the first after
        `earlier`, and no seal is ever overwritten.
        """
        put_seal = self._audit.put_request(_seal_item(seal), only_if="attribute_not_exists(pk)")
        item = _head_item(head)
        if earlier is None:
            put_head = self._control.put_request(item, only_if="attribute_not_exists(pk)")
        else:
            put_head = self._control.put_request(
                item, only_if="seals = :seals AND #hash = :hash", seals=earlier.seals,
                hash=earlier.hash,
            )  # fmt: skip
        try:
            transact([put_seal, put_head])
        except (ConditionFailedError, ContendedError):
            return False
        return True

    # ------------------------------------------------------------ the schedule's own

    def watermark(self) -> datetime | None:
        item = self._control.get(f"{SYSTEM}#audit", "watermark")
        return from_text(item["at"]) if item else None

    def set_watermark(self, at: datetime) -> None:
        self._control.put({"pk": f"{SYSTEM}#audit", "sk": "watermark", "at": to_text(at)})

    def _seal_items(
        self, tenant: TenantId, day: str, seq: int | None = None, *, newest_first: bool = False
    ) -> Iterator[Raw]:
        condition, values = "pk = :pk", {":pk": f"{tenant}#{day}#seals"}
        if seq is not None:
            condition, values = f"{condition} AND sk = :sk", {**values, ":sk": f"{seq:08}"}
        request: Item = {
            "TableName": self._audit.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(dict(values)),
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if newest_first:
            # The last ones are nearly always enough.
            request["Limit"] = 10
        yield from _pages(request)


def place_of(view: TenantId | None, item: Item) -> str:
    """Where a record stands in the list of a view."""
    return str(item["sk"] if view is not None else item["day_key"])


def _pages(request: Item) -> Iterator[Raw]:
    start: Item | None = None
    while True:
        asked = {**request, "ExclusiveStartKey": start} if start else request
        answer = call(partial(client().query, **asked))
        yield from answer["Items"]
        start = answer.get("LastEvaluatedKey")
        if start is None:
            return


def _seal_item(seal: Seal) -> Item:
    link = seal.link
    return {
        "pk": f"{seal.tenant}#{seal.day}#seals",
        "sk": f"{seal.seq:08}",
        "first": seal.first,
        "count": len(seal.entries),
        "entries": [[entry.sk, entry.digest] for entry in seal.entries],
        "prev": seal.prev,
        "link": [link.day, link.seals, link.hash, link.gone_at] if link else None,
        "sealed_at": seal.sealed_at,
        "records_until": seal.records_until,
        "hash": seal.hash,
        "expires_at": seal.expires_at,
    }


def _found(tenant: TenantId, day: str, raw: Raw) -> Found:
    item = from_item(raw)
    try:
        seq = int(item["sk"])
        link = item.get("link")
        seal = Seal(
            tenant=tenant,
            day=day,
            seq=seq,
            first=_whole(item["first"]),
            entries=tuple(Entry(str(sk), str(digest)) for sk, digest in item["entries"]),
            prev=str(item["prev"]),
            link=Link(str(link[0]), _whole(link[1]), str(link[2]), _whole(link[3]))
            if link
            else None,
            sealed_at=str(item["sealed_at"]),
            records_until=_whole(item["records_until"]),
        )
    except (KeyError, ValueError, TypeError, IndexError):
        return Found(_seq(item), None, exact=False)
    # `hash` is among what is compared: the seal's own is worked out from the rest.
    return Found(seq, seal, exact=canonical(to_item(_seal_item(seal))) == canonical(raw))


def _seq(item: Item) -> int:
    text = str(item["sk"])
    return int(text) if text.isascii() and text.isdigit() else 0


def _head_item(head: Head) -> Item:
    return {
        "pk": f"{head.tenant}#audit",
        "sk": f"{_HEAD}{head.day}",
        "kind": _HEAD_KIND,
        "kind_key": f"{head.day}#{head.tenant}",
        "seals": head.seals,
        "count": head.count,
        "hash": head.hash,
        "expires_at": head.expires_at,
    }


def _head(tenant: TenantId, day: str, item: Item) -> Head | None:
    try:
        return Head(
            tenant=tenant,
            day=day,
            seals=_whole(item["seals"]),
            count=_whole(item["count"]),
            hash=str(item["hash"]),
            expires_at=_whole(item["expires_at"]),
        )
    except (KeyError, TypeError):
        return None


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def distinct(found: Iterable[Indexed]) -> dict[TenantId, str]:
    """The first sort key of each tenant among them."""
    first: dict[TenantId, str] = {}
    for record in found:
        first[record.tenant] = min(first.get(record.tenant, record.sk), record.sk)
    return first
