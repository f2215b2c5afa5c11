"""The audit table's stream records, as the sealer reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.audit.sealer import Delivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def delivered(records: Iterable[dict[str, Any]]) -> Iterator[Delivered]:
    """What became of which item. A record that is none of DynamoDB's shape is left out."""
    for record in records:
        change = record.get("dynamodb", {})
        key = change.get("Keys", {})
        pk, sk = (key.get(name, {}).get("S") for name in ("pk", "sk"))
        name = record.get("eventName")
        if pk and sk and name in ("INSERT", "MODIFY", "REMOVE"):
            yield Delivered(name, pk, sk, _expires_at(change.get("OldImage", {})))


def _expires_at(item: dict[str, Any]) -> int:
    text = str(item.get("expires_at", {}).get("N", ""))
    return int(text) if text.isascii() and text.isdigit() else 0
