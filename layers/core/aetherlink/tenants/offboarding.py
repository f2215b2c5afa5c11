"""Seeing a tenant off: export, erase, prove. A job, a page of a table at a time.

    wait     until no process believes any more that the tenant is active
    export   every item of the tenant, as NDJSON.gz objects, with a manifest
    erase    what is there, pass by pass, until a pass over everything finds nothing: the proof

A page is done again from its own beginning after a crash, and comes to the same. The one place where
tables are scanned: nothing else can say of a table that it holds no more of somebody (ADR 0013).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.jobs.model import Job, Progress
from aetherlink.kernel.errors import ConflictError
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.standing import MAX_AGE
from aetherlink.tenants.model import Limits, State, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    Item = dict[str, Any]

# A pass that finds something is followed by another. So many, and something keeps writing.
MAX_PASSES = 10
_PAGE = 500
# After so many what was done is stored, so that a crash repeats no more.
_PAGES_PER_STEP = 20
# What an export does not show: hashes of secrets are of use only to who wants to guess them.
_NOT_EXPORTED = frozenset({"hash", "previous_hash", "token_hash", "resume"})


class Scanned(Protocol):
    """A table, page by page; `start` is where a page begins, None at the first and after the last."""

    def page(self, start: Item | None, limit: int) -> tuple[list[Item], Item | None]: ...
    def delete(self, pk: str, sk: str) -> None: ...
    def put(self, values: Item) -> None: ...


class Objects(Protocol):
    def put(self, key: str, body: bytes, *, content_type: str) -> None: ...
    def erase(self, prefix: str) -> int: ...


class Tenants(Protocol):
    def get(self, tenant_id: TenantId) -> Tenant | None: ...
    def put(self, tenant: Tenant, *, from_state: State | None) -> bool: ...


@dataclass(frozen=True)
class Trace:
    """What a table has of a tenant: its own item (`kept` None), or a shared one and what is left of
    that without the tenant."""

    item: Item
    kept: Item | None = None


def trace_of(tenant: TenantId, item: Item) -> Trace | None:
    """What of an item is the tenant's; None if nothing is."""
    pk, sk = str(item["pk"]), str(item["sk"])
    owner, _, rest = pk.partition("#")
    if owner == tenant:
        is_tombstone = rest == "tenant"
        return None if is_tombstone else Trace(item)
    if owner in ("*", SYSTEM) and rest.partition("#")[0] in _BY_SORT_KEY:
        return Trace(item) if tenant in sk.split("#") else None
    if "refs" in item:
        # A page of references to events of many tenants.
        refs = [ref for ref in item["refs"] if ref[1] != tenant]
        is_touched = len(refs) < len(item["refs"])
        return Trace(item, {**item, "refs": refs}) if is_touched else None
    tenants = item.get("tenants")
    if isinstance(tenants, list) and tenant in tenants and "day_key" not in item:
        # A key, or the item by which its secret is found, that is for several tenants.
        others = [other for other in tenants if other != tenant]
        return Trace(item, {**item, "tenants": others} if others else None)
    return None


# Shared partitions whose sort keys name tenants.
_BY_SORT_KEY = frozenset({"retention", "archive-due", "archive-since", "tenants"})


