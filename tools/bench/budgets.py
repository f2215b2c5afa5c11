"""What was promised, and whether it holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.bench.scenarios import BY_SOURCE, BY_TYPE, PUBLISH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tools.bench.imports import Imports
    from tools.bench.stack import Measured

Row = dict[str, "Measured"]

IMPORT_RATIO = 1.6
PUBLISH_CPU_MS = 2.5
PUBLISH_UNITS = 3

# A list examines at most 1,000 index entries and one more (MAX_EXAMINED), in each of the two
# timelines that it merges a page more, and fetches at most a page of 50.
_LISTED = 1000 + 2 * 51 + 50
# Minutes to the end of the first hour, hours to the end of the first day, days from there; of the
# tenant and of the platform, each for the retention and for a day; and what says how far counting is.
_COUNTED = 2 * (60 + 24 + 31) + 2 * (60 + 24 + 2) + 10
# A judgement by hand lists the newest events that fit, and counts hits up to MAX_COUNTED.
_JUDGED = _LISTED + 100 + 1000

# The most calls and items of a request, however many events there are.
BOUNDS: dict[str, tuple[int, int]] = {
    PUBLISH: (1, 0),
    "recent": (6, _LISTED),
    "recent, event_type": (6, _LISTED),
    "recent, source": (25, _LISTED),
    "recent, severity info": (25, _LISTED),
    "recent, severity error": (6, _LISTED),
    "recent, since + until": (6, _LISTED),
    "recent, event_type + source": (6, _LISTED),
    "event by id": (3, 40),
    "stats": (16, _COUNTED),
    BY_TYPE: (12, _JUDGED),
    BY_SOURCE: (35, _JUDGED),
}


@dataclass(frozen=True)
class Results:
    """What a run found. Rows by size: events of one tenant, tenants of all-tenant views."""

    sizes: Mapping[int, Row]
    views: Mapping[int, Row]
    viewed: int
    relayed: Mapping[str, float]
    imports: Imports
    # What statistics differ in from a count of every event; None: not looked at.
    differences: list[str] | None
    counted: int


@dataclass(frozen=True)
class Verdict:
    budget: str
    found: str
    holds: bool


def verdicts(results: Results) -> list[Verdict]:
    return [
        *_imports(results.imports),
        *_publish(results.sizes),
        *_bounds("one tenant", results.sizes, "events"),
        *_bounds("all tenants", results.views, "tenants"),
        *_statistics(results.differences, results.counted),
    ]
