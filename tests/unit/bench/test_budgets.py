"""A broken budget is named, whatever the others say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.bench.ai import Routed
from tools.bench.alerting import RELAYED, SWEPT
from tools.bench.budgets import Results, verdicts
from tools.bench.healing import Healed
from tools.bench.imports import Imports
from tools.bench.report import page, plot
from tools.bench.scenarios import PUBLISH
from tools.bench.stack import Measured

FINE = Measured(calls=1, items=0, bytes_read=0, write_units=3, cpu_ms=0.8)
READ = Measured(calls=4, items=101, bytes_read=40_000, write_units=0, cpu_ms=8.0)
JUDGED = Measured(calls=381, items=1256, bytes_read=444_072, write_units=1805, cpu_ms=0.0)
HEALED = Healed(23.3, calls=81, changed=35, down=10, healed=25, idle_seconds=0.6, idle_calls=5)
ROUTED = Routed(
    chat=Measured(calls=4, items=1, bytes_read=200, write_units=5, cpu_ms=2.5),
    extract=Measured(calls=4, items=1, bytes_read=200, write_units=5, cpu_ms=3.1),
)
RESULTS = Results(
    sizes={n: {PUBLISH: FINE, "recent": READ} for n in (1_000, 100_000, 300_000)},
    views={n: {"recent": READ} for n in (1, 50, 1_000)},
    viewed=30_000,
    relayed={"calls": 16.0, "units": 4.2},
    alerting={n: {RELAYED: JUDGED, SWEPT: JUDGED} for n in (1_000, 100_000, 300_000)},
    healing=HEALED,
    routing=ROUTED,
    imports=Imports(150.0, {"functions.events.publish": (1.59, 1.8)}, []),
    differences=[],
    counted=300_000,
)


def _broken(results: Results) -> list[str]:
    return [verdict.budget for verdict in verdicts(results) if not verdict.holds]


def test_a_run_within_its_budgets_breaks_none() -> None:
    assert _broken(RESULTS) == []


@pytest.mark.parametrize(
    ("healing", "named"),
    [
        (replace(HEALED, seconds=30.0), "under 30 s"),
        (replace(HEALED, calls=91), "at most 90 AWS calls"),
    ],
)
def test_a_run_of_the_healer_that_takes_too_much_is_named(healing: Healed, named: str) -> None:
    [broken] = _broken(replace(RESULTS, healing=healing))
    assert named in broken


def test_a_router_that_takes_too_much_is_named() -> None:
    slow = replace(ROUTED, chat=replace(ROUTED.chat, cpu_ms=5.1))
    [broken] = _broken(replace(RESULTS, routing=slow))
    assert "AI chat" in broken


@pytest.mark.parametrize(
    ("publish", "named"),
    [
        (replace(FINE, calls=2), "publish: one AWS call"),
        (replace(FINE, write_units=4), "publish: at most 3 write units"),
        (replace(FINE, cpu_ms=2.51), "publish: at most 2.5 ms of CPU"),
    ],
)
def test_a_dearer_publish_is_named(publish: Measured, named: str) -> None:
    sizes = {**RESULTS.sizes, 300_000: {PUBLISH: publish, "recent": READ}}

    assert named in _broken(replace(RESULTS, sizes=sizes))


def test_a_read_that_grows_within_its_bound_is_named() -> None:
    sizes = {**RESULTS.sizes, 300_000: {PUBLISH: FINE, "recent": replace(READ, items=303)}}

    assert _broken(replace(RESULTS, sizes=sizes)) == [
        "one tenant, recent: no more at 300,000 than at 100,000"
    ]


def test_a_read_beyond_its_bound_is_named() -> None:
    views = {n: {"recent": replace(READ, calls=60)} for n in (1, 50, 1_000)}

    assert _broken(replace(RESULTS, views=views)) == [
        "all tenants, recent: at most 6 calls and 1,152 items"
    ]


def test_alerting_that_grows_with_what_is_stored_is_named() -> None:
    grown = {RELAYED: JUDGED, SWEPT: replace(JUDGED, calls=572)}
    alerting = {**RESULTS.alerting, 300_000: grown}

    assert _broken(replace(RESULTS, alerting=alerting)) == [
        "500 rules, sweep: at most 400 calls and 1,500 items",
        "500 rules, sweep: no more at 300,000 than at 1,000",
    ]


def test_a_slow_import_and_a_wrong_count_are_named() -> None:
    slow = Imports(150.0, {"functions.events.publish": (1.61, 1.8)}, [])

    assert _broken(replace(RESULTS, imports=slow, differences=["total is 1"])) == [
        "import functions.events.publish: at most 1.6 x a DynamoDB client",
        "statistics over 300,000 events equal a count one by one, also after a replay",
    ]


def test_the_page_has_a_row_for_each_request_and_says_what_is_broken() -> None:
    slow = Imports(150.0, {"functions.events.publish": (1.61, 1.8)}, [])
    text = page(replace(RESULTS, imports=slow))

    assert "| recent | 4 / 101 / 39.1 / 8.0 | 4 / 101 / 39.1 / 8.0 |" in text
    assert "| sweep | 381 / 1,256 / 433.7 / 1,805 |" in text
    assert "1.61 x | **no** |" in text


def test_the_plot_is_one_svg() -> None:
    drawn = plot(RESULTS)

    assert drawn.startswith("<svg")
    assert drawn.count("<polyline") == 2
