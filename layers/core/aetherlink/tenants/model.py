"""Tenants: their names and limits, and whether they are leaving."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text


class State(StrEnum):
    ACTIVE = "active"
    OFFBOARDING = "offboarding"
    REMOVED = "removed"


class Limits(Given):
    """`requests_per_minute` None: what the parameter RequestsPerMinute says; 0: none."""

    requests_per_minute: int | None = Field(default=None, ge=0, le=10_000_000)
    ai_usd_per_day: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="What AI work may cost a day (UTC). Null: what AiDailyBudget says; 0: nothing",
    )
    ai_cache_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="How long an answer of a provider is given again for the same question; 0 or null, not",
    )


class TenantDraft(Given):
    """The body of PUT /tenants/{id}."""

    name: str = Field(min_length=1, max_length=160)
    limits: Limits | None = Field(default=None, description="Absent: as they are")


class Tenant(Shape):
    """A tenant as it is kept. One needs no record to be used: then it has data, and nothing else."""

    tenant_id: TenantId
    name: str
    limits: Limits
    state: State
    created_at: datetime | None = None
    updated_at: datetime | None = None
    removed_at: datetime | None = None
    job_id: str | None = None
    is_registered: bool = True

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        times = {
            name: to_text(at)
            for name in ("created_at", "updated_at", "removed_at")
            if (at := getattr(self, name))
        }
        job = {"job_id": self.job_id} if self.job_id else {}
        return {
            "tenant_id": self.tenant_id,
            "name": self.name,
            "limits": self.limits.model_dump(),
            "state": str(self.state),
            "registered": self.is_registered,
            **times,
            **job,
        }


def unregistered(tenant_id: TenantId) -> Tenant:
    """A tenant that has data and was never given a name."""
    return Tenant(
        tenant_id=tenant_id,
        name=tenant_id,
        limits=Limits(),
        state=State.ACTIVE,
        is_registered=False,
    )
