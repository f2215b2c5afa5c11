"""What waits for the archive, and what is in it.

control       pk  *#archive-due        sk  <hour>#<tenant>    touched_at, waiting_since
              pk  *#archive-since      sk  <tenant>           its earlier hours are marked
              pk  <tenant>#archive     sk  <hour>             kind  archive   kind_key  <hour>#<tenant>

A mark has no TTL: it goes when its hour is in the archive. The control table's item is the hour's
manifest, the same as beside its parts, for listing and for conditions.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aetherlink.archive.model import Manifest, Mark, Part, hour_of, marks_of
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import (
    ConditionFailedError,
    Item,
    Table,
    call,
    client,
    to_item,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from aetherlink.events.model import Event

_PARTITION = "*#archive-due"
_SINCE = "*#archive-since"
# Above every character of a tenant id.
_END = "~"
# Below every character of a tenant id, above none: the next key after one.
_NEXT = "!"


class DueStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def mark(self, events: Iterable[Event]) -> None:
        """Note that these events are to be archived. May be repeated, and come late or reordered."""
        self.mark_all(marks_of(events))

    def mark_all(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            self._update(
                mark,
                "SET touched_at = :touched, waiting_since = if_not_exists(waiting_since, :since)",
                # A record that comes late must not make the hour look as if it had come to rest.
                only_if="attribute_not_exists(pk) OR touched_at < :touched",
                touched=to_text(mark.touched_at),
                since=to_text(mark.waiting_since),
            )

    def unlisted(self, tenants: Iterable[TenantId]) -> list[TenantId]:
        """Those whose events of before the archive was turned on have not been marked yet."""
        listed = {i["sk"] for i in self._table.query_all("pk = :pk", pk=_SINCE)}
        return [tenant for tenant in tenants if tenant not in listed]

    def enlist(self, tenant: TenantId) -> None:
        self._table.put({"pk": _SINCE, "sk": tenant})

    def closed(self, now: datetime) -> list[Mark]:
        """The marks of hours before the present one, oldest hour first. Consistent."""
        found = self._table.query_all(
            "pk = :pk AND sk < :present", pk=_PARTITION, present=hour_of(now)
        )
        return [_to_mark(item) for item in found]

    def marked(self, tenant_id: TenantId, first: str, last: str) -> set[str]:
        """The tenant's marked hours from the first to the last one. Consistent."""
        found = self._table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            pk=_PARTITION,
            first=first,
            last=f"{last}#{_END}",
        )
        return {mark.hour for mark in map(_to_mark, found) if mark.tenant_id == tenant_id}

    def remove(self, mark: Mark) -> bool:
        """False if events of that hour came meanwhile: it is to be archived once more."""
        try:
            self._table.delete(
                _PARTITION,
                f"{mark.hour}#{mark.tenant_id}",
                only_if="touched_at = :touched",
                touched=to_text(mark.touched_at),
            )
        except ConditionFailedError as changed:
            # Without an item somebody else has archived the hour.
            return changed.found is None
        return True

    def renew(self, mark: Mark, waiting_since: datetime) -> None:
        """What came before `waiting_since` is archived; more of that hour is coming in."""
        self._update(
            mark,
            "SET waiting_since = :since",
            only_if="attribute_exists(pk)",
            since=to_text(waiting_since),
        )

    def _update(self, mark: Mark, expression: str, *, only_if: str, **values: str) -> None:
        try:
            call(
                partial(
                    client().update_item,
                    TableName=self._table.name,
                    Key=to_item({"pk": _PARTITION, "sk": f"{mark.hour}#{mark.tenant_id}"}),
                    UpdateExpression=expression,
                    ConditionExpression=only_if,
                    ExpressionAttributeValues=to_item({f":{k}": v for k, v in values.items()}),
                )
            )
        except ConditionFailedError:
            # It says as much already.
            return


class ManifestStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant_id: TenantId, hour: str) -> Manifest | None:
        item = self._table.get(f"{tenant_id}#archive", hour)
        return _to_manifest(item) if item else None

    def save(self, earlier: Manifest, changed: Manifest) -> None:
        """Raises UnavailableError if somebody else has added a part to that hour meanwhile."""
        is_new = not earlier.parts
        try:
            if is_new:
                self._table.put(_manifest_item(changed), only_if="attribute_not_exists(pk)")
            else:
                self._table.put(
                    _manifest_item(changed), only_if="part_count = :n", n=len(earlier.parts)
                )
        except ConditionFailedError as error:
            raise UnavailableError("Somebody else archives this hour at the moment") from error

    def page(
        self, view: TenantId | None, *, first: str, below: str, limit: int
    ) -> tuple[list[Manifest], bool]:
        """Manifests of a view (None: every tenant's), newest first, from the hour `first` on and
        below a place; and whether there are more."""
        if below <= first:
            return [], False
        condition, index, key = _question(view)
        items, more = self._table.query_down(
            condition,
            index=index,
            limit=limit,
            key=key,
            first=first,
            last=below[:-1] + chr(ord(below[-1]) - 1) + _END,
        )
        return [_to_manifest(item) for item in items], more

    def first(self, view: TenantId | None, *, start: str, last: str) -> Manifest | None:
        """The first manifest from a place on, up to the hour `last`."""
        condition, index, key = _question(view)
        if start > last + _END:
            return None
        found = self._table.query(
            condition, index=index, limit=1, key=key, first=start, last=last + _END
        )
        return _to_manifest(found[0]) if found else None

    def between(self, view: TenantId | None, *, first: str, last: str) -> Iterator[Manifest]:
        """The manifests from the hour `first` to the hour `last`, oldest first."""
        condition, index, key = _question(view)
        found = self._table.query_all(
            condition, index=index, key=key, first=first, last=last + _END
        )
        return map(_to_manifest, found)


def place_of(view: TenantId | None, manifest: Manifest) -> str:
    """Where a manifest stands in a view's list."""
    return manifest.hour if view else f"{manifest.hour}#{manifest.tenant_id}"


def just_after(place: str) -> str:
    return place + _NEXT


def _question(view: TenantId | None) -> tuple[str, str | None, str]:
    if view is None:
        return "kind = :key AND kind_key BETWEEN :first AND :last", "by_kind", "archive"
    return "pk = :key AND sk BETWEEN :first AND :last", None, f"{view}#archive"


def _to_mark(item: Item) -> Mark:
    hour, _, tenant = str(item["sk"]).partition("#")
    return Mark(
        tenant_id=TenantId(tenant),
        hour=hour,
        touched_at=from_text(item["touched_at"]),
        waiting_since=from_text(item["waiting_since"]),
    )


def _manifest_item(manifest: Manifest) -> Item:
    return {
        "pk": f"{manifest.tenant_id}#archive",
        "sk": manifest.hour,
        "kind": "archive",
        "kind_key": f"{manifest.hour}#{manifest.tenant_id}",
        "parts": [vars(part) for part in manifest.parts],
        "part_count": len(manifest.parts),
        "archived_at": to_text(manifest.archived_at) if manifest.archived_at else None,
    }


def _to_manifest(item: Item) -> Manifest:
    archived_at = item.get("archived_at")
    return Manifest(
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        hour=item["sk"],
        parts=tuple(Part(**part) for part in item["parts"]),
        archived_at=from_text(archived_at) if archived_at else None,
    )
