"""An Adaptive Card: a title in colour, what is known as facts, links as buttons."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.plain import one_line
from aetherlink.notify.kinds.teams.limits import CARD_VERSION, MAX_BRIEFS, MAX_BYTES, MAX_VALUE
from aetherlink.notify.notice import brief

if TYPE_CHECKING:
    from aetherlink.notify.notice import Notice

_COLOURS = {"info": "accent", "warning": "warning", "error": "attention", "critical": "attention"}
# What a TextBlock's Markdown knows: emphasis, links, lists, and mentions in <at>.
_MARKUP = re.compile(r"([\\`*_\[\]()#+~!|<>{}-])")


def render(notice: Notice) -> str:
    most = MAX_BRIEFS
    while True:
        body = json.dumps(_message(notice, most), ensure_ascii=False)
        if len(body.encode()) <= MAX_BYTES or most == 0:
            return body
        most //= 2


def _message(notice: Notice, most: int) -> dict[str, Any]:
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": CARD_VERSION,
        "body": [
            {
                "type": "TextBlock",
                "text": _text(notice.title),
                "weight": "bolder",
                "size": "medium",
                "wrap": True,
                "color": "good" if notice.is_resolved else _COLOURS.get(notice.severity, "default"),
            },
            *_body(notice, most),
        ],
        "actions": [
            {"type": "Action.OpenUrl", "title": link.text, "url": link.url} for link in notice.links
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _body(notice: Notice, most: int) -> list[dict[str, Any]]:
    if notice.digest:
        shown = notice.digest.alerts[:most]
        left = notice.digest.count - len(shown)
        lines = [_text(brief(event)) for event in shown]
        lines += [f"and {left} more"] if left > 0 else []
        return [
            {"type": "TextBlock", "text": line, "wrap": True, "spacing": "small"} for line in lines
        ]
    facts = [{"title": _text(n), "value": _text(v)} for n, v in notice.facts()[: most or 4]]
    return [{"type": "FactSet", "facts": facts}]


def _text(value: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(value, MAX_VALUE))
