"""Who is calling, for which tenant, and what they may name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from aetherlink.kernel.errors import Flaw, ForbiddenError, UnprocessableError
from aetherlink.kernel.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Callable

TenantId = NewType("TenantId", str)

TENANT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

# Platform-wide: its events show in every tenant's views.
SYSTEM = TenantId("system")
# Who publishes without naming a tenant, in dev mode.
DEFAULT = TenantId("default")


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    AGENT = "agent"
    VIEWER = "viewer"
    # Of a registration token alone: nobody can be granted it, and it is for one service's own routes.
    SERVICE = "service"


# What people, keys and tokens can hold.
GRANTABLE = frozenset({Role.ADMIN, Role.OPERATOR, Role.AGENT, Role.VIEWER})


def parse_tenant(text: str, pointer: str) -> TenantId:
    """The tenant id in `text`; `pointer` is where it stood, for the error."""
    if not TENANT_PATTERN.fullmatch(text):
        raise UnprocessableError(
            (
                Flaw(
                    pointer,
                    "a tenant id has 1 to 64 letters, digits, '_', '.' or '-' and starts with a "
                    f"letter or digit, got {text[:80]!r}",
                ),
            )
        )
    return TenantId(text)


@dataclass(frozen=True)
class Scopes:
    """What narrows a key further than its roles do; empty narrows nothing.

    A pattern may end in `*`: `billing-*` of sources, `POST /events/*` of routes (method and template).
    """

    sources: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()

    def allow_source(self, source: str) -> bool:
        return _fits(self.sources, source)

    def allow_route(self, method: str, template: str) -> bool:
        return _fits(self.routes, f"{method} {template}")


def _fits(patterns: tuple[str, ...], text: str) -> bool:
    return not patterns or any(
        text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
        for pattern in patterns
    )


@dataclass(frozen=True)
class Caller:
    """A verified identity.

    `tenant_id` is None only for an identity that may see every tenant and has named none. `tenants`
    are those it was granted, where they are more than one. `key_id` names the key that it came with,
    `service` the one service that a registration token stands for.
    """

    subject: str
    roles: frozenset[Role]
    tenant_id: TenantId | None
    cross_tenant: bool = False
    ip: str = ""
    trace_id: str = ""
    tenants: frozenset[TenantId] = frozenset()
    key_id: str = ""
    service: str = ""
    scopes: Scopes = Scopes()
    # The key's own limit; 0, none.
    requests_per_minute: int = 0
    # Why it may do nothing at all as it presents itself, known as it is; "" if it may.
    refusal: str = ""
    trail: Trail = field(default_factory=Trail, compare=False, repr=False)
    # Raises ForbiddenError for a tenant that nothing may be written to. That of `tenant_id` has been
    # asked for when the caller was admitted.
    check_tenant: Callable[[TenantId], None] | None = field(default=None, compare=False, repr=False)

    def has_any(self, wanted: frozenset[Role]) -> bool:
        return not self.roles.isdisjoint(wanted)

    @property
    def home(self) -> TenantId:
        """The tenant that the caller writes to when it names none."""
        return self.tenant_id or DEFAULT

    def may_act_for(self, tenant: str) -> bool:
        return self.cross_tenant or tenant == self.tenant_id or tenant in self.tenants

    def reads(self, named: str | None = None) -> TenantId | None:
        """The tenant whose data the caller sees; None means all of them."""
        if named:
            return self._named(named, "/tenant_id")
        return self.tenant_id

    def writes(self, named: str | None = None) -> TenantId:
        """The tenant that the caller writes to."""
        tenant = self._named(named, "/tenant_id") if named else self.home
        if tenant == SYSTEM and not (self.cross_tenant and Role.ADMIN in self.roles):
            raise ForbiddenError(
                "The tenant 'system' is the platform's own; only an admin with the cross-tenant "
                "grant may act for it"
            )
        if self.check_tenant and tenant not in (self.tenant_id, SYSTEM):
            self.check_tenant(tenant)
        self.trail.tenant_id = tenant
        return tenant

    def _named(self, named: str, pointer: str) -> TenantId:
        tenant = parse_tenant(named, pointer)
        if not self.may_act_for(tenant):
            raise ForbiddenError(f"You may not act for tenant '{tenant}'")
        return tenant
