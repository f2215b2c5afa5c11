"""Tenants in the control table; who has data, in the projections; and what goes with a tenant.

control      pk  <tenant>#tenant   sk  record     kind  tenant   kind_key  <tenant>
projections  pk  *#tenants         sk  <tenant>   everyone who ever had an event (events/journal.py)

platform/standing.py reads the same record for its state and limits. Where else a tenant is named,
trace.py lists.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform import credentials
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table
from aetherlink.tenants.model import Limits, State, Tenant
from aetherlink.tenants.trace import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.tenants.trace import Trace


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

    def note_data(self, tenant_id: TenantId) -> None:
        """Note that it may have data: a relay that has met it before does not say so again."""
        self._projections.put({"pk": "*#tenants", "sk": tenant_id})

    def void_credentials(self, tenant_id: TenantId) -> int:
        """Void the keys and registration tokens of a tenant; how many secrets those were."""
        hashes = [
            str(item[name])
            for place in ("keys", "services")
            for item in self._control.query_all("pk = :pk", pk=f"{tenant_id}#{place}")
            for name in ("hash", "previous_hash", "token_hash")
            if name in item
        ]
        self._control.delete_many(map(credentials.key_of, dict.fromkeys(hashes)))
        return len(hashes)


class TraceStore:
    """One table, and how what is a tenant's leaves it. `subtract` removes what is counted elsewhere,
    and takes it from there."""

    def __init__(
        self, table: Table, subtract: Callable[[TenantId, Sequence[Item]], None] | None = None
    ) -> None:
        self._table = table
        self._subtract = subtract

    def page(self, start: Item | None, limit: int) -> tuple[list[Item], Item | None]:
        return self._table.page(start, limit)

    def erase(self, tenant: TenantId, traces: Iterable[Trace]) -> None:
        """Remove them. What changes meanwhile stays, for the next pass."""
        by_fate: dict[Fate, list[Trace]] = {fate: [] for fate in Fate}
        for trace in traces:
            by_fate[trace.fate].append(trace)
        counted = [trace.item for trace in by_fate[Fate.IS_SUBTRACTED]]
        if counted and self._subtract:
            self._subtract(tenant, counted)
        for trace in by_fate[Fate.IS_SHORTENED]:
            self._shorten(trace)
        self._table.delete_many(_key(trace.item) for trace in by_fate[Fate.GOES])

    def _shorten(self, trace: Trace) -> None:
        change = dict(trace.change or {})
        was = {name: trace.item[name] for name in change}
        # As it was read: a key that was revoked meanwhile must not come back.
        with suppress(ConditionFailedError):
            self._table.set(
                *_key(trace.item),
                change,
                only_if=" AND ".join(f"{name} = :{name}" for name in was),
                **was,
            )


def _key(item: Item) -> tuple[str, str]:
    return str(item["pk"]), str(item["sk"])


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
