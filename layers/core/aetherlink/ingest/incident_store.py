"""Incidents in the control table.

    pk  <tenant>#incidents    sk  <digest of sender and key>

Written together with the incident's episode and its events, or not at all. One that is over is kept
for as long as its episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.alerts.store import KEPT, episode_requests
from aetherlink.ingest.incident import Incident, Sender
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherlink.alerts.episode import Told
    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore
    from aetherlink.kernel.tenancy import TenantId


class IncidentStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def get(self, tenant: TenantId, name: str) -> Incident | None:
        item = self._table.get(f"{tenant}#incidents", name)
        return _to_incident(tenant, item) if item else None

    def commit(
        self,
        earlier: Incident | None,
        changed: Incident,
        told: Sequence[Told],
        heard: Event | None,
        also: Sequence[Item] = (),
    ) -> bool:
        """Store a change with all that follows from it; False if somebody else was faster. `also` are
        writes that go with it."""
        version = earlier.version if earlier else 0
        put = self._table.put_request(
            _to_item(changed, version + 1),
            only_if="version = :version" if version else "attribute_not_exists(pk)",
            **({"version": version} if version else {}),
        )
        events = [each.event for each in told if each.event] + ([heard] if heard else [])
        writes = [
            put,
            *also,
            *episode_requests(self._table, told),
            *(self._events.add_request(event) for event in events),
        ]
        try:
            transact(writes)
        except ConditionFailedError:
            return False
        return True


def _to_item(incident: Incident, version: int) -> Item:
    over = incident.changed_at + KEPT
    return {
        "pk": f"{incident.tenant_id}#incidents",
        "sk": incident.name,
        "sender": str(incident.sender),
        "key": incident.key,
        "is_open": incident.is_open,
        "changed_at": to_text(incident.changed_at),
        "episode_id": incident.episode_id,
        "count": incident.count,
        "version": version,
        "expires_at": None if incident.is_open else int(over.timestamp()),
    }


def _to_incident(tenant: TenantId, item: Item) -> Incident:
    return Incident(
        tenant_id=tenant,
        sender=Sender(item["sender"]),
        key=item["key"],
        is_open=item["is_open"],
        changed_at=from_text(item["changed_at"]),
        episode_id=item.get("episode_id"),
        count=item["count"],
        version=item["version"],
    )
