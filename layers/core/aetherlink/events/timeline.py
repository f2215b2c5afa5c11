"""Merging several indexes into one list, newest first, without skipping or repeating an entry. Pure.

Each strand is one index partition, read in pages from the top. An entry may be given out only when
no strand can still hold a newer one, which its `floor` tells: everything above the floor has been
read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aetherlink.events.model import Entry, Filters

# A call looks at this many index entries at most (contract: a sparse filter may give a short page).
MAX_EXAMINED = 1000


class Reader(Protocol):
    """Reads one strand: entries below a position, and how far down they are complete (None: all)."""

    def __call__(self, below: str, limit: int) -> tuple[list[Entry], str | None]: ...


@dataclass
class _Strand:
    read: Reader
    floor: str | None
    waiting: list[Entry] = field(default_factory=list)

    @property
    def may_be_read(self) -> bool:
        return not self.waiting and self.floor is not None

    def refill(self, page: int) -> int:
        """Read on; how many entries that examined (at least 1, so that a budget runs out)."""
        if self.floor is None:
            return 0
        entries, self.floor = self.read(self.floor, page)
        self.waiting.extend(entries)
        return max(1, len(entries))


@dataclass
class Merge:
    """Iterates over matching entries; `stopped_at` is where the next call goes on, None at the end."""

    readers: list[Reader]
    filters: Filters
    top: str
    page: int
    stopped_at: str | None = None

    def __iter__(self) -> Iterator[Entry]:
        strands = [_Strand(read, self.top) for read in self.readers]
        budget = MAX_EXAMINED
        last = ""
        while True:
            for strand in strands:
                # Once each, whatever the others took: a strand that was not read at all would hold the
                # call where it began, and so the next one, for ever.
                while strand.may_be_read and (budget > 0 or strand.floor == self.top):
                    budget -= strand.refill(max(1, min(self.page, budget)))
            heads = [strand for strand in strands if strand.waiting]
            # Strands that have more but could not be read on: nothing below their floor may go out.
            blocked = [s.floor for s in strands if not s.waiting and s.floor is not None]
            bound = max(blocked, default="")
            newest = max(heads, key=lambda s: s.waiting[0].position, default=None)
            if newest is None or newest.waiting[0].position < bound:
                self.stopped_at = bound or None
                return
            entry = newest.waiting.pop(0)
            # Two strands may hold the same event (a tenant's own and the all-tenant one).
            if entry.position != last and entry.fits(self.filters):
                last = entry.position
                self.stopped_at = entry.position
                yield entry
