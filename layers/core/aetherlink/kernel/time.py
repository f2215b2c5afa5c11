"""Instants: always UTC, always aware, always the same width as text so that text order is time order."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# RFC 3339, and what its clients send all the same: no offset (then it is UTC), a date alone (then
# midnight), a blank for the T, and a blank where an unescaped "+" of a query string was.
_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<clock>\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)(?P<offset>[Zz]|[+\- ]\d\d:?\d\d)?)?",
    re.ASCII,
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def parse_instant(text: str) -> datetime:
    """The instant that `text` names, in UTC. Raises ValueError with a sentence otherwise."""
    wrong = f"must be an RFC 3339 time such as 2026-11-23T08:30:00Z, got {text[:64]!r}"
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(wrong)
    offset = (match["offset"] or "Z").upper().replace(" ", "+")
    clock = (match["clock"] or "00:00:00").replace(",", ".")
    try:
        parsed = datetime.fromisoformat(f"{match['date']}T{clock}{offset}")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(wrong) from error


def to_text(instant: datetime) -> str:
    """`2026-11-23T08:30:00.000000Z`: 27 characters, sorts as time does for every year."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The inverse of `to_text`, for what we stored ourselves."""
    return datetime.fromisoformat(text)
