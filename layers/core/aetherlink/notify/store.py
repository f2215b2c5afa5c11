"""Deliveries in the control table.

    pk  <tenant>#deliveries       sk  <delivery id>
        by_kind: kind <tenant>#delivery, kind_key <created at>#<id>
    pk  <tenant>#digest#<id>      sk  <delivery id>          what a digest tells of
    pk  <tenant>#delivery-stats   sk  <day>#<endpoint id>    numbers, for 400 days
    pk  <tenant>#delivery-rate    sk  <endpoint id>#<from>   how many in a minute, or in a digest's window

All but the numbers is kept for 30 days. Every change is conditional on the version it was read at: of
two who want to send, one does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.notify.model import Attempt, Delivery, State
from aetherlink.notify.outcome import Trouble
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore
    from aetherlink.notify.endpoint import Endpoint

KEPT = timedelta(days=30)
STATISTICS_KEPT = timedelta(days=400)
_RATE_KEPT = timedelta(hours=2)


class DeliveryStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def get(self, delivery_id: str) -> Delivery | None:
        tenant = tenant_of(delivery_id)
        item = self._table.get(f"{tenant}#deliveries", delivery_id) if tenant else None
        return _to_delivery(item) if item else None

    def open(self, delivery: Delivery) -> tuple[Delivery, bool]:
        """Keep a new delivery, and whether it was new; the one that is there already comes back
        instead."""
        first = replace(delivery, version=1)
        try:
            self._table.put(_to_item(first), only_if="attribute_not_exists(pk)")
        except ConditionFailedError:
            return self.get(delivery.id) or first, False
        self._count(first, {"opened": 1})
        return first, True

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
        numbers = _numbers(earlier, changed)
        if numbers:
            self._count(changed, numbers)
        return stored

    def into(self, told: Delivery, digest: Delivery) -> bool:
        """Let a digest tell of a delivery. False if the digest is being sent, or the delivery has gone
        on by itself."""
        partition = f"{digest.tenant_id}#digest#{digest.id}"
        self._table.put(
            {
                "pk": partition,
                "sk": told.id,
                "event": _text(told.event),
                "expires_at": _expiry(told.created_at),
            }
        )
        # Whoever sends a digest first claims it, then asks what it tells of. Not claimed after the
        # entry above was made, it will be asked later, and finds it.
        waiting = self.get(digest.id)
        if waiting is None or waiting.version > 1:
            self._table.delete(partition, told.id)
            return False
        return self.save(told, replace(told, state=State.DIGESTED, digest_id=digest.id)) is not None

    def digested(self, digest: Delivery) -> Iterator[dict[str, Any]]:
        """The events that a digest tells of."""
        found = self._table.query_all("pk = :pk", pk=f"{digest.tenant_id}#digest#{digest.id}")
        for item in found:
            event: dict[str, Any] = json.loads(item["event"])
            yield event

    def passed(self, endpoint: Endpoint, since: datetime, name: str = "") -> int:
        """Count one more for an endpoint in the window that began at `since`; how many it makes."""
        numbers = self._table.add(
            f"{endpoint.tenant_id}#delivery-rate",
            f"{endpoint.id}#{name}#{to_text(since)}",
            {"passed": 1},
            setting={"expires_at": int((since + _RATE_KEPT).timestamp())},
        )
        return int(numbers["passed"])

    def page(
        self, tenant: TenantId, *, before: str, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """Deliveries of a tenant's endpoints, the newest first, and where the next page begins."""
        items, more = self._table.query_down(
            "kind = :kind AND kind_key < :before",
            index="by_kind",
            limit=limit,
            kind=f"{tenant}#delivery",
            before=before or "~",
        )
        return [_to_delivery(item) for item in items], items[-1]["kind_key"] if more else None

    def numbers(self, tenant: TenantId, since: str, until: str) -> Iterator[tuple[str, str, Item]]:
        """The day, the endpoint and its numbers of that day."""
        found = self._table.query_all(
            "pk = :pk AND sk BETWEEN :since AND :until",
            pk=f"{tenant}#delivery-stats",
            since=since,
            until=f"{until}#~",
        )
        for item in found:
            day, _, endpoint_id = str(item["sk"]).partition("#")
            yield day, endpoint_id, item

    def _count(self, delivery: Delivery, numbers: Mapping[str, int]) -> None:
        """Add to the numbers of the day. Apart from the change itself: in one transaction with it,
        many at once would be in each other's way. A crash in between leaves one uncounted."""
        self._table.add(
            f"{delivery.tenant_id}#delivery-stats",
            f"{to_text(delivery.created_at)[:10]}#{delivery.endpoint_id}",
            numbers,
            setting={"expires_at": int((delivery.created_at + STATISTICS_KEPT).timestamp())},
        )


def _numbers(earlier: Delivery, changed: Delivery) -> dict[str, int]:
    """What a change adds to the numbers of the day."""
    numbers: dict[str, int] = {}
    if changed.state is not earlier.state:
        if changed.state is State.PENDING:
            numbers |= {"revived": 1, str(earlier.state): -1}
        else:
            numbers[str(changed.state)] = 1
    if len(changed.attempts) > len(earlier.attempts):
        last = changed.attempts[-1]
        numbers |= {"attempts": 1, "ms": last.ms}
        if last.trouble:
            numbers[f"attempts_{last.trouble}"] = 1
    return numbers


def _to_item(delivery: Delivery) -> Item:
    created = to_text(delivery.created_at)
    return {
        "pk": f"{delivery.tenant_id}#deliveries",
        "sk": delivery.id,
        "kind": f"{delivery.tenant_id}#delivery",
        "kind_key": f"{created}#{delivery.id}",
        "endpoint_id": delivery.endpoint_id,
        "event": _text(delivery.event),
        "episode_id": delivery.episode_id or None,
        "transition": delivery.transition or None,
        "created_at": created,
        "due_at": to_text(delivery.due_at),
        "state": str(delivery.state),
        "attempts": [
            [to_text(a.at), a.ms, a.status, a.error, a.trouble and str(a.trouble)]
            for a in delivery.attempts
        ],
        "tries": delivery.tries,
        "leased_until": to_text(delivery.leased_until) if delivery.leased_until else None,
        "is_digest": delivery.is_digest,
        "digest_id": delivery.digest_id,
        "replays": delivery.replays,
        "said": delivery.said or None,
        "since": to_text(delivery.since) if delivery.since else None,
        "version": delivery.version,
        "expires_at": _expiry(delivery.created_at),
    }


def _to_delivery(item: Item) -> Delivery:
    return Delivery(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        endpoint_id=item["endpoint_id"],
        event=json.loads(item["event"]),
        episode_id=item.get("episode_id") or "",
        transition=item.get("transition") or "",
        created_at=from_text(item["created_at"]),
        due_at=from_text(item["due_at"]),
        state=State(item["state"]),
        attempts=tuple(_to_attempt(attempt) for attempt in item["attempts"]),
        tries=item["tries"],
        leased_until=_instant(item.get("leased_until")),
        is_digest=bool(item.get("is_digest")),
        digest_id=item.get("digest_id"),
        replays=item.get("replays", 0),
        said=item.get("said") or "",
        since=_instant(item.get("since")),
        version=item["version"],
    )


def _to_attempt(kept: list[Any]) -> Attempt:
    at, ms, status, error, trouble = kept
    return Attempt(from_text(at), ms, status, error, Trouble(trouble) if trouble else None)


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _expiry(created_at: datetime) -> int:
    return int((created_at + KEPT).timestamp())


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
