"""`{"type", "timestamp", "data"}`: the event whole, and a text for who only wants to show it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aetherlink.notify.kinds.generic.limits import MAX_DIGEST_BYTES, MAX_DIGESTED
from aetherlink.notify.kinds.slack.message import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.notify.notice import Notice


def render(notice: Notice) -> str:
    data: dict[str, Any] = {**notice.event}
    if notice.digest:
        data["digest"] = {
            "count": notice.digest.count,
            "since": notice.digest.since,
            "until": notice.digest.until,
            "events": _fitting(notice.digest.alerts[:MAX_DIGESTED]),
        }
    if notice.links:
        data["links"] = [{"text": link.text, "url": link.url} for link in notice.links]
    message = {
        "type": notice.event_type,
        "timestamp": notice.event.get("timestamp"),
        "data": data,
        # As the spec's first webhooks had it: a receiver written for them goes on working. The links
        # are in `data`.
        "text": text(replace(notice, links=())),
    }
    # ASCII: half a character that somebody stored must not keep the alert from being sent.
    return json.dumps(message)


def _fitting(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of them, whole, as far as there is room."""
    fitting, room = [], MAX_DIGEST_BYTES
    for event in events:
        room -= len(json.dumps(event))
        if room < 0:
            break
        fitting.append(event)
    return fitting
