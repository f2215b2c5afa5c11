"""One embed, in colour, that mentions nobody."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.plain import cut, one_line
from aetherlink.notify.kinds.discord.limits import (
    MAX_DESCRIPTION,
    MAX_FIELD_NAME,
    MAX_FIELD_VALUE,
    MAX_FIELDS,
    MAX_TITLE,
    MAX_TOTAL,
)
from aetherlink.notify.notice import brief

if TYPE_CHECKING:
    from aetherlink.notify.notice import Notice

_GREEN = 0x2EB67D
_COLOURS = {"info": 0x3B82F6, "warning": 0xECB22E, "error": 0xE8912D, "critical": 0xE01E5A}
_MARKUP = re.compile(r"([\\`*_~|<>\[\]()#@:-])")
_MAX_VALUE = 200


def render(notice: Notice) -> str:
    colour = _GREEN if notice.is_resolved else _COLOURS.get(notice.severity, _COLOURS["info"])
    links = "\n".join(f"[{_text(link.text)}]({link.url})" for link in notice.links)
    embed: dict[str, Any] = {"title": cut(_text(notice.title), MAX_TITLE), "color": colour}
    room = MAX_TOTAL - len(embed["title"]) - len(links) - 2
    if notice.digest:
        lines = "\n".join(_text(brief(event)) for event in notice.digest.alerts)
        told = cut(lines, min(MAX_DESCRIPTION - len(links) - 2, room))
    else:
        told, embed["fields"] = "", _fields(notice, room)
    embed["description"] = "\n\n".join(part for part in (told, links) if part)
    message = {"embeds": [embed], "allowed_mentions": {"parse": []}}
    return json.dumps(message, ensure_ascii=False)


def _fields(notice: Notice, room: int) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for name, value in notice.facts()[:MAX_FIELDS]:
        shown = cut(_text(name), MAX_FIELD_NAME), cut(_text(value), MAX_FIELD_VALUE)
        room -= len(shown[0]) + len(shown[1])
        if room < 0:
            break
        fields.append({"name": shown[0] or "-", "value": shown[1] or "-", "inline": True})
    return fields


def _text(value: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(value, _MAX_VALUE))
