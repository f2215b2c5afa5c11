"""An alert as a Slack incoming-webhook message (spec v1.17); Discord and Teams read its like too."""

from __future__ import annotations

import json
from typing import Any

# Slack cuts a text at 40,000 characters and shows badly from 4,000 on.
MAX_TEXT = 3900
# Looks like a backtick and is none.
_GRAVE = "\u02cb"


def message(alert: dict[str, Any]) -> str:
    """The request body for a flat `ops.alert.raised` or `ops.alert.resolved` event."""
    payload = alert["payload"]
    is_raised = alert["event_type"] == "ops.alert.raised"
    head = (
        ":rotating_light: *AetherLink Alert Triggered*"
        if is_raised
        else ":white_check_mark: *AetherLink Alert Resolved*"
    )
    lines = [
        head,
        "",
        f"*Rule:* {_code(payload.get('rule_name'))}",
        f"*Severity:* {_code(str(alert['severity']).upper())}",
        f"*Source:* {_code(alert['source'])}",
        f"*Tenant:* {_code(alert['tenant_id'])}",
        _threshold(payload),
        *_section("Group", payload.get("group")),
        *_section("Filters", _titles(payload.get("filters"))),
        "",
        f"*Timestamp:* {str(alert['timestamp'])[:19]}Z",
    ]
    return json.dumps({"text": "\n".join(lines)[:MAX_TEXT]}, ensure_ascii=False)


def _threshold(payload: dict[str, Any]) -> str:
    counts = f"{payload.get('matched_count')}/{payload.get('threshold')}"
    return f"*Threshold:* {counts} events in {payload.get('window_seconds')}s"


def _section(title: str, rows: dict[str, Any] | None) -> list[str]:
    shown = {name: value for name, value in (rows or {}).items() if value not in (None, "")}
    if not shown:
        return []
    return ["", f"*{title}:*", *(f"  • {_text(n)}: {_code(v)}" for n, v in shown.items())]


def _titles(filters: dict[str, Any] | None) -> dict[str, Any]:
    titles = {"event_type": "Event Type", "source": "Source", "severity": "Severity"}
    return {titles.get(name, name): value for name, value in (filters or {}).items()}


def _code(value: object) -> str:
    # A backtick would end the code span, and there is no escape for it.
    return f"`{_text(value).replace('`', _GRAVE)}`"


def _text(value: object) -> str:
    """Slack's three control characters, escaped: nobody's rule name becomes a link or a mention."""
    plain = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("\n", " ")[:300]
