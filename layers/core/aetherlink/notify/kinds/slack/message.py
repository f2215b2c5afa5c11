"""The spec's text (v1.17), in Slack's mrkdwn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.plain import cut
from aetherlink.notify.kinds.slack.limits import MAX_TEXT
from aetherlink.notify.notice import brief, notes, threshold, titles

if TYPE_CHECKING:
    from aetherlink.notify.notice import Link, Notice

# Looks like a backtick and is none.
_GRAVE = "\u02cb"
_MAX_VALUE = 300


def render(notice: Notice) -> str:
    return json.dumps({"text": text(notice)}, ensure_ascii=False)


def text(notice: Notice) -> str:
    """What a person reads; generic receivers get it too."""
    links = [_link(link) for link in notice.links]
    # Links come last and are never cut: half a link leads nowhere.
    ending = "\n".join(["", "", *links]) if links else ""
    return cut("\n".join(_lines(notice)), MAX_TEXT - len(ending)) + ending


def _lines(notice: Notice) -> list[str]:
    if notice.digest:
        briefs = [f"  • {_text(brief(event))}" for event in notice.digest.alerts]
        return [f":package: *{_text(notice.title)}*", "", *briefs]
    payload, event = notice.payload, notice.event
    stamp = f"*Timestamp:* {notice.timestamp}"
    if not notice.is_alert:
        facts = [f"*{_text(name)}:* {_code(value)}" for name, value in notice.facts()[:-1]]
        return [f":bell: *{_text(notice.title)}*", "", *facts, "", stamp]
    head = (
        ":rotating_light: *AetherLink Alert Triggered*"
        if notice.is_raised
        else ":white_check_mark: *AetherLink Alert Resolved*"
    )
    return [
        head,
        "",
        f"*Rule:* {_code(payload.get('rule_name'))}",
        f"*Severity:* {_code(notice.severity.upper())}",
        f"*Source:* {_code(event.get('source'))}",
        f"*Tenant:* {_code(notice.tenant)}",
        f"*Threshold:* {_text(threshold(payload))}",
        *(f"*{_text(name)}:* {_text(value)}" for name, value in notes(payload)),
        *_section("Group", payload.get("group")),
        *_section("Filters", titles(payload.get("filters"))),
        "",
        stamp,
    ]


def _section(title: str, rows: object) -> list[str]:
    given: dict[str, Any] = rows if isinstance(rows, dict) else {}
    shown = {name: value for name, value in given.items() if value not in (None, "")}
    if not shown:
        return []
    return ["", f"*{title}:*", *(f"  • {_text(n)}: {_code(v)}" for n, v in shown.items())]


def _link(link: Link) -> str:
    return f"<{link.url}|{_text(link.text)}>"


def _code(value: object) -> str:
    # A backtick would end the code span, and there is no escape for it.
    return f"`{_text(value).replace('`', _GRAVE)}`"


def _text(value: object) -> str:
    """Slack's three control characters, escaped: nobody's rule name becomes a link or a mention."""
    sound = str(value).encode("utf-8", "replace").decode()
    plain = cut(" ".join(sound.splitlines()), _MAX_VALUE)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
