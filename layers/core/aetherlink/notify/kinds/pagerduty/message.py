"""An event of Events API v2: an alert's beginning triggers an incident, its end resolves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.plain import one_line
from aetherlink.notify.kinds.pagerduty.limits import (
    MAX_DETAIL,
    MAX_DIGESTED,
    MAX_KEY,
    MAX_SUMMARY,
)
from aetherlink.notify.notice import brief

if TYPE_CHECKING:
    from aetherlink.notify.notice import Notice

_SEVERITIES = frozenset({"critical", "error", "warning", "info"})


def render(notice: Notice, routing_key: str) -> str:
    payload = notice.payload
    details: dict[str, Any] = {
        one_line(name, 100): one_line(value, MAX_DETAIL) for name, value in notice.facts()
    }
    if notice.digest:
        details = {
            "count": notice.digest.count,
            "alerts": [brief(event) for event in notice.digest.alerts[:MAX_DIGESTED]],
        }
    message = {
        "routing_key": routing_key,
        "event_action": "resolve" if notice.is_resolved else "trigger",
        # What is one alert here is one incident there, however often it is told.
        "dedup_key": (notice.episode_id or str(notice.event.get("event_id", "")))[:MAX_KEY],
        "client": "AetherLink",
        "payload": {
            "summary": one_line(notice.title, MAX_SUMMARY) or "AetherLink",
            "source": one_line(str(notice.event.get("source") or "aetherlink"), MAX_SUMMARY),
            "severity": notice.severity if notice.severity in _SEVERITIES else "info",
            "timestamp": notice.event.get("timestamp"),
            "component": one_line(_component(notice), MAX_KEY),
            "group": one_line(notice.tenant, MAX_KEY),
            "class": one_line(str(payload.get("rule_name") or notice.event_type), MAX_KEY),
            "custom_details": details,
        },
        "links": [{"href": link.url, "text": link.text} for link in notice.links],
    }
    return json.dumps(message)


def _component(notice: Notice) -> str:
    """What is in trouble: the source that the alert's group or filters name, else the event's own."""
    for among in (notice.payload.get("group"), notice.payload.get("filters")):
        if isinstance(among, dict) and among.get("source"):
            return str(among["source"])
    return str(notice.event.get("source") or "aetherlink")