class Offboarding:
    def __init__(
        self,
        tables: Mapping[str, Scanned],
        objects: Objects,
        tenants: Tenants,
        *,
        record: Callable[[TenantId, Mapping[str, Any]], None],
        now: Callable[[], datetime],
    ) -> None:
        self._tables = tables
        self._objects = objects
        self._tenants = tenants
        self._record = record
        self._now = now

    def step(self, job: Job, deadline: datetime) -> Progress:
        tenant = TenantId(job.params["tenant_id"])
        cursor = job.cursor
        if cursor is None:
            self._check_leaving(job, tenant)
            # Until then some process may still take its requests.
            waiting = int(MAX_AGE.total_seconds()) + 5
            cursor = {"phase": "export", **_start(self._tables), "parts": [], "counts": {}}
            return Progress(cursor, 0, 0, finished=False, delay_seconds=waiting)
        for _ in range(_PAGES_PER_STEP):
            if self._now() >= deadline:
                break
            cursor = self._next(job, tenant, cursor)
            if cursor["phase"] == "done":
                result = self._finish(job, tenant, cursor)
                return Progress(None, job.done, job.done, finished=True, result=result)
        done = sum(cursor["counts"].values()) + sum(cursor.get("erased", {}).values())
        return Progress(cursor, done, 0, finished=False)

    def _check_leaving(self, job: Job, tenant: TenantId) -> None:
        found = self._tenants.get(tenant)
        if found is None or found.job_id != job.id:
            raise ConflictError(f"Tenant '{tenant}' is not being removed by this job")

    def _next(self, job: Job, tenant: TenantId, cursor: dict[str, Any]) -> dict[str, Any]:
        """The cursor after one more page."""
        name = cursor["table"]
        items, start = self._tables[name].page(cursor["start"], _PAGE)
        traces = [t for t in (trace_of(tenant, item) for item in items) if t]
        if cursor["phase"] == "export":
            cursor = self._export(job, tenant, cursor, [t.item for t in traces if t.kept is None])
        else:
            cursor = self._erase(cursor, traces)
        if start is not None:
            return {**cursor, "start": start}
        following = _after(self._tables, name)
        if following:
            return {**cursor, "table": following, "start": None}
        return self._next_phase(job, tenant, cursor)

    def _next_phase(self, job: Job, tenant: TenantId, cursor: dict[str, Any]) -> dict[str, Any]:
        if cursor["phase"] == "export":
            digest = self._write_manifest(job, tenant, cursor)
            return {**cursor, **_start(self._tables), "phase": "erase", "manifest": digest,
                    "pass": 1, "found": 0, "erased": {}, "objects": 0}  # fmt: skip
        objects = sum(
            self._objects.erase(prefix)
            for prefix in (f"events/tenant={tenant}/", f"backtests/{tenant}/")
        )
        cursor = {**cursor, "objects": cursor["objects"] + objects}
        if cursor["found"] == 0 and objects == 0:
            return {**cursor, "phase": "done"}
        if cursor["pass"] >= MAX_PASSES:
            raise ConflictError(
                f"After {MAX_PASSES} passes there was still something of tenant '{tenant}': "
                "something goes on writing for it. Stop that, and remove it again"
            )
        return {**cursor, **_start(self._tables), "pass": cursor["pass"] + 1, "found": 0}

    def _export(
        self, job: Job, tenant: TenantId, cursor: dict[str, Any], items: list[Item]
    ) -> dict[str, Any]:
        if not items:
            return cursor
        name, start = cursor["table"], cursor["start"]
        body = _ndjson(items)
        # Named by where its page began: the same page again overwrites itself.
        where = hashlib.sha256(json.dumps(start, sort_keys=True).encode()).hexdigest()[:16]
        key = f"{_folder(tenant, job)}/{name}/{where}.ndjson.gz"
        self._objects.put(key, body, content_type="application/gzip")
        part = [key, len(items), hashlib.sha256(body).hexdigest()]
        counts = {**cursor["counts"], name: cursor["counts"].get(name, 0) + len(items)}
        return {**cursor, "parts": [*cursor["parts"], part], "counts": counts}

    def _write_manifest(self, job: Job, tenant: TenantId, cursor: dict[str, Any]) -> str:
        manifest = {
            "tenant_id": tenant,
            "job_id": job.id,
            "items": cursor["counts"],
            "parts": [
                {"key": key, "items": count, "sha256": digest}
                for key, count, digest in cursor["parts"]
            ],
        }
        body = json.dumps(manifest, indent=1).encode()
        self._objects.put(
            f"{_folder(tenant, job)}/manifest.json", body, content_type="application/json"
        )
        return hashlib.sha256(body).hexdigest()

    def _erase(self, cursor: dict[str, Any], traces: list[Trace]) -> dict[str, Any]:
        name = cursor["table"]
        table = self._tables[name]
        for trace in traces:
            # A shared page that is empty now goes too.
            if trace.kept is None or trace.kept.get("refs") == []:
                table.delete(str(trace.item["pk"]), str(trace.item["sk"]))
            else:
                table.put(trace.kept)
        erased = {**cursor["erased"], name: cursor["erased"].get(name, 0) + len(traces)}
        return {**cursor, "erased": erased, "found": cursor["found"] + len(traces)}

    def _finish(self, job: Job, tenant: TenantId, cursor: dict[str, Any]) -> dict[str, Any]:
        now = self._now()
        result = {
            "tenant_id": tenant,
            "exported": cursor["counts"],
            "export": _folder(tenant, job),
            "manifest_sha256": cursor["manifest"],
            "erased": {name: n for name, n in cursor["erased"].items() if n},
            "objects_erased": cursor["objects"],
            "passes": cursor["pass"],
            "proof": {"items_left": 0, "objects_left": 0, "verified_at": to_text(now)},
        }
        tombstone = Tenant(
            tenant_id=tenant,
            name="",
            limits=Limits(),
            state=State.REMOVED,
            removed_at=now,
            job_id=job.id,
        )
        if self._tenants.put(tombstone, from_state=State.OFFBOARDING):
            self._record(tenant, result)
        return result


def _folder(tenant: TenantId, job: Job) -> str:
    return f"exports/{tenant}/{job.id}"


def _start(tables: Mapping[str, Scanned]) -> dict[str, Any]:
    return {"table": next(iter(tables)), "start": None}


def _after(tables: Mapping[str, Scanned], name: str) -> str | None:
    names = list(tables)
    following = names[names.index(name) + 1 :]
    return following[0] if following else None


def _ndjson(items: Iterable[Item]) -> bytes:
    return gzip.compress("\n".join(_lines(items)).encode() + b"\n", mtime=0)


def _lines(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        shown = {name: value for name, value in item.items() if name not in _NOT_EXPORTED}
        yield json.dumps(shown, ensure_ascii=False, sort_keys=True, default=_plain)


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
