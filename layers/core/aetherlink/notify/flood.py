"""Digests: what comes in a flood is told together, at the end of its window. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.time import to_text
from aetherlink.notify.model import Delivery, name_of
from aetherlink.notify.notice import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.notify.endpoint import Endpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# So many are shown; all are counted.
SHOWN = 100


def opening(now: datetime, window: timedelta) -> datetime:
    """When the window that `now` falls into began. Windows follow each other from 1970 on."""
    return _EPOCH + (now - _EPOCH) // window * window


def digest_of(endpoint: Endpoint, since: datetime, now: datetime) -> Delivery:
    """The one delivery of a window's digest to an endpoint; due when the window is over."""
    window = endpoint.digesting.window if endpoint.digesting else timedelta(minutes=1)
    until = since + window
    name = f"digest-{to_text(since)}"
    return Delivery(
        id=name_of(endpoint.tenant_id, name, "", endpoint.id),
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        event={
            "event_id": f"{endpoint.id}.{name}",
            "event_type": "ops.alert.digest",
            "source": "aether-command-center",
            "tenant_id": endpoint.tenant_id,
            "severity": "info",
            "timestamp": to_text(until),
            "payload": {"since": to_text(since), "until": to_text(until)},
        },
        created_at=now,
        due_at=until,
        is_digest=True,
    )


def summary(events: Iterable[dict[str, Any]]) -> Digest:
    """What a digest says: how many, from when to when, and the first of them in the order of time."""
    told = sorted(events, key=lambda event: str(event["timestamp"]))
    return Digest(
        count=len(told),
        since=str(told[0]["timestamp"]) if told else "",
        until=str(told[-1]["timestamp"]) if told else "",
        alerts=tuple(told[:SHOWN]),
    )
