"""Seeing a tenant off with tables in memory: killed at every point, it comes to the same."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.jobs.model import Job, moved
from aetherlink.kernel.errors import ConflictError, UnavailableError
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.tenants import export, offboarding
from aetherlink.tenants.model import Limits, State, Tenant
from aetherlink.tenants.offboarding import MAX_PASSES, Offboarding
from aetherlink.tenants.trace import TABLES, Fate, Trace

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
Item = dict[str, Any]


class KilledError(Exception):
    pass


class World:
    """Four tables, a bucket and the record, which can be killed before any of their operations."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[str, str], Item]] = {name: {} for name in TABLES}
        self.objects: dict[str, bytes] = {}
        self.record = Tenant(
            tenant_id=ACME,
            name="Acme",
            limits=Limits(),
            state=State.OFFBOARDING,
            created_at=NOON,
            job_id="j-1",
        )
        self.audit: list[dict[str, Any]] = []
        self.voided = 0
        self.operations = 0
        self.dies_at: int | None = None
        self.written_on: list[Item] = []

    def alive(self) -> None:
        self.operations += 1
        if self.operations == self.dies_at:
            raise KilledError

    def fill(self, tenant: str, events: int = 5) -> None:
        for number in range(events):
            self.add("events", f"{tenant}#e-{number}", "billing", payload=f"of {tenant}")
        self.add("projections", f"{tenant}#seen#10:00", "000000", digests=b"\x00\x01")
        self.add("projections", "*#tenants", tenant)
        self.add("audit", f"{tenant}#2026-11-23", "at#1", subject="anna")
        self.add("control", f"{tenant}#keys", "k-1", hash="5ec12e7", name=f"{tenant}'s")
        self.add("control", "system#retention", tenant, retention_days=20)
        self.add("control", "*#archive-due", f"2026-11-23T10#{tenant}")
        for hour in range(7):
            self.objects[f"events/tenant={tenant}/hour={hour}"] = f"{tenant} {hour}".encode()
        self.objects[f"backtests/{tenant}/j/1.json.gz"] = b"x"

    def add(self, table: str, pk: str, sk: str, **more: Any) -> None:
        self.tables[table][pk, sk] = {"pk": pk, "sk": sk, **more}

    def named(self, tenant: str) -> list[Any]:
        """Where a tenant is named, but for its record and what it took along."""
        items = [i for table in self.tables.values() for i in table.values() if tenant in str(i)]
        return items + [k for k in self.objects if tenant in k and not k.startswith("exports/")]

    # The bucket
    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        self.alive()
        self.objects[key] = body

    def get(self, key: str) -> bytes | None:
        self.alive()
        return self.objects.get(key)

    def keys(self, prefix: str, *, after: str, limit: int) -> list[str]:
        self.alive()
        return sorted(k for k in self.objects if k.startswith(prefix) and k > after)[:limit]

    def erase(self, prefix: str) -> int:
        self.alive()
        found = sorted(k for k in self.objects if k.startswith(prefix))[:4]
        for key in found:
            del self.objects[key]
        return len(found)

    def run(self, job: Job | None = None) -> Job:
        """The job to its end, started anew after each death from what was stored last."""
        job = job or a_job()
        seeing_off = Offboarding(
            {name: MemoryTable(self, name) for name in TABLES},
            self,
            Records(self),
            record=self.note,
            now=lambda: NOON,
        )
        for _ in range(1_000):
            if job.state == "done":
                return job
            try:
                progress = seeing_off.step(job, NOON + timedelta(seconds=20))
                changed = moved(job, progress, NOON)
                self.alive()
            except KilledError:
                continue
            # As it is stored: nothing but JSON.
            job = replace(changed, cursor=json.loads(json.dumps(changed.cursor)))
        raise AssertionError("it does not end")

    def note(self, tenant: TenantId, result: Any) -> None:
        self.alive()
        self.audit.append({"tenant": tenant, **result})


class Records:
    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, tenant_id: TenantId) -> Tenant | None:
        self.world.alive()
        return self.world.record

    def put(self, tenant: Tenant, *, from_state: State | None) -> bool:
        self.world.alive()
        if self.world.record.state is not from_state:
            return False
        self.world.record = tenant
        return True

    def void_credentials(self, tenant_id: TenantId) -> int:
        self.world.alive()
        self.world.voided += 1
        return 1


