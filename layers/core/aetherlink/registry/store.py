"""Services in the control table.

    pk  <tenant>#services    sk  <name>    kind  service    kind_key  <tenant>#<name>

A registration and the event that announces it are written in one transaction: neither is ever
there without the other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact
from aetherlink.registry.model import Service

if TYPE_CHECKING:
    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore
    from aetherlink.kernel.tenancy import TenantId


class RegistryStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def put(self, tenant_id: TenantId, service: Service, announcing: Event) -> None:
        transact(
            [
                self._table.put_request(_to_item(tenant_id, service)),
                self._events.put_request(announcing),
            ]
        )

    def get(self, tenant_id: TenantId, name: str) -> Service | None:
        item = self._table.get(f"{tenant_id}#services", name)
        return _to_service(item) if item else None

    def delete(self, tenant_id: TenantId, name: str, announcing: Event) -> bool:
        """False if there was no such service; then nothing is announced either."""
        try:
            transact(
                [
                    self._table.delete_request(
                        f"{tenant_id}#services", name, only_if="attribute_exists(pk)"
                    ),
                    self._events.put_request(announcing),
                ]
            )
        except ConditionFailedError:
            return False
        return True

    def count(self, tenant_id: TenantId) -> int:
        return self._table.count("pk = :pk", pk=f"{tenant_id}#services")

    def of(self, tenant_id: TenantId) -> list[Service]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant_id}#services")
        return [_to_service(item) for item in found]

    def all(self) -> list[Service]:
        """Every tenant's services, by tenant and name; a moment behind on AWS (an index)."""
        found = self._table.query_all("kind = :kind", index="by_kind", kind="service")
        return [_to_service(item) for item in found]


def _to_item(tenant_id: TenantId, service: Service) -> Item:
    kept = service.model_dump(exclude={"registered_at", "last_seen", "heal"})
    return {
        "pk": f"{tenant_id}#services",
        "sk": service.name,
        "kind": "service",
        "kind_key": f"{tenant_id}#{service.name}",
        **kept,
        # As text, since its numbers must come back as they were sent.
        "heal": json.dumps(service.heal) if service.heal is not None else None,
        "registered_at": to_text(service.registered_at),
        "last_seen": to_text(service.last_seen),
    }


def _to_service(item: Item) -> Service:
    optional = {name: item.get(name) for name in ("version", "lease_seconds")}
    heal = json.loads(item["heal"]) if "heal" in item else None
    instants = {name: from_text(item[name]) for name in ("registered_at", "last_seen")}
    return Service.model_validate({**item, **optional, **instants, "heal": heal})
