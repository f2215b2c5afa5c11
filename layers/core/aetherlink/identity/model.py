"""API keys: what may be asked for, what is kept of one, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from aetherlink.kernel.access import ROUTES
from aetherlink.kernel.errors import Flaw, ForbiddenError, UnprocessableError
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import GRANTABLE, SYSTEM, Caller, Role, Scopes, TenantId
from aetherlink.kernel.time import parse_instant, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DAYS = 3650
# How long the old secret lives on after a rotation, if nothing else is asked for.
GRACE_SECONDS = 86_400
MAX_GRACE_SECONDS = 30 * 86_400
# A key that is no more stays in the list for so long.
SHOWN_AFTER_END = timedelta(days=90)

State = Literal["active", "expired", "revoked"]


class ScopesDraft(Given):
    """What narrows a key; a pattern may end in `*`."""

    sources: list[str] = Field(
        default=[], max_length=64, description="Event sources it may publish as: `billing-*`"
    )
    routes: list[str] = Field(
        default=[], max_length=64, description="Method and path template: `POST /events/*`"
    )

    @field_validator("sources")
    @classmethod
    def _sources(cls, given: list[str]) -> list[str]:
        for pattern in given:
            if not pattern or "*" in pattern[:-1] or len(pattern) > 256:  # noqa: PLR2004
                raise ValueError(
                    "a source has 1 to 256 characters, with '*' as its last alone, got "
                    f"{pattern[:80]!r}"
                )
        return given

    @field_validator("routes")
    @classmethod
    def _routes(cls, given: list[str]) -> list[str]:
        for pattern in given:
            scope = Scopes(routes=(pattern,))
            if not any(roles and scope.allow_route(*route) for route, roles in ROUTES.items()):
                raise ValueError(
                    "a route is a method and a path template, such as 'POST /events/publish' or "
                    f"'GET /events/*'; {pattern[:80]!r} is none of ours (GET /openapi.json lists them)"
                )
        return given


class KeyDraft(Given):
    """The body of POST /identity/keys."""

    name: str = Field(min_length=1, max_length=128)
    roles: list[Literal["admin", "operator", "agent", "viewer"]] = Field(min_length=1, max_length=4)
    tenant_id: str | None = Field(default=None, description="Its home; default, the caller's")
    tenants: list[str] = Field(
        default=[], max_length=32, description="If it is for several; X-Tenant-ID then says which"
    )
    cross_tenant: bool = False
    scopes: ScopesDraft = Field(default_factory=ScopesDraft)
    expires_at: str | None = Field(default=None, description="RFC 3339; absent, it does not expire")
    expires_in_days: int | None = Field(default=None, ge=1, le=MAX_DAYS)
    requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)

    @field_validator("expires_at")
    @classmethod
    def _is_instant(cls, given: str | None) -> str | None:
        return to_text(parse_instant(given)) if given is not None else None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> KeyDraft:
        if self.expires_at is not None and self.expires_in_days is not None:
            raise ValueError("expires_at and expires_in_days say the same; send one of them")
        if self.cross_tenant and (self.tenant_id or self.tenants):
            raise ValueError("a cross-tenant key has no tenants of its own; send neither")
        return self


class Rotation(Given):
    """The body of POST /identity/keys/{key_id}/rotate, which may be empty."""

    grace_seconds: int = Field(
        default=GRACE_SECONDS,
        ge=0,
        le=MAX_GRACE_SECONDS,
        description="How long the old secret lives on; 0, not at all",
    )


@dataclass(frozen=True)
class Key:
    """What is kept of a key. `tenants` begins with its home; empty, it is for every tenant.

    `hash` is its secret's; `previous_hash` that of the secret before, which is good until
    `previous_until`.
    """

    id: str
    name: str
    prefix: str
    hash: str
    roles: frozenset[Role]
    tenants: tuple[TenantId, ...]
    cross_tenant: bool
    scopes: Scopes
    requests_per_minute: int
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_hash: str | None = None
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    last_used_at: datetime | None = None

    @property
    def home(self) -> TenantId:
        """Whose key it is: one of all tenants is the platform's."""
        return self.tenants[0] if self.tenants else SYSTEM

    @property
    def hashes(self) -> tuple[str, ...]:
        return (self.hash, self.previous_hash) if self.previous_hash else (self.hash,)

    @property
    def ended_at(self) -> datetime | None:
        ends = [end for end in (self.revoked_at, self.expires_at) if end]
        return min(ends) if ends else None

    def state(self, now: datetime) -> State:
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and now >= self.expires_at else "active"

    def shown(self, now: datetime) -> dict[str, Any]:
        """As the API answers it: nothing that a secret could be found with."""
        return {
            "key_id": self.id,
            "name": self.name,
            "prefix": self.prefix,
            "roles": sorted(self.roles),
            "tenant_id": self.tenants[0] if self.tenants else None,
            "tenants": list(self.tenants),
            "cross_tenant": self.cross_tenant,
            "scopes": {"sources": list(self.scopes.sources), "routes": list(self.scopes.routes)},
            "requests_per_minute": self.requests_per_minute or None,
            "state": self.state(now),
            "created_at": to_text(self.created_at),
            "created_by": self.created_by,
            "expires_at": _text(self.expires_at),
            "last_used_at": _text(self.last_used_at),
            "rotated_at": _text(self.rotated_at),
            "previous_until": _text(self.previous_until if self._has_two(now) else None),
            "revoked_at": _text(self.revoked_at),
            "revoked_by": self.revoked_by,
        }

    def has_two_secrets(self, now: datetime) -> bool:
        return self.state(now) == "active" and self._has_two(now)

    def _has_two(self, now: datetime) -> bool:
        return self.previous_until is not None and now < self.previous_until


