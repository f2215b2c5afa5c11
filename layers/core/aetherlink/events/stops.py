"""Cursors whose place becomes part of a key: only where a page of ours can have stopped is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import decode_cursor

if TYPE_CHECKING:
    import re


def stop_in(cursor: str, shape: re.Pattern[str], *question: str) -> str:
    """Where the page before stopped. Raises InvalidError for a foreign, changed or made-up cursor.

    A cursor's seal is no signature: whoever makes one up may put in what no key can hold.
    """
    place = decode_cursor(cursor, *question)
    if not shape.fullmatch(place):
        raise InvalidError(_WRONG)
    return place


_WRONG = (
    "This cursor was made up or changed; use next_cursor as it came, with the same filters and "
    "tenant, or start without one"
)
