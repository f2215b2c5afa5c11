"""What a retention may be, and what came of applying it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aetherlink.events.model import Event, announce
from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId

SOURCE = "aether-command-center"
STRATEGY = "per-tenant-retention"
# Ten years: what the parameter EventRetentionDays takes too.
MAX_DAYS = 3650
# How often the schedule in template.yaml runs the keeper.
INTERVAL_SECONDS = 3600


def check_days(days: int) -> int:
    """The contract's 400 for a retention that cannot be."""
    if days < 1:
        raise InvalidError("retention_days must be >= 1")
    if days > MAX_DAYS:
        raise InvalidError(f"retention_days must be <= {MAX_DAYS}")
    return days


class Scope(Shape):
    """What was removed of one tenant's events, or of the platform's own (`system`)."""

    scope: str
    retention_days: int
    cutoff: str
    pruned_count: int
    archived_count: int


class Report(Shape):
    status: Literal["ok"] = "ok"
    total_pruned: int
    scopes: list[Scope]
    complete: bool = True
    job_id: str | None = None


def pruned_event(tenant: TenantId, scope: Scope, now: datetime) -> Event:
    """The announcement of what a scope lost; it belongs to the scope's tenant."""
    payload: dict[str, Any] = {
        "scope": scope.scope,
        "pruned_count": scope.pruned_count,
        "cutoff": scope.cutoff,
        "retention_days": scope.retention_days,
        "archived": scope.archived_count,
        "strategy": STRATEGY,
    }
    return announce(
        "ops.events.pruned",
        source=SOURCE,
        tenant_id=tenant,
        payload=payload,
        now=now,
        event_id=uuid7(now),
    )


def scope_of(tenant: TenantId, *, days: int, cutoff: datetime, pruned: int, archived: int) -> Scope:
    return Scope(
        scope=tenant,
        retention_days=days,
        cutoff=to_text(cutoff),
        pruned_count=pruned,
        archived_count=archived,
    )
