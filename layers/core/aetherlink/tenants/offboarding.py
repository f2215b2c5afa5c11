"""Seeing a tenant off, as a job: its credentials void, all it has exported, erased, and the proof.

    begin     its keys and registration tokens void; then wait until no process lets it in any more
    export    each table page by page, as NDJSON.gz objects
    archive   its archived events, copied beside them; then the manifest
    erase     each table page by page, and its objects, pass by pass, until a pass over everything finds
              nothing: the proof

A unit of work is done again from its own beginning after a crash, and comes to the same. Tables are
scanned here and nowhere else: nothing else can say of a table that it has no more of somebody
(docs/decisions/0013).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.jobs.model import Job, Progress
from aetherlink.kernel.errors import ConflictError
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.standing import MAX_AGE
from aetherlink.tenants.export import Export, Objects, folder_of
from aetherlink.tenants.model import Limits, State, Tenant
from aetherlink.tenants.trace import Trace, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from aetherlink.tenants.trace import Item

    Cursor = dict[str, Any]

# A pass that finds something is followed by another. After so many, something keeps writing.
MAX_PASSES = 10
# Until no process believes any more that the tenant is active.
_SETTLING_SECONDS = int(MAX_AGE.total_seconds()) + 5
# Before the next pass: for what stream consumers were about to write of what is gone now.
_LULL_SECONDS = 60
# The job is queued before the record names it; it may begin first.
_MAX_TRIES = 10
_PAGE = 500
# After so many units what was done is stored, so that a crash repeats no more.
_UNITS_PER_STEP = 20


class Scanned(Protocol):
    """A table: `start` is where a page begins, None for the first one and after the last."""

    def page(self, start: Item | None, limit: int) -> tuple[list[Item], Item | None]: ...
    def erase(self, tenant: TenantId, traces: Iterable[Trace]) -> None: ...


class Tenants(Protocol):
    def get(self, tenant_id: TenantId) -> Tenant | None: ...
    def put(self, tenant: Tenant, *, from_state: State | None) -> bool: ...
    def void_credentials(self, tenant_id: TenantId) -> int: ...


class Offboarding:
    """`record` appends to the platform's audit: the tenant's own goes with it."""

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
        self._export = Export(objects)
        self._tenants = tenants
        self._record = record
        self._now = now

    def step(self, job: Job, deadline: datetime) -> Progress:
        tenant = TenantId(job.params["tenant_id"])
        cursor = job.cursor or {"phase": "begin", "tries": 0}
        record = self._tenants.get(tenant)
        if record is None or record.job_id != job.id:
            return self._without_mandate(tenant, cursor)
        pause = 0
        for _ in range(_UNITS_PER_STEP):
            cursor, pause = self._next(job, record, cursor)
            if cursor["phase"] == "done":
                result = self._finish(job, record, cursor)
                done = cursor["done"]
                return Progress(None, done, done, finished=True, result=result)
            if pause or self._now() >= deadline:
                break
        done = cursor["done"]
        # How much there is, the export has found out.
        total = max(2 * cursor["seen"], done) if cursor["phase"] == "erase" else 0
        return Progress(cursor, done, total, finished=False, delay_seconds=pause)

    @staticmethod
    def _without_mandate(tenant: TenantId, cursor: Cursor) -> Progress:
        if cursor["phase"] != "begin" or cursor["tries"] >= _MAX_TRIES:
            raise ConflictError(f"Tenant '{tenant}' is not being removed by this job")
        cursor = {**cursor, "tries": cursor["tries"] + 1}
        return Progress(cursor, 0, 0, finished=False, delay_seconds=2)

    def _next(self, job: Job, record: Tenant, cursor: Cursor) -> tuple[Cursor, int]:
        """The cursor after a unit of work more, and for how long to pause then."""
        tenant, phase = record.tenant_id, cursor["phase"]
        if phase == "begin":
            voided = self._tenants.void_credentials(tenant)
            begun = {"phase": "export", "credentials": voided, "seen": 0, "done": 0}
            return {**begun, **self._export.begun(), **self._first()}, _SETTLING_SECONDS
        if phase == "export":
            return self._export_page(job, tenant, cursor), 0
        if phase == "archive":
            return self._archive_some(job, record, cursor), 0
        if cursor["table"]:
            return self._erase_page(tenant, cursor), 0
        return self._erase_objects(tenant, cursor)

    def _export_page(self, job: Job, tenant: TenantId, cursor: Cursor) -> Cursor:
        traces, cursor = self._page(tenant, cursor)
        cursor = self._export.page(job, tenant, cursor, traces)
        cursor = self._moved_on({**cursor, "seen": cursor["seen"] + len(traces)}, len(traces))
        return cursor if cursor["table"] else {**cursor, "phase": "archive", "after": ""}

    def _archive_some(self, job: Job, record: Tenant, cursor: Cursor) -> Cursor:
        cursor = self._export.archived(job, cursor, _archive_of(record.tenant_id))
        if cursor["after"] is not None:
            return cursor
        digest = self._export.manifest(job, record, cursor)
        kept = {name: cursor[name] for name in ("credentials", "seen", "done", "items")}
        erasing = {"phase": "erase", "manifest": digest, "erased": {}, "objects": 0}
        erasing["pass"] = 1
        return {**kept, **erasing, **self._first(), **_nothing_found()}

    def _erase_page(self, tenant: TenantId, cursor: Cursor) -> Cursor:
        name = cursor["table"]
        traces, cursor = self._page(tenant, cursor)
        self._tables[name].erase(tenant, traces)
        cursor = {
            **cursor,
            "erased": _plus(cursor["erased"], name, len(traces)),
            "found": _plus(cursor["found"], name, len(traces)),
        }
        return self._moved_on(cursor, len(traces))

    def _erase_objects(self, tenant: TenantId, cursor: Cursor) -> tuple[Cursor, int]:
        for prefix in _prefixes(tenant):
            erased = self._objects.erase(prefix)
            if erased:
                found = _plus(cursor["found"], "objects", erased)
                return {**cursor, "found": found, "objects": cursor["objects"] + erased}, 0
        if not cursor["found"]:
            return {**cursor, "phase": "done"}, 0
        if cursor["pass"] >= MAX_PASSES:
            where = ", ".join(f"{number} in {name}" for name, number in cursor["found"].items())
            raise ConflictError(
                f"Pass {MAX_PASSES} still found something of tenant '{tenant}' ({where}): something "
                "goes on writing for it. Stop that, and remove the tenant again"
            )
        again = {**cursor, **self._first(), **_nothing_found(), "pass": cursor["pass"] + 1}
        return again, _LULL_SECONDS

    def _page(self, tenant: TenantId, cursor: Cursor) -> tuple[list[Trace], Cursor]:
        """What the next page has of the tenant, and the cursor with where the one after begins."""
        name = cursor["table"]
        items, following = self._tables[name].page(cursor["start"], _PAGE)
        found = [trace for item in items if (trace := trace_of(tenant, name, item))]
        looked_at = _plus(cursor["looked_at"], name, len(items))
        return found, {**cursor, "following": following, "looked_at": looked_at}

    def _first(self) -> Cursor:
        return {"table": next(iter(self._tables)), "start": None, "looked_at": {}}

    def _moved_on(self, cursor: Cursor, done: int) -> Cursor:
        """To the next page, the next table, or "" after the last."""
        cursor = {**cursor, "done": cursor["done"] + done}
        start = cursor.pop("following")
        names = [*self._tables, ""]
        following = names[names.index(cursor["table"]) + 1]
        return {**cursor, "start": start, "table": cursor["table"] if start else following}

    def _finish(self, job: Job, record: Tenant, cursor: Cursor) -> dict[str, Any]:
        tenant, now = record.tenant_id, self._now()
        result = {
            "tenant_id": tenant,
            "export": folder_of(job),
            "manifest_sha256": cursor["manifest"],
            "exported": cursor["items"],
            "credentials_voided": cursor["credentials"],
            "erased": cursor["erased"],
            "objects_erased": cursor["objects"],
            "passes": cursor["pass"],
            # Of the last pass: it looked at everything, and found nothing.
            "proof": {
                "items_looked_at": cursor["looked_at"],
                "items_left": 0,
                "objects_left": 0,
                "verified_at": to_text(now),
            },
        }
        if record.state is State.OFFBOARDING:
            # First on record: a crash in between has it there twice rather than never.
            self._record(tenant, result)
            self._tenants.put(
                Tenant(
                    tenant_id=tenant,
                    name="",
                    limits=Limits(),
                    state=State.REMOVED,
                    removed_at=now,
                    job_id=job.id,
                ),
                from_state=State.OFFBOARDING,
            )
        return result


def _nothing_found() -> Cursor:
    return {"found": {}}


def _archive_of(tenant: TenantId) -> str:
    return f"events/tenant={tenant}/"


def _prefixes(tenant: TenantId) -> tuple[str, ...]:
    """Where the bucket has something of a tenant, but for what was exported."""
    return _archive_of(tenant), f"backtests/{tenant}/"


def _plus(numbers: dict[str, int], name: str, more: int) -> dict[str, int]:
    """Without zeros: what is empty is nothing."""
    return dict(+(Counter(numbers) + Counter({name: more})))