def admit(
    draft: KeyDraft,
    caller: Caller,
    *,
    key_id: str,
    tenants: tuple[TenantId, ...],
    prefix: str,
    secret_hash: str,
    now: datetime,
) -> Key:
    """The key that a draft becomes."""
    return Key(
        id=key_id,
        name=draft.name,
        prefix=prefix,
        hash=secret_hash,
        roles=frozenset(Role(role) for role in draft.roles),
        tenants=tenants,
        cross_tenant=draft.cross_tenant,
        scopes=Scopes(tuple(draft.scopes.sources), tuple(draft.scopes.routes)),
        requests_per_minute=draft.requests_per_minute or 0,
        created_at=now,
        created_by=caller.subject,
        expires_at=expiry(draft, now),
    )


def expiry(draft: KeyDraft, now: datetime) -> datetime | None:
    """When the key ends. Raises UnprocessableError for a time that has passed."""
    if draft.expires_in_days is not None:
        return now + timedelta(days=draft.expires_in_days)
    if draft.expires_at is None:
        return None
    at = parse_instant(draft.expires_at)
    if at <= now:
        raise UnprocessableError(
            (Flaw("/expires_at", f"must be in the future, got {draft.expires_at}"),)
        )
    return at


def check_grant(caller: Caller, roles: Iterable[Role]) -> None:
    """Nobody gives away more than it has. Raises ForbiddenError."""
    if caller.scopes != Scopes():
        raise ForbiddenError(
            "This key has scopes, and the keys that it made would not; use one without scopes"
        )
    lacking = frozenset(roles) - (GRANTABLE if Role.ADMIN in caller.roles else caller.roles)
    if lacking:
        raise ForbiddenError(
            f"You may not grant a role that you do not hold: {', '.join(sorted(lacking))}"
        )


def rotated(key: Key, *, prefix: str, secret_hash: str, grace: timedelta, now: datetime) -> Key:
    """The key with a new secret; the one before is good for `grace` more, but not past its end."""
    until = now + grace if grace else None
    if until and key.expires_at:
        until = min(until, key.expires_at)
    return replace(
        key,
        prefix=prefix,
        hash=secret_hash,
        rotated_at=now,
        previous_hash=key.hash if until else None,
        previous_until=until,
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None
