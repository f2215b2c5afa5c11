"""`python -m tools.bench [--quick | --check]`: measure, report, and fail if a budget is broken."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.local.place import ROOT

sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]

from tools.bench import ai, alerting, healing, imports, report, scenarios  # noqa: E402 - after the path is set
from tools.bench.budgets import Results, verdicts  # noqa: E402
from tools.bench.stack import say  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"


@dataclass(frozen=True)
class Extent:
    """How much is stored and compared."""

    sizes: tuple[int, ...]
    tenants: tuple[int, ...]
    viewed: int
    counted: int
    rounds: int


FULL = Extent((1_000, 100_000, 300_000), (1, 50, 1_000), 30_000, 300_000, 7)
QUICK = Extent((1_000, 5_000, 10_000), (1, 10, 100), 2_000, 10_000, 2)
COUNTED_TENANTS = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes no page")
    parser.add_argument("--check", action="store_true", help="the statistics alone")
    given = parser.parse_args()
    extent, started = QUICK if given.quick else FULL, time.perf_counter()
    if given.check:
        with _processes() as pool:
            differences = _check(pool, extent).result()
        for difference in differences:
            say(difference)
        say(f"statistics over {extent.counted:,} events: {len(differences)} views differ")
        return bool(differences)
    results = _run(extent)
    if not given.quick:
        PAGE.write_text(report.page(results))
        PLOT.write_text(report.plot(results))
    for line in report.summary(results):
        say(line)
    broken = sum(not verdict.holds for verdict in verdicts(results))
    say(f"{broken} budgets broken; {time.perf_counter() - started:.0f} s")
    return bool(broken)


def _run(extent: Extent) -> Results:
    # First, and by itself: of these figures two are budgets of time.
    imported = imports.measure(extent.rounds, say)
    # And by itself too: it has a budget of time.
    with _processes() as pool:
        healed = _start(pool, healing.cost).result()
        routed = _start(pool, ai.cost).result()
    with _processes() as pool:
        sizes = _start(pool, scenarios.sizes, extent.sizes)
        compared = _check(pool, extent)
        views = {n: _start(pool, scenarios.views, extent.viewed, n) for n in extent.tenants}
        judged = {n: _start(pool, alerting.cost, n) for n in extent.sizes}
        rows, relayed = sizes.result()
        return Results(
            sizes=rows,
            views={number: view.result() for number, view in views.items()},
            viewed=extent.viewed,
            relayed=relayed,
            alerting={number: row.result() for number, row in judged.items()},
            healing=healed,
            routing=routed,
            imports=imported,
            differences=compared.result(),
            counted=extent.counted,
        )


def _processes() -> ProcessPoolExecutor:
    """Two at a time, and each scenario in a fresh one: handler modules keep what they know."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1)


def _check(pool: ProcessPoolExecutor, extent: Extent) -> Future[list[str]]:
    return _start(pool, scenarios.check, extent.counted, COUNTED_TENANTS)


def _start(pool: ProcessPoolExecutor, of: Callable[..., Any], *given: Any) -> Future[Any]:
    return pool.submit(of, *given)


if __name__ == "__main__":
    sys.exit(main())
