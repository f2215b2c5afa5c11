"""What a service says about itself, and what we keep of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from aetherlink.kernel.errors import ForbiddenError
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import Caller, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.registry.lease import Lease, lapsed
from aetherlink.registry.plan import MAX_URL, HealPlan, as_sent, http_url

if TYPE_CHECKING:
    from collections.abc import Iterable

# A run of the healer looks at so many of a tenant's within its minute (docs/healing.md, Limits).
MAX_SERVICES = 1_000


class State(StrEnum):
    """`unknown`: nobody has looked yet."""

    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    EXPIRED = "expired"


class Registration(Given):
    """The body of POST /ops/register."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[^\s/#?%\x00-\x1f]+$")
    url: str = Field(max_length=MAX_URL)
    health_url: str | None = Field(default=None, max_length=MAX_URL)
    version: str | None = Field(default=None, max_length=64)
    roles_required: list[str] = Field(default=[], max_length=32)
    tags: list[str] = Field(default=[], max_length=64)
    lease_seconds: int | None = Field(default=None, ge=1, le=86_400)
    depends_on: list[str] = Field(default=[], max_length=64)
    heal: HealPlan | None = Field(default=None, description="How to look at it, and heal it")
    tenant_id: str | None = None
    rotate_token: bool = Field(
        default=False, description="A new registration token for a service that is there already"
    )

    @field_validator("url", "health_url")
    @classmethod
    def _is_http(cls, given: str | None) -> str | None:
        # Form only: its address is checked when it is called, by the guarded outbound client.
        return given if given is None else http_url(given)


class Service(Shape):
    """A registered service, as it is kept and listed."""

    name: str
    tenant_id: TenantId
    url: str
    health_url: str
    version: str | None
    roles_required: list[str]
    tags: list[str]
    lease_seconds: int | None
    depends_on: list[str]
    heal: dict[str, Any] | None
    registered_at: datetime
    last_seen: datetime
    # When it last said what it is; a heartbeat says only that it is.
    last_registered_at: datetime | None = Field(default=None, exclude=True)
    # Of its registration token; None for one that was registered before there were any. Never shown.
    token_hash: str | None = Field(default=None, exclude=True, repr=False)
    # What the calls of its hook are signed with. Shown once, to whom it was made for.
    heal_secret: str | None = Field(default=None, exclude=True, repr=False)

    @property
    def plan(self) -> HealPlan | None:
        """How it is looked at and healed. None where it said nothing, or nothing that we understand
        (before there was healing, anything was kept)."""
        if self.heal is None:
            return None
        try:
            return HealPlan.model_validate(self.heal)
        except ValueError:
            return None

    @property
    def lease_ends(self) -> datetime | None:
        if self.lease_seconds is None:
            return None
        return self.last_seen + timedelta(seconds=self.lease_seconds)


class Seen(Shape):
    """What looking at a service found. `since` is when the state began."""

    state: State
    since: datetime | None = None
    checked_at: datetime | None = None
    error: str | None = None


class Entry(Shape):
    """A service as it was at some time. `is_exact` is False where only what it is now is known."""

    name: str
    tenant_id: TenantId
    url: str
    version: str | None
    tags: list[str]
    registered_at: datetime
    is_exact: bool


def admit(
    registration: Registration,
    tenant_id: TenantId,
    *,
    seen_at: datetime,
    earlier: Service | None,
    token_hash: str | None,
    heal_secret: str | None,
) -> Service:
    """The record a registration becomes. A missing health URL is `<url>/ping` (spec v1.13).

    `token_hash` is that of a new token, `heal_secret` a new secret; None leaves what the service has.
    """
    given = registration.model_dump(exclude={"tenant_id", "health_url", "rotate_token", "heal"})
    return Service(
        **given,
        tenant_id=tenant_id,
        health_url=registration.health_url or f"{registration.url.rstrip('/')}/ping",
        heal=as_sent(registration.heal) if registration.heal else None,
        registered_at=earlier.registered_at if earlier else seen_at,
        last_seen=seen_at,
        last_registered_at=seen_at,
        token_hash=token_hash or (earlier.token_hash if earlier else None),
        heal_secret=heal_secret or (earlier.heal_secret if earlier else None),
    )


def shown(service: Service, state: State, seen: Seen | None = None) -> dict[str, Any]:
    """As it is listed."""
    return {
        **service.model_dump(),
        "registered_at": to_text(service.registered_at),
        "last_seen": to_text(service.last_seen),
        "state": str(state),
        "state_since": to_text(seen.since) if seen and seen.since else None,
        "error": seen.error if seen else None,
    }


def check_self(caller: Caller, name: str) -> None:
    """A registration token is for one service alone. Raises ForbiddenError for any other."""
    if caller.service and caller.service != name:
        raise ForbiddenError(
            f"This registration token is for the service '{caller.service}' alone, not for '{name}'"
        )


def leases(services: Iterable[Service]) -> list[Lease]:
    return [Lease(each.name, each.lease_ends) for each in services if each.lease_ends]


class Standing:
    """How the services of one tenant stand, all of them: one lease says nothing by itself."""

    def __init__(self, services: Iterable[Service], now: datetime) -> None:
        self.expired, self.preserved = lapsed(leases(services), now)

    def state(self, name: str, seen: Seen | None) -> State:
        """`expired` when its lease has run out; else what looking at it found."""
        if name in self.expired:
            return State.EXPIRED
        return seen.state if seen else State.UNKNOWN
