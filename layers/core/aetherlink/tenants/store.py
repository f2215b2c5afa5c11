"""Tenants in the control table; who has data, in the projections.

control      pk  <tenant>#tenant   sk  record     kind  tenant   kind_key  <tenant>
projections  pk  *#tenants         sk  <tenant>   everyone who ever had an event (events/journal.py)

platform/standing.py reads the same record for its state and limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table
from aetherlink.tenants.model import Limits, State, Tenant

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import TenantId


class TenantStore:
    def __init__(self, control: Table, projections: Table) -> None:
        self._control = control
        self._projections = projections

    def get(self, tenant_id: TenantId) -> Tenant | None:
        item = self._control.get(f"{tenant_id}#tenant", "record")
        return _to_tenant(item) if item else None

    def put(self, tenant: Tenant, *, from_state: State | None) -> bool:
        """Store it if its state is still what it was (None: if there is no record); else False."""
        condition = "attribute_not_exists(pk)" if from_state is None else "#state = :state"
        values = {} if from_state is None else {"state": str(from_state)}
        try:
            self._control.put(_to_item(tenant), only_if=condition, **values)
        except ConditionFailedError:
            return False
        return True

    def known(self, *, after: str, limit: int) -> list[Tenant]:
        """Records by tenant id, from the index: a moment behind on AWS."""
        items, _ = self._control.query_up(
            "kind = :kind AND kind_key > :after",
            index="by_kind",
            kind="tenant",
            after=after or " ",
            limit=limit,
        )
        return [_to_tenant(item) for item in items]

    def with_data(self, *, after: str, limit: int) -> list[str]:
        items, _ = self._projections.query_up(
            "pk = :pk AND sk > :after", pk="*#tenants", after=after or " ", limit=limit
        )
        return [str(item["sk"]) for item in items]

    def has_data(self, tenant_id: TenantId) -> bool:
        return self._projections.get("*#tenants", tenant_id) is not None


def _to_item(tenant: Tenant) -> Item:
    times = ("created_at", "updated_at", "removed_at")
    return {
        "pk": f"{tenant.tenant_id}#tenant",
        "sk": "record",
        "kind": "tenant",
        "kind_key": tenant.tenant_id,
        "name": tenant.name or None,
        "limits": {k: v for k, v in tenant.limits.model_dump().items() if v is not None},
        "state": str(tenant.state),
        "job_id": tenant.job_id,
        **{name: to_text(at) for name in times if (at := getattr(tenant, name))},
    }


def _to_tenant(item: Item) -> Tenant:
    times = ("created_at", "updated_at", "removed_at")
    return Tenant(
        tenant_id=item["kind_key"],
        name=item.get("name", ""),
        limits=Limits.model_validate(item.get("limits", {})),
        state=State(item["state"]),
        job_id=item.get("job_id"),
        **{name: from_text(item[name]) for name in times if name in item},
    )
