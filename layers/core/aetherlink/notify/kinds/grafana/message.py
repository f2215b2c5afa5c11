"""An annotation of the organisation (grafana.com, "Annotations HTTP API", Create annotation): it stands on
no panel of its own, and dashboards show it by its tags. Grafana renders the text as HTML, hence escaped.
"""

from __future__ import annotations

import html
import json
from datetime import datetime
from typing import TYPE_CHECKING

from aetherlink.kernel.plain import one_line
from aetherlink.notify.kinds.grafana.limits import MAX_DIGESTED, MAX_TAG, MAX_TEXT

if TYPE_CHECKING:
    from aetherlink.notify.notice import Notice

PATH = "/api/annotations"


def url_of(base: str) -> str:
    """Where annotations go, of a Grafana at `base`."""
    base = base.rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def render(notice: Notice) -> str:
    lines = [
        notice.title,
        *(f"{one_line(n, MAX_TAG)}: {one_line(v, MAX_TAG)}" for n, v in notice.facts()),
    ]
    if notice.digest:
        told = notice.digest.alerts[:MAX_DIGESTED]
        lines = [notice.title, *(one_line(str(event.get("event_type")), MAX_TAG) for event in told)]
    text = ""
    for line in lines:
        shown = html.escape(line.encode("utf-8", "replace").decode(), quote=True)
        if len(text) + len(shown) + 1 > MAX_TEXT:
            break
        text += shown + "\n"
    tags = [
        "aetherlink",
        notice.event_type,
        f"tenant:{notice.tenant}",
        f"severity:{notice.severity}",
    ]
    message = {
        "time": _millis(str(notice.event.get("timestamp") or "")),
        "tags": [one_line(tag, MAX_TAG) for tag in tags],
        "text": text.rstrip("\n"),
    }
    return json.dumps({name: value for name, value in message.items() if value is not None})


def _millis(timestamp: str) -> int | None:
    """None: now, says Grafana."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp() * 1000)
    except ValueError:
        return None
