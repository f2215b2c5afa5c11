"""Tenants' own event types in the control table.

pk  <tenant>#types   sk  <event type>        kind  event-type   kind_key  <tenant>#<event type>
pk  <tenant>#types   sk  <event type>#v<n>   each version, as it was
pk  <tenant>#types   sk  #taken              how many types the tenant has
pk  *#types          sk  #taken              how many there are

No event type holds a "#", and "*" is no tenant. Lists come from the index, which holds the latest
versions alone (a moment behind on AWS); all else is read consistently.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aetherlink.events.schemas import ENVELOPE_REQUIRED, EventType
from aetherlink.events.types import Taken, place
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aetherlink.kernel.tenancy import TenantId

_KIND = "event-type"
_TAKEN = "#taken"
_EVERYBODY = "*#types"


class TypeStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def latest(self, tenant_id: TenantId, event_type: str) -> EventType | None:
        item = self._table.get(f"{tenant_id}#types", event_type)
        return _to_type(item) if item else None

    def version(self, tenant_id: TenantId, event_type: str, version: int) -> EventType | None:
        item = self._table.get(f"{tenant_id}#types", f"{event_type}#v{version}")
        return _to_type(item) if item else None

    def following(self, tenant_id: TenantId | None, after: str) -> Iterator[EventType]:
        """The latest versions by tenant and name, above the `place` named; None: all tenants'."""
        floor, ceiling = (f"{tenant_id}#", f"{tenant_id}#~") if tenant_id else ("0", "~")
        # A place is no end of itself: a blank follows it directly, and no name has one.
        floor = max(floor, f"{after} ") if after else floor
        if floor > ceiling:
            return
        found = self._table.query_all(
            "kind = :kind AND kind_key BETWEEN :floor AND :ceiling",
            index="by_kind",
            kind=_KIND,
            floor=floor,
            ceiling=ceiling,
        )
        for item in found:
            try:
                yield _to_type(item)
            except (KeyError, ValueError) as error:
                logger.error("damaged event type", key=item["sk"], error=type(error).__name__)

    def taken(self, tenant_id: TenantId) -> Taken:
        counted = (self._table.get(pk, _TAKEN) for pk in (f"{tenant_id}#types", _EVERYBODY))
        return Taken(*(int(item["taken"]) if item else 0 for item in counted))

    def add(self, new: EventType, taken: Taken) -> bool:
        return self._write(
            # Two who define the same name at once: one of them.
            self._table.put_request(_latest_item(new), only_if="attribute_not_exists(pk)"),
            self._table.put_request(_version_item(new)),
            # Limits hold although they were checked against numbers read before.
            self._count_request(f"{new.tenant_id}#types", taken.own),
            self._count_request(_EVERYBODY, taken.everywhere),
        )

    def change(self, new: EventType, earlier: EventType) -> bool:
        return self._write(
            # The change was judged against `earlier`; against another it would have to be again.
            self._table.put_request(
                _latest_item(new), only_if="version = :version", version=earlier.version
            ),
            self._table.put_request(_version_item(new)),
        )

    def uncount(self, tenant_id: TenantId) -> None:
        """Take a tenant's types from the number over all tenants, once; for when they are gone."""
        taken = self.taken(tenant_id)
        left = taken.everywhere - taken.own
        own = self._table.delete_request(
            f"{tenant_id}#types", _TAKEN, only_if="taken = :seen", seen=taken.own
        )
        overall: Item = {"only_if": "taken = :seen", "seen": taken.everywhere}
        # Who adds the first one expects no number at all.
        request = (
            self._table.put_request({"pk": _EVERYBODY, "sk": _TAKEN, "taken": left}, **overall)
            if left > 0
            else self._table.delete_request(_EVERYBODY, _TAKEN, **overall)
        )
        # False: somebody defines a type at this moment, or it was done already.
        self._write(own, request)

    def _count_request(self, pk: str, seen: int) -> Item:
        item = {"pk": pk, "sk": _TAKEN, "taken": seen + 1}
        if seen == 0:
            return self._table.put_request(item, only_if="attribute_not_exists(pk)")
        return self._table.put_request(item, only_if="taken = :seen", seen=seen)

    def _write(self, *writes: Item) -> bool:
        try:
            transact(list(writes))
        except ConditionFailedError:
            return False
        return True


def _latest_item(registered: EventType) -> Item:
    return {**_item(registered), "kind": _KIND, "kind_key": place(registered)}


def _version_item(registered: EventType) -> Item:
    return {**_item(registered), "sk": f"{registered.event_type}#v{registered.version}"}


def _item(registered: EventType) -> Item:
    return {
        "pk": f"{registered.tenant_id}#types",
        "sk": registered.event_type,
        "version": registered.version,
        "compatibility": str(registered.compatibility),
        # Some emulators still refuse empty texts.
        "description": registered.description or None,
        # As text, so that it comes back as it was sent, floats included.
        "schema": json.dumps(registered.payload_schema, ensure_ascii=False, separators=(",", ":")),
    }


def _to_type(item: Item) -> EventType:
    return EventType(
        event_type=str(item["sk"]).partition("#")[0],
        required=list(ENVELOPE_REQUIRED),
        description=item.get("description", ""),
        version=item["version"],
        payload_schema=json.loads(item["schema"]),
        tenant_id=str(item["pk"]).partition("#")[0],
        compatibility=item["compatibility"],
    )
