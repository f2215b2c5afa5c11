"""What was promised, and whether it holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.bench.ai import MAX_CPU_MS
from tools.bench.alerting import RELAYED, SWEPT
from tools.bench.healing import FAILING, HANGING, MAX_SECONDS, SERVICES
from tools.bench.scenarios import BY_SOURCE, BY_TYPE, PUBLISH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tools.bench.ai import Routed
    from tools.bench.healing import Healed
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
    "recent, source": (30, _LISTED),
    "recent, severity info": (30, _LISTED),
    "recent, severity error": (6, _LISTED),
    "recent, since + until": (6, _LISTED),
    "recent, event_type + source": (6, _LISTED),
    "event by id": (3, 40),
    "stats": (16, _COUNTED),
    BY_TYPE: (16, _JUDGED),
    BY_SOURCE: (35, _JUDGED),
    # All 500 rules; of the 45 that the batch touches a watch for each group, and its newest hits or
    # the steps of its window.
    RELAYED: (600, 2_500),
    SWEPT: (400, 1_500),
}


# From here on every page and bucket is full, and no more of anything may be read for more events: at
# three times the events, less than this times the items.
FULL_FROM = 100_000
GROWTH = 1.5


@dataclass(frozen=True)
class Results:
    """What a run found. Rows by size: events of one tenant, tenants of all-tenant views."""

    sizes: Mapping[int, Row]
    views: Mapping[int, Row]
    viewed: int
    relayed: Mapping[str, float]
    # What alerting costs, by the events that are stored.
    alerting: Mapping[int, Row]
    healing: Healed
    routing: Routed
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
        *_growth("one tenant", {n: r for n, r in results.sizes.items() if n >= FULL_FROM}),
        *_bounds("all tenants", results.views, "tenants"),
        *_growth("all tenants", {n: r for n, r in results.views.items() if n > 1}),
        *_bounds("500 rules", results.alerting, "events"),
        *_growth("500 rules", results.alerting),
        *_healing(results.healing),
        Verdict(
            f"an AI chat besides the provider's time: at most {MAX_CPU_MS:g} ms of CPU",
            f"{results.routing.chat.cpu_ms:.1f} ms",
            results.routing.holds,
        ),
        *_statistics(results.differences, results.counted),
    ]


def _imports(imports: Imports) -> Iterator[Verdict]:
    for name, (imported, _) in imports.ratios.items():
        yield Verdict(
            f"import {name}: at most {IMPORT_RATIO} x a DynamoDB client",
            f"{imported:.2f} x",
            imported <= IMPORT_RATIO,
        )


def _healing(found: Healed) -> Iterator[Verdict]:
    what = f"a run over {SERVICES} services, {FAILING} failing, {HANGING} hanging"
    yield Verdict(
        f"{what}: under {MAX_SECONDS} s", f"{found.seconds:.1f} s", found.seconds < MAX_SECONDS
    )
    yield Verdict(
        f"{what}: at most {found.most_calls} AWS calls (2 for each of {found.changed} that changed, 20)",
        f"{found.calls}",
        found.calls <= found.most_calls,
    )


def _publish(sizes: Mapping[int, Row]) -> Iterator[Verdict]:
    every = [row[PUBLISH] for row in sizes.values()]
    calls, units = max(m.calls for m in every), max(m.write_units for m in every)
    cpu = max(m.cpu_ms for m in every)
    yield Verdict("publish: one AWS call", f"{calls}", calls == 1)
    yield Verdict(
        f"publish: at most {PUBLISH_UNITS} write units", f"{units}", units <= PUBLISH_UNITS
    )
    yield Verdict(
        f"publish: at most {PUBLISH_CPU_MS} ms of CPU", f"{cpu:.2f} ms", cpu <= PUBLISH_CPU_MS
    )


def _bounds(where: str, rows: Mapping[int, Row], unit: str) -> Iterator[Verdict]:
    """A bound that does not know how many events there are holds at every size."""
    for name in next(iter(rows.values())):
        calls, items = BOUNDS[name]
        at = {number: row[name] for number, row in rows.items()}
        yield Verdict(
            f"{where}, {name}: at most {calls} calls and {items:,} items",
            ", ".join(f"{m.calls} and {m.items:,} at {n:,} {unit}" for n, m in at.items()),
            all(m.calls <= calls and m.items <= items for m in at.values()),
        )


def _growth(where: str, rows: Mapping[int, Row]) -> Iterator[Verdict]:
    """From the first of these sizes to the last."""
    if len(rows) < 2:
        return
    (first, before), *_, (last, after) = rows.items()
    for name in before:
        a, b = before[name], after[name]
        yield Verdict(
            f"{where}, {name}: no more at {last:,} than at {first:,}",
            f"{a.calls} calls and {a.items:,} items, then {b.calls} and {b.items:,}",
            b.calls <= GROWTH * a.calls and b.items <= GROWTH * a.items,
        )


def _statistics(differences: list[str] | None, counted: int) -> Iterator[Verdict]:
    if differences is not None:
        found = f"{len(differences)} differ" + "".join(f"; {d}" for d in differences[:3])
        budget = f"statistics over {counted:,} events equal a count one by one, also after a replay"
        yield Verdict(budget, found, not differences)
