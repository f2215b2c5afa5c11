"""Opaque cursors, each good only for the question that it was the answer to."""

from __future__ import annotations

import base64
import binascii
import json

from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.ids import digest

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def encode_cursor(position: str, *question: str) -> str:
    """`question` is the view and the filters; the cursor is refused for any other.

    The seal is a checksum, not a signature: a position is only ever used inside what the caller may
    see anyway, so forging one gains nothing.
    """
    body = json.dumps([position, digest(position, *question)], separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *question: str) -> str:
    """The position in `cursor`. Raises InvalidError if it is foreign, cut or changed."""
    try:
        body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position, seal = body
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidError(WRONG_CURSOR) from error
    if not isinstance(position, str) or seal != digest(position, *question):
        raise InvalidError(WRONG_CURSOR)
    return position


WRONG_CURSOR = (
    "This cursor belongs to another question or was changed; use next_cursor as it came, with the "
    "same filters and tenant, or start without one"
)
