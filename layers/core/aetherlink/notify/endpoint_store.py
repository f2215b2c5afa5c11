"""Endpoints in the control table.

    pk  <tenant>#endpoints    sk  <endpoint id>    kind  endpoint    kind_key  <tenant>#<id>

An endpoint of parameter AlertWebhooks has an item too: its secrets, and how it fares. What the
parameter says of it is not kept.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.events.model import Severity
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.notify.endpoint import Digesting, Endpoint, Secret
from aetherlink.notify.kinds import Kind
from aetherlink.notify.signing import new_secret
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore


class EndpointStore:
    """`configured` are the endpoints of parameter AlertWebhooks."""

    def __init__(self, table: Table, events: EventStore, configured: Iterable[Endpoint]) -> None:
        self._table = table
        self._events = events
        self._configured = {endpoint.id: endpoint for endpoint in configured}

    def of(self, tenant: TenantId) -> list[Endpoint]:
        """A tenant's endpoints; of `system`, those of the parameter too."""
        found = {
            item["sk"]: item for item in self._table.query_all("pk = :pk", pk=f"{tenant}#endpoints")
        }
        own = [_to_endpoint(item) for key, item in found.items() if not key.startswith("wh_")]
        if tenant != SYSTEM:
            return own
        return [*(self._standing(e, found.get(e.id)) for e in self._configured.values()), *own]

    def for_tenant(self, tenant: TenantId) -> list[Endpoint]:
        """All that may hear of a tenant's events: its own endpoints and those of `system`."""
        return [e for owner in dict.fromkeys((tenant, SYSTEM)) for e in self.of(owner)]

    def get(self, endpoint_id: str) -> Endpoint | None:
        listed = self._configured.get(endpoint_id)
        if listed:
            return self._standing(listed, self._table.get(f"{SYSTEM}#endpoints", endpoint_id))
        tenant = tenant_of(endpoint_id)
        item = self._table.get(f"{tenant}#endpoints", endpoint_id) if tenant else None
        return _to_endpoint(item) if item else None

    def all(self) -> list[Endpoint]:
        """Everybody's, for the relay."""
        found = self._table.query_all("kind = :kind", index="by_kind", kind="endpoint")
        return [_to_endpoint(i) for i in found if not str(i["sk"]).startswith("wh_")]

    def add(self, endpoint: Endpoint) -> None:
        self._table.put(_to_item(replace(endpoint, version=1)), only_if="attribute_not_exists(pk)")

    def save(self, earlier: Endpoint, changed: Endpoint, announcing: Event | None = None) -> bool:
        """Store a change, with the event that announces it. False if somebody was faster."""
        stored = replace(changed, version=earlier.version + 1)
        put = self._table.put_request(
            _to_item(stored), only_if="version = :version", version=earlier.version
        )
        events = [self._events.put_request(announcing)] if announcing else []
        try:
            transact([put, *events])
        except ConditionFailedError:
            return False
        return True

    def delete(self, endpoint: Endpoint) -> None:
        self._table.delete(f"{endpoint.tenant_id}#endpoints", endpoint.id)

    def fares(self, seen: Endpoint, now: Endpoint) -> bool:
        """Note how an endpoint fares, unless somebody else has meanwhile, or it was changed (False)."""
        rest = "attribute_not_exists(resting_until)"
        values: dict[str, Any] = {"version": seen.version, "failures": seen.failures}
        failures = "failures = :failures"
        if not seen.failures:
            failures = f"(attribute_not_exists(failures) OR {failures})"
        if seen.resting_until:
            rest, values["rest"] = "resting_until = :rest", to_text(seen.resting_until)
        try:
            self._table.set(
                f"{seen.tenant_id}#endpoints",
                seen.id,
                {
                    "failing_since": _text(now.failing_since),
                    "failures": now.failures,
                    "resting_until": _text(now.resting_until),
                },
                only_if=f"version = :version AND {failures} AND {rest}",
                **values,
            )
        except ConditionFailedError:
            return False
        return True

    def _standing(self, listed: Endpoint, item: Item | None) -> Endpoint:
        """One of the parameter, with the secrets that it has had since it was first seen."""
        if item is None:
            first = replace(listed, secrets=(Secret(new_secret()),), version=1)
            try:
                self._table.put(_to_item(first), only_if="attribute_not_exists(pk)")
            except ConditionFailedError:
                item = self._table.get(f"{SYSTEM}#endpoints", listed.id)
            if item is None:
                return first
        kept = _to_endpoint(item)
        return replace(
            listed,
            secrets=kept.secrets,
            enabled=kept.enabled,
            disabled_because=kept.disabled_because,
            failing_since=kept.failing_since,
            failures=kept.failures,
            resting_until=kept.resting_until,
            created_at=kept.created_at,
            updated_at=kept.updated_at,
            version=kept.version,
        )


def _to_item(endpoint: Endpoint) -> Item:
    digesting = endpoint.digesting
    return {
        "pk": f"{endpoint.tenant_id}#endpoints",
        "sk": endpoint.id,
        "kind": "endpoint",
        "kind_key": f"{endpoint.tenant_id}#{endpoint.id}",
        "url": endpoint.url,
        "name": endpoint.name,
        "of_kind": str(endpoint.kind),
        "routing_key": endpoint.routing_key,
        "token": endpoint.token,
        "event_types": list(endpoint.event_types),
        "min_severity": endpoint.min_severity and str(endpoint.min_severity),
        "after_seconds": int(endpoint.after.total_seconds()),
        "rate_per_minute": endpoint.rate_per_minute,
        "digest": [digesting.after, int(digesting.window.total_seconds())] if digesting else None,
        "enabled": endpoint.enabled,
        "disabled_because": endpoint.disabled_because,
        "secrets": [[s.value, to_text(s.until) if s.until else None] for s in endpoint.secrets],
        "failing_since": _text(endpoint.failing_since),
        "failures": endpoint.failures,
        "resting_until": _text(endpoint.resting_until),
        "created_at": _text(endpoint.created_at),
        "updated_at": _text(endpoint.updated_at),
        "version": endpoint.version,
    }


def _to_endpoint(item: Item) -> Endpoint:
    severity, digest = item.get("min_severity"), item.get("digest")
    return Endpoint(
        id=item["sk"],
        url=item["url"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        name=item.get("name") or "",
        kind=Kind(item["of_kind"]),
        routing_key=item.get("routing_key"),
        token=item.get("token"),
        event_types=tuple(item["event_types"]),
        min_severity=Severity(severity) if severity else None,
        after=timedelta(seconds=item["after_seconds"]),
        rate_per_minute=item["rate_per_minute"],
        digesting=Digesting(digest[0], timedelta(seconds=digest[1])) if digest else None,
        enabled=item["enabled"],
        disabled_because=item.get("disabled_because"),
        secrets=tuple(Secret(value, _instant(until)) for value, until in item["secrets"]),
        failing_since=_instant(item.get("failing_since")),
        failures=item.get("failures", 0),
        resting_until=_instant(item.get("resting_until")),
        created_at=_instant(item.get("created_at")),
        updated_at=_instant(item.get("updated_at")),
        version=item["version"],
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
