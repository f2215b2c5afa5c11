"""Deliveries in the control table.

    pk  <tenant>#deliveries    sk  <delivery id>    expires_at  30 days after it was made

Every write is conditional on the version it was read at: of two who want to send, one does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.notify.model import Attempt, Delivery, State
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore

KEPT = timedelta(days=30)


class DeliveryStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def get(self, delivery_id: str) -> Delivery | None:
        tenant = tenant_of(delivery_id)
        item = self._table.get(f"{tenant}#deliveries", delivery_id) if tenant else None
        return _to_delivery(item) if item else None

    def open(self, delivery: Delivery) -> Delivery:
        """Keep a new delivery; the one that is there already comes back instead."""
        first = replace(delivery, version=1)
        try:
            self._table.put(_to_item(first), only_if="attribute_not_exists(pk)")
        except ConditionFailedError as taken:
            found = taken.found
            return _to_delivery(found) if found else (self.get(delivery.id) or first)
        return first

    def save(
        self, earlier: Delivery, changed: Delivery, announcing: Event | None = None
    ) -> Delivery | None:
        """Store a change, with the event that announces it; None if somebody was faster."""
        stored = replace(changed, version=earlier.version + 1)
        put = self._table.put_request(
            _to_item(stored), only_if="version = :version", version=earlier.version
        )
        events = [self._events.put_request(announcing)] if announcing else []
        try:
            transact([put, *events])
        except ConditionFailedError:
            return None
        return stored


def _to_item(delivery: Delivery) -> Item:
    return {
        "pk": f"{delivery.tenant_id}#deliveries",
        "sk": delivery.id,
        "endpoint_id": delivery.endpoint_id,
        "body": delivery.body,
        "rule_id": delivery.rule_id,
        "episode_id": delivery.episode_id,
        "transition": delivery.transition,
        "created_at": to_text(delivery.created_at),
        "due_at": to_text(delivery.due_at),
        "state": str(delivery.state),
        "attempts": [[to_text(a.at), a.ms, a.status, a.error] for a in delivery.attempts],
        "tries": delivery.tries,
        "leased_until": to_text(delivery.leased_until) if delivery.leased_until else None,
        "version": delivery.version,
        "expires_at": int((delivery.created_at + KEPT).timestamp()),
    }


def _to_delivery(item: Item) -> Delivery:
    return Delivery(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        endpoint_id=item["endpoint_id"],
        body=item["body"],
        rule_id=item["rule_id"],
        episode_id=item["episode_id"],
        transition=item["transition"],
        created_at=from_text(item["created_at"]),
        due_at=from_text(item["due_at"]),
        state=State(item["state"]),
        attempts=tuple(Attempt(from_text(at), *rest) for at, *rest in item["attempts"]),
        tries=item["tries"],
        leased_until=_instant(item.get("leased_until")),
        version=item["version"],
    )


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
