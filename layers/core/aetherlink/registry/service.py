"""Register, list and remove services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.errors import NotFoundError
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.time import to_text
from aetherlink.registry.model import Registration, Service, admit, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.kernel.tenancy import Caller, TenantId

SOURCE = "aether-command-center"


class Services(Protocol):
    """What the registry needs of its storage."""

    def put(self, tenant_id: TenantId, service: Service, announcing: Event) -> None: ...
    def get(self, tenant_id: TenantId, name: str) -> Service | None: ...
    def delete(self, tenant_id: TenantId, name: str, announcing: Event) -> bool: ...
    def count(self, tenant_id: TenantId) -> int: ...
    def of(self, tenant_id: TenantId) -> list[Service]: ...
    def all(self) -> list[Service]: ...


class Registry:
    def __init__(self, services: Services, now: Callable[[], datetime]) -> None:
        self._services = services
        self._now = now

    def register(self, caller: Caller, registration: Registration) -> dict[str, Any]:
        """Add or renew a service of the caller's tenant; the tenant's count comes back."""
        tenant, now = caller.writes(registration.tenant_id), self._now()
        earlier = self._services.get(tenant, registration.name)
        service = admit(registration, tenant, seen_at=now, earlier=earlier)
        payload = service.model_dump(include={"url", "version", "tags"})
        self._services.put(
            tenant,
            service,
            announcing=announce(
                "service.registered",
                source=SOURCE,
                tenant_id=tenant,
                payload={"service": service.name, **payload},
                now=now,
                event_id=uuid7(now),
                trace_id=caller.trace_id,
            ),
        )
        return {
            "status": "ok",
            "registered": service.name,
            "service_count": self._services.count(tenant),
        }

    def catalogue(self, view: TenantId | None) -> dict[str, Any]:
        services = self._services.all() if view is None else self._services.of(view)
        now = self._now()
        shown = [
            {
                **service.model_dump(),
                "registered_at": to_text(service.registered_at),
                "last_seen": to_text(service.last_seen),
                "state": state(service, now),
            }
            for service in services
        ]
        return {"status": "ok", "count": len(shown), "services": shown}

    def remove(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        tenant, now = caller.writes(named_tenant), self._now()
        gone = self._services.delete(
            tenant,
            name,
            announcing=announce(
                "service.unregistered",
                source=SOURCE,
                tenant_id=tenant,
                payload={"service": name},
                now=now,
                event_id=uuid7(now),
                severity=Severity.WARNING,
                trace_id=caller.trace_id,
            ),
        )
        if not gone:
            raise NotFoundError(f"Service '{name}' not found in registry")
        return {"status": "ok", "deleted": name, "remaining_count": self._services.count(tenant)}
