"""Services in the control table.

    pk  <tenant>#services    sk  <name>    kind  service    kind_key  <tenant>#<name>
    token_hash  leads to the item of its registration token (platform/credentials.py)

A registration, its token and the event that announces it are written in one transaction: none is
ever there without the others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aetherlink.kernel.tenancy import Role
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform import credentials
from aetherlink.platform.credentials import Credential
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact
from aetherlink.registry.model import Service

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore
    from aetherlink.kernel.tenancy import TenantId


KIND = "service"


class RegistryStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def put(
        self, tenant_id: TenantId, service: Service, earlier: Service | None, announcing: Event
    ) -> bool:
        """False if what is there is not `earlier` any more; then nothing is written."""
        condition, values = _unchanged(earlier)
        writes = [
            self._table.put_request(_to_item(tenant_id, service), only_if=condition, **values),
            self._events.put_request(announcing),
        ]
        token, before = service.token_hash, earlier.token_hash if earlier else None
        if token and token != before:
            writes.append(self._table.put_request(_token(tenant_id, service.name, token)))
            if before:
                writes.append(self._table.delete_request(*credentials.key_of(before)))
        return _is_done(writes)

    def get(self, tenant_id: TenantId, name: str) -> Service | None:
        item = self._table.get(f"{tenant_id}#services", name)
        return _to_service(item) if item else None

    def see(self, tenant_id: TenantId, name: str, at: datetime) -> bool:
        """Note that it was there; False if there is no such service."""
        try:
            self._table.set(
                f"{tenant_id}#services",
                name,
                {"last_seen": to_text(at)},
                only_if="attribute_exists(pk)",
            )
        except ConditionFailedError:
            return False
        return True

    def delete(self, tenant_id: TenantId, service: Service, announcing: Event) -> bool:
        """False if what is there is not `service` any more; then nothing is announced either."""
        condition, values = _unchanged(service)
        writes = [
            self._table.delete_request(
                f"{tenant_id}#services", service.name, only_if=condition, **values
            ),
            self._events.put_request(announcing),
        ]
        if service.token_hash:
            writes.append(self._table.delete_request(*credentials.key_of(service.token_hash)))
        return _is_done(writes)

    def count(self, tenant_id: TenantId) -> int:
        return self._table.count("pk = :pk", pk=f"{tenant_id}#services")

    def of(self, tenant_id: TenantId) -> list[Service]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant_id}#services")
        return [_to_service(item) for item in found]

    def dependencies(self, tenant_id: TenantId) -> dict[str, list[str]]:
        """What each of a tenant's services depends on, by name."""
        return {service.name: service.depends_on for service in self.of(tenant_id)}

    def all(self) -> list[Service]:
        """Every tenant's services, by tenant and name; a moment behind on AWS (an index)."""
        found = self._table.query_all("kind = :kind", index="by_kind", kind=KIND)
        return [_to_service(item) for item in found]

    def between(self, first: str, last: str) -> list[Service]:
        """The same, of a range of `<tenant>#<name>`, both ends included."""
        found = self._table.query_all(
            "kind = :kind AND kind_key BETWEEN :first AND :last",
            index="by_kind",
            kind=KIND,
            first=first,
            last=last,
        )
        return [_to_service(item) for item in found]


def _unchanged(earlier: Service | None) -> tuple[str, Item]:
    """The condition that nobody registered, removed or gave it another token since it was read: a
    token that no service leads to could never be taken back."""
    if earlier is None:
        return "attribute_not_exists(pk)", {}
    if earlier.token_hash is None:
        return "attribute_exists(pk) AND attribute_not_exists(token_hash)", {}
    return "token_hash = :token_hash", {"token_hash": earlier.token_hash}


def _is_done(writes: list[Item]) -> bool:
    try:
        transact(writes)
    except ConditionFailedError:
        return False
    return True


def _token(tenant_id: TenantId, name: str, token_hash: str) -> Item:
    credential = Credential(
        kind="service", name=name, roles=frozenset({Role.SERVICE}), tenants=(tenant_id,)
    )
    return credentials.to_item(token_hash, credential)


def _to_item(tenant_id: TenantId, service: Service) -> Item:
    kept = service.model_dump(exclude={"registered_at", "last_seen", "heal"})
    last_registered_at = service.last_registered_at
    return {
        "pk": f"{tenant_id}#services",
        "sk": service.name,
        "kind": KIND,
        "kind_key": f"{tenant_id}#{service.name}",
        **kept,
        "token_hash": service.token_hash,
        "heal_secret": service.heal_secret,
        # As text, since its numbers must come back as they were sent.
        "heal": json.dumps(service.heal) if service.heal is not None else None,
        "registered_at": to_text(service.registered_at),
        "last_seen": to_text(service.last_seen),
        "last_registered_at": to_text(last_registered_at) if last_registered_at else None,
    }


def _to_service(item: Item) -> Service:
    optional = {name: item.get(name) for name in ("version", "lease_seconds")}
    heal = json.loads(item["heal"]) if "heal" in item else None
    names = ("registered_at", "last_seen", "last_registered_at")
    instants = {name: from_text(item[name]) for name in names if name in item}
    return Service.model_validate({**item, **optional, **instants, "heal": heal})