class MemoryTable:
    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.items = world.tables[name]
        self.name = name

    def page(self, start: Item | None, limit: int) -> tuple[list[Item], Item | None]:
        self.world.alive()
        first = (start["pk"], start["sk"]) if start else ("", "")
        keys = sorted(key for key in self.items if key > first)
        found = [deepcopy(self.items[key]) for key in keys[:limit]]
        more = len(keys) > limit
        return found, {"pk": found[-1]["pk"], "sk": found[-1]["sk"]} if more else None

    def erase(self, tenant: TenantId, traces: Iterable[Trace]) -> None:
        for trace in traces:
            self.world.alive()
            key = trace.item["pk"], trace.item["sk"]
            if trace.fate is Fate.IS_SHORTENED:
                self.items[key] |= trace.change or {}
            else:
                self.items.pop(key, None)
        if self.world.written_on and self.name == "events":
            item = self.world.written_on.pop()
            self.items[item["pk"], item["sk"]] = item


def a_job(**changed: Any) -> Job:
    job = Job("j-1", SYSTEM, "tenants.offboard", "root", None, {"tenant_id": "acme"}, NOON, NOON)
    return replace(job, **changed)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(offboarding, "_PAGE", 3)
    monkeypatch.setattr(offboarding, "_UNITS_PER_STEP", 3)
    monkeypatch.setattr(export, "_PARTS_PER_LIST", 2)
    made = World()
    made.fill("acme")
    made.fill("globex")
    return made


def taken_along(world: World) -> list[Item]:
    """The items of an export, each list and part held against the checksum that stands for it."""
    folder = "exports/acme/j-1"
    manifest = json.loads(world.objects[f"{folder}/manifest.json"])
    items = []
    for entry in manifest["lists"]:
        body = world.objects[entry["key"]]
        assert hashlib.sha256(body).hexdigest() == entry["sha256"]
        for part in json.loads(body):
            content = world.objects[part["key"]]
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
            if "/archive/" not in part["key"]:
                items += [json.loads(line) for line in gzip.decompress(content).splitlines()]
    return items


def test_nothing_is_left_and_another_tenant_is_as_it_was(world: World) -> None:
    other, objects = World(), {k: v for k, v in world.objects.items() if "globex" in k}
    other.fill("globex")

    job = world.run()

    assert world.named("acme") == []
    assert world.tables == other.tables
    assert {k: v for k, v in world.objects.items() if "globex" in k} == objects
    assert world.record.state is State.REMOVED
    assert (world.record.name, world.record.job_id, world.record.removed_at) == ("", "j-1", NOON)
    assert job.result is not None
    assert job.result["erased"] == {"events": 5, "projections": 2, "audit": 1, "control": 3}
    assert (job.result["objects_erased"], job.result["passes"]) == (8, 2)
    assert job.result["proof"] == {
        "items_looked_at": {"events": 5, "projections": 2, "audit": 1, "control": 3},
        "items_left": 0,
        "objects_left": 0,
        "verified_at": "2026-11-23T12:00:00.000000Z",
    }
    assert [record["tenant"] for record in world.audit] == ["acme"]


