"""Where a reader of the live stream stands, and the walk from there over pages of arrivals. Pure.

A view shows one scope (all tenants together) or two (a tenant and the platform), each a row of
numbered pages without gaps. Pages go after a day, and after a day of silence the numbers start again
further on: a number that jumps means that something in between is gone, or that nobody can know,
unless the reader was seen to stand at the very end within that day.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, NewType

from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, TenantId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aetherlink.events.model import Entry

Scope = NewType("Scope", str)
EVERYONE = Scope("*")
# Pages are kept for an hour longer than this: what was written since cannot be gone.
KEPT = timedelta(hours=24)
_MAX_CURSOR = 512
_MAX_DIGITS = 16

Pages = list[tuple[int, list["Entry"]]]


@dataclass(frozen=True)
class Place:
    """Before entry `index` of page `page`. `idle_at` (epoch seconds): then there was nothing beyond;
    0 if nobody looked."""

    page: int
    index: int = 0
    idle_at: int = 0

    def is_end(self, now: datetime) -> bool:
        """Whatever has come since is still there."""
        return self.idle_at > (now - KEPT).timestamp()


@dataclass(frozen=True)
class Position:
    """A place in each scope of a view (None: everyone's)."""

    view: TenantId | None
    places: Mapping[Scope, Place]

    def moved(self, scope: Scope, place: Place) -> Position:
        return replace(self, places={**self.places, scope: place})

    def cursor(self) -> str:
        """As clients carry it: bound to the view, but not to filters, so that these may change."""
        places = ",".join(f"{p.page}.{p.index}.{p.idle_at}" for p in self.places.values())
        return encode_cursor(places, "stream", self.view or EVERYONE)


@dataclass(frozen=True)
class Step:
    """The next arrival, or None where some are gone, and the position just after it."""

    entry: Entry | None
    position: Position


def scopes(view: TenantId | None) -> tuple[Scope, ...]:
    """Whose arrivals a view shows: the platform's are in every tenant's."""
    if view is None:
        return (EVERYONE,)
    return tuple(dict.fromkeys((Scope(view), Scope(SYSTEM))))


def parse_position(cursor: str, view: TenantId | None) -> Position:
    """The position in a cursor. Raises InvalidError for a foreign or changed one."""
    if len(cursor) > _MAX_CURSOR:
        raise InvalidError(_WRONG)
    parts = decode_cursor(cursor, "stream", view or EVERYONE).split(",")
    names = scopes(view)
    if len(parts) != len(names):
        raise InvalidError(_WRONG)
    return Position(view, dict(zip(names, map(_place, parts), strict=True)))


def walk(
    position: Position, found: Mapping[Scope, Sequence[tuple[int, list[Entry]]]], now: datetime
) -> Iterator[Step]:
    """Every arrival on the pages that were found from a position on, strictly in order within a
    scope. Scopes take turns by the page, so that a loud one does not silence the other."""
    rows = [[(scope, *page) for page in pages] for scope, pages in found.items()]
    for turn in zip_longest(*rows):
        for scope, number, entries in filter(None, turn):
            place = position.places[scope]
            is_next = number == place.page and place.index < len(entries)
            # A jump is no loss to who stood at the end, within the time that pages are kept.
            if not is_next and not (number > place.page and place.is_end(now)):
                position = position.moved(scope, Place(number))
                yield Step(None, position)
            first = place.index if is_next else 0
            for index, entry in enumerate(entries[first:], start=first + 1):
                after = Place(number, index) if index < len(entries) else Place(number + 1)
                position = position.moved(scope, after)
                yield Step(entry, position)


def _place(text: str) -> Place:
    numbers = text.split(".")
    if len(numbers) != len(fields(Place)) or not all(
        number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS for number in numbers
    ):
        raise InvalidError(_WRONG)
    return Place(*map(int, numbers))


_WRONG = "This is no position of the stream; use an id or X-Next-Cursor as it came, or none"
