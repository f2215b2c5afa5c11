"""Server-sent events as text (WHATWG HTML, 9.2). Pure.

An EventSource hands a named event only to `addEventListener(name, …)`, never to `onmessage`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aetherlink.events.stream import Answer, Message

CONTENT_TYPE = "text/event-stream; charset=utf-8"
# How long the browser waits before it asks again.
RETRY_MS = 1_000

# What ends a line there. (`str.splitlines` knows more ends, and would cut data at them.)
_LINE_END = re.compile(r"\r\n|\r|\n")


def to_text(answer: Answer, secret: str | None = None) -> str:
    """The answer's body. `secret` goes onto every id, behind a full stop, for a ticket's session."""
    suffix = f".{secret}" if secret else ""
    blocks = [f"retry: {RETRY_MS}\n\n"]
    blocks += [_block(message, suffix) for message in answer.messages]
    if not answer.messages:
        blocks.append(": nothing new; ask again from the id below\n")
    if not answer.messages or answer.messages[-1].id != answer.position:
        # Without data nothing is dispatched, and the browser still goes on from here.
        blocks.append(_field("id", answer.position + suffix) + "\n")
    return "".join(blocks)


def position_in(event_id: str) -> str:
    """The position in an id, which may have a session's secret behind it."""
    return event_id.partition(".")[0]


def secret_in(event_id: str) -> str:
    """The session's secret in an id; "" if it has none."""
    return event_id.partition(".")[2]


def _block(message: Message, suffix: str) -> str:
    lines = [_field("id", message.id + suffix), _field("event", message.event)]
    lines += [f"data: {line}\n" for line in _LINE_END.split(message.data)]
    return "".join(lines) + "\n"


def _field(name: str, value: str) -> str:
    """A field that has one line, whatever is in the value."""
    return f"{name}: {_LINE_END.sub(' ', value)}\n"
