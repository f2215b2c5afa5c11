"""Name tenants, set their limits, and see them off."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.jobs.model import OPEN
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    ForbiddenError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, TENANT_PATTERN, Caller, Role, TenantId, parse_tenant
from aetherlink.tenants.model import Limits, State, Tenant, TenantDraft, unregistered

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.jobs.model import Job
    from aetherlink.jobs.service import Starter

KIND = "tenants.offboard"
# A step takes a minute, and a message that failed five times has come for half an hour.
_STANDS_STILL = timedelta(hours=1)


class Tenants(Protocol):
    def get(self, tenant_id: TenantId) -> Tenant | None: ...
    def put(self, tenant: Tenant, *, from_state: State | None) -> bool: ...
    def known(self, *, after: str, limit: int) -> list[Tenant]: ...
    def with_data(self, *, after: str, limit: int) -> list[str]: ...
    def has_data(self, tenant_id: TenantId) -> bool: ...
    def note_data(self, tenant_id: TenantId) -> None: ...


class Tenancy:
    def __init__(
        self,
        tenants: Tenants,
        jobs: Starter,
        find_job: Callable[[str], Job | None],
        now: Callable[[], datetime],
    ) -> None:
        self._tenants = tenants
        self._jobs = jobs
        self._find_job = find_job
        self._now = now

    def listed(self, caller: Caller, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """The tenants that the caller may see: all of them, or its own."""
        view = caller.reads()
        if view is not None:
            own = sorted(caller.tenants | {view}) if not caller.cross_tenant else [view]
            shown = [self._of(TenantId(tenant)) for tenant in own]
            return _page([tenant for tenant in shown if tenant], None)
        after = decode_cursor(cursor, "tenants") if cursor else ""
        # Both lists are by tenant id: the first `limit` of their union are the next page. One more
        # tells whether there is another, and one more again makes up for the platform's own.
        records = {t.tenant_id: t for t in self._tenants.known(after=after, limit=limit + 2)}
        others = self._tenants.with_data(after=after, limit=limit + 2)
        names = sorted({*records, *others} - {SYSTEM})
        found = [records.get(TenantId(n)) or unregistered(TenantId(n)) for n in names[:limit]]
        more = encode_cursor(names[limit - 1], "tenants") if len(names) > limit else None
        return _page(found, more)

    def get(self, caller: Caller, tenant_id: str) -> Tenant:
        found = self._of(TenantId(tenant_id)) if self._may_see(caller, tenant_id) else None
        if found is None:
            raise NotFoundError(f"Tenant '{tenant_id[:64]}' not found")
        return found

    def put(self, caller: Caller, tenant_id: str, draft: TenantDraft) -> Tenant:
        """Name a tenant and set its limits; make it where there is none, or none any more."""
        tenant = self._nameable(caller, tenant_id)
        earlier, now = self._tenants.get(tenant), self._now()
        if earlier and earlier.state is State.OFFBOARDING:
            # What is noted of a tenant that leaves stands in the platform's audit.
            caller.trail.tenant_id = SYSTEM
            raise ConflictError(f"Tenant '{tenant}' is being removed, by job {earlier.job_id}")
        known = earlier if earlier and earlier.state is State.ACTIVE else None
        self._check_rights(caller, known, draft)
        changed = Tenant(
            tenant_id=tenant,
            name=draft.name,
            limits=draft.limits or (known.limits if known else Limits()),
            state=State.ACTIVE,
            created_at=known.created_at if known else now,
            updated_at=now,
        )
        if earlier and not known:
            self._tenants.note_data(tenant)
        if not self._tenants.put(changed, from_state=earlier.state if earlier else None):
            raise ConflictError("Somebody else is changing this tenant; look at it and try again")
        before = earlier.shown() if earlier else None
        caller.trail.changed(f"tenant/{tenant}", before=before, after=changed.shown())
        return changed

    def remove(self, caller: Caller, tenant_id: str, confirm: str | None) -> Job:
        """Start seeing a tenant off: everything it has is exported, then erased."""
        tenant = self._nameable(caller, tenant_id)
        if confirm != tenant:
            raise UnprocessableError(
                (
                    Flaw(
                        "query/confirm",
                        f"must be the tenant's id: ?confirm={tenant} erases all that it has",
                    ),
                )
            )
        # In the platform's audit: the tenant's own goes with it.
        caller.trail.tenant_id = SYSTEM
        earlier = self._of(tenant)
        if earlier is None or earlier.state is State.REMOVED:
            raise NotFoundError(f"Tenant '{tenant}' not found")
        if self._is_under_way(earlier):
            raise ConflictError(
                f"Tenant '{tenant}' is being removed already, by job {earlier.job_id}"
            )
        # The job is the platform's: it must outlive what it erases.
        job = self._jobs.start(caller, KIND, SYSTEM, {"tenant_id": tenant}, 0)
        leaving = earlier.model_copy(
            update={"state": State.OFFBOARDING, "job_id": job.id, "updated_at": self._now()}
        )
        from_state = earlier.state if earlier.is_registered else None
        if not self._tenants.put(leaving, from_state=from_state):
            raise ConflictError("Somebody else is changing this tenant; look at it and try again")
        caller.trail.changed(
            f"tenant/{tenant}", before=earlier.shown(), after={"offboarding": job.id}
        )
        return job

    def _is_under_way(self, tenant: Tenant) -> bool:
        """Not if the job has failed, or stands still: then another one goes on from the beginning, and
        the old one finds that it is not the one any more."""
        if tenant.state is not State.OFFBOARDING:
            return False
        job = self._find_job(tenant.job_id or "")
        return (
            job is not None and job.state in OPEN and self._now() - job.updated_at < _STANDS_STILL
        )

    def _of(self, tenant: TenantId) -> Tenant | None:
        if not TENANT_PATTERN.fullmatch(tenant):
            return None
        found = self._tenants.get(tenant)
        return found or (unregistered(tenant) if self._tenants.has_data(tenant) else None)

    @staticmethod
    def _may_see(caller: Caller, tenant_id: str) -> bool:
        return tenant_id != SYSTEM and caller.may_act_for(tenant_id)

    def _nameable(self, caller: Caller, tenant_id: str) -> TenantId:
        tenant = parse_tenant(tenant_id, "path/tenant_id")
        if tenant == SYSTEM:
            raise ForbiddenError("The tenant 'system' is the platform's own; it stays as it is")
        if not caller.may_act_for(tenant):
            raise ForbiddenError(f"You may not act for tenant '{tenant}'")
        caller.trail.tenant_id = tenant
        return tenant

    @staticmethod
    def _check_rights(caller: Caller, known: Tenant | None, draft: TenantDraft) -> None:
        if caller.cross_tenant and Role.ADMIN in caller.roles:
            return
        if known is None:
            raise ForbiddenError("Only an admin with the cross-tenant grant may create a tenant")
        if draft.limits is not None and draft.limits != known.limits:
            raise ForbiddenError("Only an admin with the cross-tenant grant may change limits")


def _page(tenants: list[Tenant], cursor: str | None) -> dict[str, Any]:
    shown = [tenant.shown() for tenant in tenants]
    return {"status": "ok", "count": len(shown), "tenants": shown, "next_cursor": cursor}
