"""Who may name, limit, see and remove which tenant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.jobs.model import Job
from aetherlink.jobs.model import State as JobState
from aetherlink.kernel.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.tenants.model import Limits, State, Tenant, TenantDraft
from aetherlink.tenants.service import Tenancy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME, GLOBEX = TenantId("acme"), TenantId("globex")


class World:
    """The records, who has data, and the jobs that were started."""

    def __init__(self) -> None:
        self.now = NOON
        self.records: dict[str, Tenant] = {}
        self.data: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.tenancy = Tenancy(self, self, self.jobs.get, lambda: self.now)

    def get(self, tenant_id: TenantId) -> Tenant | None:
        return self.records.get(tenant_id)

    def put(self, tenant: Tenant, *, from_state: State | None) -> bool:
        there = self.records.get(tenant.tenant_id)
        if (there.state if there else None) is not from_state:
            return False
        self.records[tenant.tenant_id] = tenant
        return True

    def known(self, *, after: str, limit: int) -> list[Tenant]:
        found = sorted(t for t in self.records if t > after)[:limit]
        return [self.records[t] for t in found]

    def with_data(self, *, after: str, limit: int) -> list[str]:
        return sorted(t for t in self.data if t > after)[:limit]

    def has_data(self, tenant_id: TenantId) -> bool:
        return tenant_id in self.data

    def note_data(self, tenant_id: TenantId) -> None:
        self.data.add(tenant_id)

    def start(
        self, caller: Caller, kind: str, tenant: TenantId, params: dict[str, Any], total: int = 0
    ) -> Job:
        number = len(self.jobs) + 1
        job = Job(f"j-{number}", tenant, kind, caller.subject, None, params, self.now, self.now)
        self.jobs[job.id] = job
        return job

    def name(self, tenant: str, name: str = "A name", **limits: int) -> Tenant:
        draft = TenantDraft(name=name, limits=Limits(**limits) if limits else None)
        return self.tenancy.put(root(), tenant, draft)

    def leave(self, tenant: str) -> Job:
        return self.tenancy.remove(root(), tenant, tenant)

    def has_left(self, tenant: str) -> None:
        self.leave(tenant)
        record = self.records[tenant]
        self.records[tenant] = record.model_copy(update={"state": State.REMOVED, "name": ""})
        self.data.discard(tenant)


@pytest.fixture
def world() -> World:
    return World()


def root() -> Caller:
    return Caller("root", frozenset({Role.ADMIN}), None, cross_tenant=True)


def admin(*tenants: TenantId) -> Caller:
    home, *others = tenants or (ACME,)
    return Caller("anna", frozenset({Role.ADMIN}), home, tenants=frozenset(others))


def test_only_an_admin_of_all_tenants_makes_one(world: World) -> None:
    world.data.add("acme")

    with pytest.raises(ForbiddenError, match="cross-tenant grant may create"):
        world.tenancy.put(admin(), "acme", TenantDraft(name="Acme"))
    operator = replace(root(), roles=frozenset({Role.OPERATOR}))
    with pytest.raises(ForbiddenError):
        world.tenancy.put(operator, "acme", TenantDraft(name="Acme"))

    made = world.name("acme", "Acme", requests_per_minute=600)
    assert (made.name, made.limits.requests_per_minute, made.created_at) == ("Acme", 600, NOON)


def test_an_admin_of_a_tenant_changes_its_name_and_not_its_limits(world: World) -> None:
    world.name("acme", requests_per_minute=600)

    changed = world.tenancy.put(admin(), "acme", TenantDraft(name="Acme Inc."))
    assert (changed.name, changed.limits.requests_per_minute) == ("Acme Inc.", 600)
    wanted = TenantDraft(name="Acme", limits=Limits(requests_per_minute=0))
    with pytest.raises(ForbiddenError, match="may change limits"):
        world.tenancy.put(admin(), "acme", wanted)
    with pytest.raises(ForbiddenError, match="may not act for tenant 'globex'"):
        world.tenancy.put(admin(), "globex", TenantDraft(name="x"))


def test_a_change_is_on_record_with_what_it_was(world: World) -> None:
    world.name("acme", "Acme")
    caller = root()

    world.tenancy.put(caller, "acme", TenantDraft(name="Acme Inc."))

    (change,) = caller.trail.changes
    assert (caller.trail.tenant_id, change.resource) == ("acme", "tenant/acme")
    assert change.before is not None
    assert change.after is not None
    assert (change.before["name"], change.after["name"]) == ("Acme", "Acme Inc.")


def test_a_tenant_that_was_removed_is_made_anew_by_an_admin_of_all(world: World) -> None:
    world.name("acme", requests_per_minute=600)
    world.has_left("acme")

    # An admin of several stands in another one, so nothing has stopped it before.
    with pytest.raises(ForbiddenError, match="may create"):
        world.tenancy.put(admin(GLOBEX, ACME), "acme", TenantDraft(name="Acme"))
    anew = world.name("acme", "Acme again")
    assert (anew.state, anew.limits.requests_per_minute) == (State.ACTIVE, None)
    assert (anew.job_id, anew.removed_at) == (None, None)
    # The relay remembers whom it has listed, and would not do so again.
    assert world.data == {"acme"}


def test_the_platforms_own_tenant_stays_as_it_is(world: World) -> None:
    with pytest.raises(ForbiddenError, match="the platform's own"):
        world.name("system")
    with pytest.raises(ForbiddenError, match="the platform's own"):
        world.leave("system")
    world.data.add("system")
    with pytest.raises(NotFoundError):
        world.tenancy.get(root(), "system")


def test_a_list_goes_on_behind_the_platforms_own(world: World) -> None:
    world.data = {"a", "system", "y", "z"}

    seen, cursor = [], None
    for _ in range(5):
        page = world.tenancy.listed(root(), limit=1, cursor=cursor)
        seen += [tenant["tenant_id"] for tenant in page["tenants"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["a", "y", "z"]


def test_a_strangers_tenant_is_not_found(world: World) -> None:
    world.name("globex")
    world.data.add("initech")

    for tenant in ("globex", "initech", "never-was"):
        with pytest.raises(NotFoundError, match=f"Tenant '{tenant}' not found"):
            world.tenancy.get(admin(), tenant)
    listed = world.tenancy.listed(admin(), limit=50, cursor=None)
    assert listed["tenants"] == []


def test_removing_wants_the_tenants_id_once_more(world: World) -> None:
    world.name("acme")

    for confirm in (None, "", "globex"):
        with pytest.raises(UnprocessableError) as refused:
            world.tenancy.remove(root(), "acme", confirm)
        assert "?confirm=acme" in refused.value.flaws[0].detail
    assert world.jobs == {}


def test_the_removal_is_the_platforms_and_stands_in_its_audit(world: World) -> None:
    world.name("acme")
    caller = admin()

    job = world.tenancy.remove(caller, "acme", "acme")

    assert (job.tenant_id, job.params) == (SYSTEM, {"tenant_id": "acme"})
    assert (caller.trail.tenant_id, len(caller.trail.changes)) == (SYSTEM, 1)
    record = world.records["acme"]
    assert (record.state, record.job_id) == (State.OFFBOARDING, job.id)


def test_what_was_never_registered_can_be_removed_too(world: World) -> None:
    world.data.add("acme")

    world.leave("acme")

    assert world.records["acme"].state is State.OFFBOARDING
    with pytest.raises(NotFoundError):
        world.leave("never-was")


def test_of_two_who_remove_it_one_does(world: World) -> None:
    world.name("acme")
    first = world.leave("acme")

    caller = root()
    with pytest.raises(ConflictError, match=f"already, by job {first.id}"):
        world.tenancy.remove(caller, "acme", "acme")
    # Nothing is noted any more of who leaves.
    assert caller.trail.tenant_id == SYSTEM
    with pytest.raises(ConflictError, match="being removed"):
        world.name("acme")


def test_who_is_slower_at_the_same_moment_is_told_so(world: World) -> None:
    world.name("acme")
    started = world.start

    def both(*given: Any, **named: Any) -> Job:
        job = started(*given, **named)
        record = world.records["acme"]
        world.records["acme"] = record.model_copy(
            update={"state": State.OFFBOARDING, "job_id": "j-other"}
        )
        return job

    world.start = both  # type: ignore[method-assign]  # somebody else comes in between
    with pytest.raises(ConflictError, match="Somebody else"):
        world.leave("acme")
    assert world.records["acme"].job_id == "j-other"


@pytest.mark.parametrize("how", ["failed", "stands still", "is gone"])
def test_a_removal_that_goes_no_further_is_taken_over(world: World, how: str) -> None:
    world.name("acme")
    first = world.leave("acme")
    if how == "failed":
        world.jobs[first.id] = replace(first, state=JobState.FAILED)
    elif how == "is gone":
        del world.jobs[first.id]
        world.jobs["j-x"] = first
    else:
        world.now += timedelta(hours=1)

    second = world.leave("acme")

    assert second.id != first.id
    assert world.records["acme"].job_id == second.id