def test_it_takes_along_what_it_has(world: World) -> None:
    job = world.run()

    items = taken_along(world)
    assert job.result is not None
    assert job.result["exported"] == {
        "events": {"events": 5},
        "audit": {"records": 1},
        "control": {"retention": 1, "keys": 1},
        "archive": {"objects": 7},
    }
    assert sorted(i["sk"] for i in items if i["pk"].startswith("acme#e")) == ["billing"] * 5
    assert [i for i in items if i["pk"] == "acme#keys"] == [
        {"pk": "acme#keys", "sk": "k-1", "name": "acme's"}
    ]
    assert world.objects["exports/acme/j-1/archive/hour=3"] == b"acme 3"
    manifest = world.objects["exports/acme/j-1/manifest.json"]
    assert job.result["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert json.loads(manifest)["tenant"]["name"] == "Acme"


def test_killed_at_any_point_it_comes_to_the_same() -> None:
    def world_after(dies_at: int | None) -> World:
        made = World()
        made.fill("acme", events=3)
        made.fill("globex", events=1)
        made.dies_at = dies_at
        made.run()
        return made

    with pytest.MonkeyPatch.context() as small:
        small.setattr(offboarding, "_PAGE", 3)
        small.setattr(offboarding, "_UNITS_PER_STEP", 3)
        small.setattr(export, "_PARTS_PER_LIST", 2)
        expected = world_after(None)
        for operation in range(1, expected.operations + 1):
            killed = world_after(operation)
            assert killed.tables == expected.tables, operation
            assert killed.record == expected.record, operation
            assert killed.audit, operation
            assert sorted(taken_along(killed), key=str) == sorted(taken_along(expected), key=str)
            assert killed.objects.keys() == expected.objects.keys(), operation


def test_two_workers_at_once_come_to_the_same(world: World) -> None:
    """The queue may deliver a message twice; both do the step, and one's cursor is stored."""
    expected = deepcopy(world)
    expected.run()
    seeing_off = [
        Offboarding(
            {name: MemoryTable(world, name) for name in TABLES},
            world,
            Records(world),
            record=world.note,
            now=lambda: NOON,
        )
        for _ in range(2)
    ]

    job = a_job()
    while job.state != "done":
        progress = [each.step(job, NOON + timedelta(seconds=20)) for each in seeing_off]
        job = moved(job, progress[0], NOON)

    assert (world.tables, world.record) == (expected.tables, expected.record)
    assert len(world.audit) == 1


def test_what_is_written_meanwhile_is_swept_by_the_next_pass(world: World) -> None:
    world.written_on = [{"pk": "acme#a", "sk": "late"}]

    job = world.run()

    assert world.named("acme") == []
    assert job.result is not None
    assert job.result["passes"] == 3


def test_it_does_not_say_that_nothing_is_left_while_somebody_goes_on_writing(world: World) -> None:
    world.written_on = [{"pk": f"acme#{number}", "sk": "x"} for number in range(100)]

    with pytest.raises(ConflictError, match=r"Pass 10 .*\(3 in events\).*remove the tenant again"):
        world.run()

    assert world.record.state is State.OFFBOARDING
    assert world.audit == []
    assert MAX_PASSES == 10


def test_it_waits_until_nobody_believes_that_the_tenant_is_active(world: World) -> None:
    seeing_off = Offboarding(
        {"events": MemoryTable(world, "events")},
        world,
        Records(world),
        record=world.note,
        now=lambda: NOON,
    )

    progress = seeing_off.step(a_job(), NOON + timedelta(seconds=20))

    assert (world.voided, progress.delay_seconds) == (1, 35)
    assert not [key for key in world.objects if key.startswith("exports/")]


def test_a_job_that_begins_before_the_record_names_it_waits_for_it(world: World) -> None:
    world.record = world.record.model_copy(update={"state": State.ACTIVE, "job_id": None})
    seeing_off = Offboarding({}, world, Records(world), record=world.note, now=lambda: NOON)

    progress = seeing_off.step(a_job(), NOON)
    assert (progress.finished, progress.delay_seconds) == (False, 2)
    job = a_job(cursor={"phase": "begin", "tries": 10})
    with pytest.raises(ConflictError, match="not being removed by this job"):
        seeing_off.step(job, NOON)


def test_a_job_whose_place_another_has_taken_ends(world: World) -> None:
    before = deepcopy(world.tables)
    seeing_off = Offboarding({}, world, Records(world), record=world.note, now=lambda: NOON)
    world.record = world.record.model_copy(update={"job_id": "j-2"})

    with pytest.raises(ConflictError):
        seeing_off.step(a_job(cursor={"phase": "erase", "table": "events"}), NOON)

    assert world.tables == before


def test_a_storage_that_does_not_answer_is_tried_again(world: World) -> None:
    def silent(*_: Any) -> Any:
        raise UnavailableError("try again")

    seeing_off = Offboarding({}, world, Records(world), record=world.note, now=lambda: NOON)
    world.alive = silent  # type: ignore[method-assign]  # the storage of this world

    with pytest.raises(UnavailableError):
        seeing_off.step(a_job(), NOON)
