"""Register, renew, list and remove services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.errors import ConflictError, ForbiddenError, NotFoundError
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.time import to_text
from aetherlink.registry.model import Registration, Service, admit, check_self, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.kernel.tenancy import Caller, TenantId

SOURCE = "aether-command-center"
# Two who register the same name at the same moment: one of them looks again.
_TRIES = 3


class Services(Protocol):
    """What the registry needs of its storage."""

    def put(
        self, tenant_id: TenantId, service: Service, earlier: Service | None, announcing: Event
    ) -> bool: ...
    def get(self, tenant_id: TenantId, name: str) -> Service | None: ...
    def see(self, tenant_id: TenantId, name: str, at: datetime) -> bool: ...
    def delete(self, tenant_id: TenantId, service: Service, announcing: Event) -> bool: ...
    def count(self, tenant_id: TenantId) -> int: ...
    def of(self, tenant_id: TenantId) -> list[Service]: ...
    def all(self) -> list[Service]: ...


class Minting(Protocol):
    """Where registration tokens come from."""

    def generate(self) -> str: ...
    def hash_of(self, secret: str) -> str: ...


class Registry:
    def __init__(self, services: Services, mint: Minting, now: Callable[[], datetime]) -> None:
        self._services = services
        self._mint = mint
        self._now = now

    def register(self, caller: Caller, registration: Registration) -> dict[str, Any]:
        """Add or renew a service of the caller's tenant; the tenant's count comes back, and of a new
        service the token with which it may look after itself."""
        check_self(caller, registration.name)
        tenant = caller.writes(registration.tenant_id)
        for _ in range(_TRIES):
            earlier = self._services.get(tenant, registration.name)
            token = self._token(caller, registration, earlier)
            now = self._now()
            service = admit(
                registration,
                tenant,
                seen_at=now,
                earlier=earlier,
                token_hash=self._mint.hash_of(token) if token else None,
            )
            announcing = self._registered(caller, service, now)
            if self._services.put(tenant, service, earlier, announcing):
                break
        else:
            raise ConflictError(_busy(registration.name))
        caller.trail.changed(
            f"service/{service.name}",
            before=shown(earlier, now) if earlier else None,
            after=shown(service, now),
        )
        answer = {
            "status": "ok",
            "registered": service.name,
            "service_count": self._services.count(tenant),
        }
        return {**answer, "registration_token": token} if token else answer

    def heartbeat(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        """The service is there: its lease, if it has one, begins anew."""
        check_self(caller, name)
        tenant, now = caller.writes(named_tenant), self._now()
        if not self._services.see(tenant, name, now):
            raise NotFoundError(_unknown(name))
        return {"status": "ok", "service": name, "last_seen": to_text(now)}

    def catalogue(self, view: TenantId | None) -> dict[str, Any]:
        services = self._services.all() if view is None else self._services.of(view)
        now = self._now()
        return {
            "status": "ok",
            "count": len(services),
            "services": [shown(service, now) for service in services],
        }

    def remove(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        """Remove a service, and its registration token with it."""
        check_self(caller, name)
        tenant = caller.writes(named_tenant)
        for _ in range(_TRIES):
            service, now = self._services.get(tenant, name), self._now()
            if service is None:
                raise NotFoundError(_unknown(name))
            if self._services.delete(tenant, service, self._unregistered(caller, service, now)):
                break
        else:
            raise ConflictError(_busy(name))
        caller.trail.changed(f"service/{name}", before=shown(service, now))
        return {"status": "ok", "deleted": name, "remaining_count": self._services.count(tenant)}

    def _token(
        self, caller: Caller, registration: Registration, earlier: Service | None
    ) -> str | None:
        """The new registration token, where one is due."""
        if caller.service:
            # What a token can do it must not be able to prolong: who stole one would keep it.
            if registration.rotate_token:
                raise ForbiddenError(
                    "A registration token cannot replace itself; an operator does that"
                )
            if earlier is None:
                raise ForbiddenError("This service has been removed; an operator registers it anew")
            return None
        return self._mint.generate() if earlier is None or registration.rotate_token else None

    def _registered(self, caller: Caller, service: Service, now: datetime) -> Event:
        payload = service.model_dump(include={"url", "version", "tags"})
        return announce(
            "service.registered",
            source=SOURCE,
            tenant_id=service.tenant_id,
            payload={"service": service.name, **payload},
            now=now,
            event_id=uuid7(now),
            trace_id=caller.trace_id,
        )

    def _unregistered(self, caller: Caller, service: Service, now: datetime) -> Event:
        return announce(
            "service.unregistered",
            source=SOURCE,
            tenant_id=service.tenant_id,
            payload={"service": service.name},
            now=now,
            event_id=uuid7(now),
            severity=Severity.WARNING,
            trace_id=caller.trace_id,
        )


def _unknown(name: str) -> str:
    return f"Service '{name}' not found in registry"


def _busy(name: str) -> str:
    return f"Somebody else is changing the service '{name}'; try again"
