"""What healing keeps besides the services' health: heals, approvals, maintenance, reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.shape import Given
from aetherlink.kernel.time import parse_instant, to_text

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.registry.model import Service


@dataclass(frozen=True)
class Heal:
    """An attempt that is over."""

    id: str
    tenant_id: TenantId
    service: str
    action: str
    success: bool
    msg: str
    reason: str
    began_at: datetime
    at: datetime

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "service": self.service,
            "action": self.action,
            "success": self.success,
            "msg": self.msg,
            "reason": self.reason,
            # Epoch seconds: what the spec's first consoles read.
            "timestamp": round(self.at.timestamp(), 3),
            "began_at": to_text(self.began_at),
            "at": to_text(self.at),
            "took_seconds": round((self.at - self.began_at).total_seconds(), 3),
        }


@dataclass(frozen=True)
class Ledger:
    """Who of a tenant is being healed. Each claim changes it, so that no two are made on one look."""

    tenant_id: TenantId
    healing: frozenset[str] = frozenset()
    version: int = 0

    def with_(self, name: str) -> Ledger:
        return replace(self, healing=self.healing | {name})

    def without(self, name: str) -> Ledger:
        return replace(self, healing=self.healing - {name})


@dataclass(frozen=True)
class Report:
    """What the latest run found of a tenant."""

    tenant_id: TenantId
    last_run: datetime
    took_ms: int
    services: int
    down: int


@dataclass(frozen=True)
class Approval:
    """What somebody has to agree to: an action on a service that is down."""

    id: str
    tenant_id: TenantId
    service: str
    action: str
    reason: str
    requested_at: datetime
    decision: Literal["open", "approved", "denied"] = "open"
    decided_by: str | None = None
    decided_at: datetime | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "service": self.service,
            "action": self.action,
            "reason": self.reason,
            "state": self.decision,
            "requested_at": to_text(self.requested_at),
            "decided_by": self.decided_by,
            "decided_at": to_text(self.decided_at) if self.decided_at else None,
        }


@dataclass(frozen=True)
class Maintenance:
    """A time in which some services are not healed. Without names and tags it is all of them."""

    id: str
    tenant_id: TenantId
    reason: str
    by: str
    starts_at: datetime
    ends_at: datetime
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def is_on(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def covers(self, name: str, service: Service | None) -> bool:
        if not self.services and not self.tags:
            return True
        tags = service.tags if service else ()
        return any(fnmatchcase(name, each) for each in self.services) or bool(
            set(self.tags) & {*tags}
        )

    def shown(self, now: datetime) -> dict[str, Any]:
        state = "over" if now >= self.ends_at else "on" if self.is_on(now) else "planned"
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "services": list(self.services),
            "tags": list(self.tags),
            "reason": self.reason,
            "by": self.by,
            "starts_at": to_text(self.starts_at),
            "ends_at": to_text(self.ends_at),
            "state": state,
        }


class MaintenanceDraft(Given):
    """The body of POST and PUT /autoheal/maintenance. `services` may hold patterns (`billing-*`)."""

    services: list[str] = Field(default=[], max_length=100)
    tags: list[str] = Field(default=[], max_length=32)
    reason: str = Field(min_length=1, max_length=500)
    starts_at: str | None = Field(default=None, description="RFC 3339; absent, now")
    ends_at: str = Field(description="RFC 3339")
    tenant_id: str | None = None

    @field_validator("starts_at", "ends_at")
    @classmethod
    def _is_instant(cls, given: str | None) -> str | None:
        return given if given is None else to_text(parse_instant(given))

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> MaintenanceDraft:
        if self.starts_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be after starts_at")
        return self

    def window(self, window_id: str, tenant: TenantId, by: str, now: datetime) -> Maintenance:
        ends = parse_instant(self.ends_at)
        if ends <= now:
            raise InvalidError("ends_at has passed already; nothing would be held")
        return Maintenance(
            id=window_id,
            tenant_id=tenant,
            reason=self.reason,
            by=by,
            starts_at=parse_instant(self.starts_at) if self.starts_at else now,
            ends_at=ends,
            services=tuple(self.services),
            tags=tuple(self.tags),
        )


class PauseDraft(Given):
    """The body of PUT /autoheal/services/{name}/pause. Without `until`, until somebody ends it."""

    until: str | None = Field(default=None, description="RFC 3339")
    reason: str = Field(default="", max_length=500)
    tenant_id: str | None = None

    @field_validator("until")
    @classmethod
    def _is_instant(cls, given: str | None) -> str | None:
        return given if given is None else to_text(parse_instant(given))


class ApprovalDraft(Given):
    """The body of POST /autoheal/approvals/{id}."""

    approve: bool
