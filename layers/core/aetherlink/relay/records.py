"""Stream records, and keys that were set aside, as records the relay can read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aetherlink.events.store import BrokenItemError, event_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.platform.dynamo import from_item
from aetherlink.relay.service import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore


def from_stream(records: Iterable[dict[str, Any]]) -> list[Record]:
    """The records that are news. A MODIFY is, where an event took the place of one past its
    retention; one that only re-stamps an event is not."""
    return [
        Record(
            str(change["Keys"]["pk"]["S"]), str(change["Keys"]["sk"]["S"]), partial(_read, change)
        )
        for change in (record["dynamodb"] for record in records)
        if "NewImage" in change and not _is_same(change)
    ]


def from_keys(keys: Iterable[dict[str, str]], events: EventStore) -> list[Record]:
    """Events by their keys, read from the table."""
    return [Record(key["pk"], key["sk"], partial(_fetch, events, key)) for key in keys]


def _read(change: dict[str, Any]) -> Event:
    return event_of(from_item(change["NewImage"]))


def _fetch(events: EventStore, key: dict[str, str]) -> Event:
    tenant, _, event_id = key["pk"].partition("#")
    event = events.get_exact(TenantId(tenant), event_id, key["sk"])
    if event is None:
        raise BrokenItemError("there is no such event any more")
    return event


def _is_same(change: dict[str, Any]) -> bool:
    old, new = change.get("OldImage"), change["NewImage"]
    return old is not None and old.get("at") == new.get("at")
