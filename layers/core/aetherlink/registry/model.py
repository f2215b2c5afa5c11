"""What a service says about itself, and what we keep of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from aetherlink.kernel.errors import ForbiddenError
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import Caller, TenantId
from aetherlink.kernel.time import to_text

MAX_URL = 2048


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
    heal: dict[str, Any] | None = Field(
        default=None, description="How to heal it; kept as sent until healing is deployed"
    )
    tenant_id: str | None = None
    rotate_token: bool = Field(
        default=False, description="A new registration token for a service that is there already"
    )

    @field_validator("url", "health_url")
    @classmethod
    def _is_http(cls, given: str | None) -> str | None:
        # Form only: its address is checked when it is called, by the guarded outbound client.
        if given is None:
            return None
        try:
            parts = urlsplit(given)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError:
            parts, has_host = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not has_host or given.strip() != given:
            raise ValueError("must be an http or https URL such as https://billing.example/ping")
        return given


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
    # Of its registration token; None for one that was registered before there were any. Never shown.
    token_hash: str | None = Field(default=None, exclude=True, repr=False)


def admit(
    registration: Registration,
    tenant_id: TenantId,
    *,
    seen_at: datetime,
    earlier: Service | None,
    token_hash: str | None,
) -> Service:
    """The record a registration becomes. A missing health URL is `<url>/ping` (spec v1.13).

    `token_hash` is that of a new token; None leaves the one that the service has.
    """
    given = registration.model_dump(exclude={"tenant_id", "health_url", "rotate_token"})
    return Service(
        **given,
        tenant_id=tenant_id,
        health_url=registration.health_url or f"{registration.url.rstrip('/')}/ping",
        registered_at=earlier.registered_at if earlier else seen_at,
        last_seen=seen_at,
        token_hash=token_hash or (earlier.token_hash if earlier else None),
    )


def shown(service: Service, now: datetime) -> dict[str, Any]:
    """As it is listed."""
    return {
        **service.model_dump(),
        "registered_at": to_text(service.registered_at),
        "last_seen": to_text(service.last_seen),
        "state": state(service, now),
    }


def check_self(caller: Caller, name: str) -> None:
    """A registration token is for one service alone. Raises ForbiddenError for any other."""
    if caller.service and caller.service != name:
        raise ForbiddenError(
            f"This registration token is for the service '{caller.service}' alone, not for '{name}'"
        )


def state(service: Service, now: datetime) -> Literal["unknown", "expired"]:
    """`expired` when its lease has run out; `unknown` until it is probed."""
    if service.lease_seconds is None:
        return "unknown"
    is_over = service.last_seen + timedelta(seconds=service.lease_seconds) <= now
    return "expired" if is_over else "unknown"
