"""What a tenant takes along: its items and archived events in the bucket, and a manifest of them.

    exports/<tenant>/<job id>/<table>/<number>.ndjson.gz   items, one a line
                              archive/<key>                objects of the archive, as they were
                              parts/<number>.json          lists of the above: key, items, SHA-256
                              manifest.json                those lists, the numbers by table and kind

A part is named by how many there were before it: the same unit of work again overwrites its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.tenants.trace import exported, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aetherlink.jobs.model import Job
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.tenants.model import Tenant
    from aetherlink.tenants.trace import Item, Trace

    Cursor = dict[str, Any]

# A job's item has room for so many and more; what does not fit into it waits in the bucket.
_PARTS_PER_LIST = 200
# Of the archive, copied in one unit of work: an object has a few MB.
_OBJECTS = 5


class Objects(Protocol):
    """A bucket."""

    def put(self, key: str, body: bytes, *, content_type: str) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def keys(self, prefix: str, *, after: str, limit: int) -> list[str]: ...
    def erase(self, prefix: str) -> int:
        """Some of what is below; how many versions those were, 0 if nothing is left."""
        ...


def folder_of(job: Job) -> str:
    return f"exports/{job.params['tenant_id']}/{job.id}"


class Export:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @staticmethod
    def begun() -> Cursor:
        """What an export keeps in a job's cursor."""
        return {"parts": [], "lists": [], "number": 0, "items": {}}

    def page(self, job: Job, tenant: TenantId, cursor: Cursor, traces: Sequence[Trace]) -> Cursor:
        """The cursor with the page's items exported."""
        table = cursor["table"]
        shown = [(kind, trace.item) for trace in traces if (kind := kind_of(tenant, table, trace))]
        if not shown:
            return cursor
        body = gzip.compress(b"".join(_lines(item for _, item in shown)), mtime=0)
        key = f"{folder_of(job)}/{table}/{cursor['number']:06}.ndjson.gz"
        numbers: dict[str, int] = dict(cursor["items"].get(table, {}))
        for kind, _ in shown:
            numbers[kind] = numbers.get(kind, 0) + 1
        cursor = {**cursor, "items": {**cursor["items"], table: numbers}}
        return self._added(job, cursor, key, body, items=len(shown))

    def archived(self, job: Job, cursor: Cursor, prefix: str) -> Cursor:
        """The cursor with some of the objects below a prefix exported; `after` is None after the
        last."""
        keys = self._objects.keys(prefix, after=cursor["after"], limit=_OBJECTS)
        for key in keys:
            body = self._objects.get(key)
            # It was listed, but perhaps removed since.
            if body is not None:
                target = f"{folder_of(job)}/archive/{key.removeprefix(prefix)}"
                number = cursor["items"].get("archive", {}).get("objects", 0) + 1
                items = {**cursor["items"], "archive": {"objects": number}}
                cursor = self._added(job, {**cursor, "items": items}, target, body, items=1)
        return {**cursor, "after": keys[-1] if keys else None}

    def manifest(self, job: Job, record: Tenant, cursor: Cursor) -> str:
        """Write it; its SHA-256."""
        cursor = self._listed(job, cursor)
        manifest = {
            "tenant": record.shown(),
            "job_id": job.id,
            "items": cursor["items"],
            "lists": cursor["lists"],
        }
        body = _json(manifest)
        key = f"{folder_of(job)}/manifest.json"
        self._objects.put(key, body, content_type="application/json")
        return _sha256(body)

    def _added(self, job: Job, cursor: Cursor, key: str, body: bytes, *, items: int) -> Cursor:
        self._objects.put(key, body, content_type="application/gzip")
        part = {"key": key, "items": items, "sha256": _sha256(body)}
        parts, number = [*cursor["parts"], part], cursor["number"] + 1
        cursor = {**cursor, "parts": parts, "number": number}
        return self._listed(job, cursor) if len(parts) >= _PARTS_PER_LIST else cursor

    def _listed(self, job: Job, cursor: Cursor) -> Cursor:
        """The cursor with its parts in a list of their own."""
        if not cursor["parts"]:
            return cursor
        body = _json(cursor["parts"])
        key = f"{folder_of(job)}/parts/{len(cursor['lists']):06}.json"
        self._objects.put(key, body, content_type="application/json")
        entry = {"key": key, "parts": len(cursor["parts"]), "sha256": _sha256(body)}
        return {**cursor, "parts": [], "lists": [*cursor["lists"], entry]}


def _lines(items: Iterable[Item]) -> Iterator[bytes]:
    for item in items:
        text = json.dumps(exported(item), ensure_ascii=False, sort_keys=True, default=_plain)
        yield text.encode() + b"\n"


def _plain(value: object) -> Any:
    """What JSON has no word for: bytes in hexadecimal, sets as lists."""
    if isinstance(value, bytes):
        return value.hex()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
