"""Tenants' own retention: looked at, changed, applied to what is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.keeping import Policy
from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.tenancy import SYSTEM, Caller, TenantId, parse_tenant
from aetherlink.kernel.time import to_text
from aetherlink.retention.model import INTERVAL_SECONDS, Report, check_days

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.events.keeping import Keeping, Restored
    from aetherlink.jobs.service import Starter
    from aetherlink.retention.pruning import Pruning

# The kinds of jobs: applying a changed policy, and the rest of a prune that takes long.
APPLY, PRUNE = "retention.apply", "retention.prune"
# An answer has to be out within 29 s (API Gateway's limit).
PRUNE_SECONDS = 15


class Policies(Protocol):
    def get(self, tenant_id: TenantId) -> tuple[Policy | None, Restored | None]: ...
    def all(self) -> tuple[dict[TenantId, Policy], dict[TenantId, Restored]]: ...
    def put(self, tenant_id: TenantId, policy: Policy) -> None: ...
    def delete(self, tenant_id: TenantId) -> None: ...


class Retention:
    def __init__(
        self,
        policies: Policies,
        keeping: Keeping,
        pruning: Callable[[], Pruning],
        jobs: Starter,
        now: Callable[[], datetime],
        *,
        archive_dir: str | None,
    ) -> None:
        self._policies = policies
        self._keeping = keeping
        self._pruning = pruning
        self._jobs = jobs
        self._now = now
        self._archive_dir = archive_dir

    def settings(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "retention_days": self._keeping.default.days,
            "interval_seconds": INTERVAL_SECONDS,
            "archive_enabled": self._archive_dir is not None,
            "archive_dir": self._archive_dir,
        }

    def policies(self, view: TenantId | None) -> dict[str, Any]:
        """The policies that a view may see: its own, or everybody's."""
        found = self._policies.all()[0]
        return {
            "status": "ok",
            "tenant_policies": {
                tenant: policy.retention_days
                for tenant, policy in sorted(found.items())
                if view in (None, tenant)
            },
            "global_default_days": self._keeping.default.days,
        }

    def set(self, caller: Caller, named: str, days: int) -> dict[str, Any]:
        """Give a tenant a retention of its own. Reads obey at once; a job applies it to what is
        stored."""
        tenant, now = self._tenant(caller, named), self._now()
        check_days(days)
        earlier = self._keeping.term(tenant).retention
        self._policies.put(tenant, Policy(days, now))
        caller.trail.changed(
            f"retention/{tenant}",
            before={"retention_days": earlier.days},
            after={"retention_days": days},
        )
        if earlier.days == days:
            # Said again: applied again, from the bottom (an earlier job may have failed).
            earlier = timedelta(days=1)
        return {
            "status": "ok",
            "tenant_id": tenant,
            "retention_days": days,
            "updated_at": to_text(now),
            "job_id": self._apply(caller, tenant, earlier, timedelta(days=days)),
        }

    def revert(self, caller: Caller, named: str) -> dict[str, Any]:
        """Back to the global setting; also where there was no other."""
        tenant = self._tenant(caller, named)
        earlier = self._keeping.term(tenant).retention
        self._policies.delete(tenant)
        caller.trail.changed(
            f"retention/{tenant}",
            before={"retention_days": earlier.days},
            after={"retention_days": self._keeping.default.days},
        )
        return {
            "status": "ok",
            "tenant_id": tenant,
            "reverted_to_global": True,
            "global_default_days": self._keeping.default.days,
            "job_id": self._apply(caller, tenant, earlier, self._keeping.default),
        }

    def prune(self, caller: Caller, named: str | None) -> Report:
        """Remove what is past its retention now. What takes longer than an answer may becomes a
        job."""
        view = caller.reads(named)
        if view == SYSTEM:
            # The platform's own events are whose the platform is.
            caller.writes(SYSTEM)
        # Built when it is asked for: looking at a policy needs none of it.
        pruning = self._pruning()
        deadline = self._now() + timedelta(seconds=PRUNE_SECONDS)
        done, left = pruning.prune(pruning.scopes(view), deadline)
        total = sum(scope.pruned_count for scope in done)
        caller.trail.tenant_id = view or SYSTEM
        for scope in done:
            caller.trail.changed(f"events/{scope.scope}", after=scope.model_dump())
        if not left:
            return Report(total_pruned=total, scopes=done)
        params = {"scopes": list(left)}
        job = self._jobs.start(caller, PRUNE, view or SYSTEM, params, total=len(left))
        return Report(total_pruned=total, scopes=done, complete=False, job_id=job.id)

    def _apply(
        self, caller: Caller, tenant: TenantId, earlier: timedelta, later: timedelta
    ) -> str | None:
        if earlier == later and later.days > 1:
            return None
        params = {"earlier_days": earlier.days, "changed_at": to_text(self._now())}
        return self._jobs.start(caller, APPLY, tenant, params, total=0).id

    def _tenant(self, caller: Caller, named: str) -> TenantId:
        if parse_tenant(named, "/tenant") == SYSTEM:
            raise InvalidError(
                "The events of 'system' are kept as the parameter EventRetentionDays says; it takes "
                "no policy of its own"
            )
        return caller.writes(named)
