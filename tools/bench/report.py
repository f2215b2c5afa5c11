"""docs/performance.md: what a run found, as a page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.bench.ai import lines as routing_lines
from tools.bench.alerting import RELAYED, RULES, SWEPT, WIDE
from tools.bench.budgets import (
    FULL_FROM,
    GROWTH,
    IMPORT_RATIO,
    PUBLISH_CPU_MS,
    PUBLISH_UNITS,
    verdicts,
)
from tools.bench.healing import lines
from tools.bench.plot import Panel, draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tools.bench.budgets import Results, Row
    from tools.bench.stack import Measured

_HEAD = """\
# Performance

What a request costs: AWS calls, items and bytes read, write units, CPU. `make bench` measures it,
writes this page and fails if a budget is broken. `make bench ARGS=--quick` is a small run that writes
nothing; `ARGS=--check` compares the statistics alone.

```sh
make bench
```

## How it is measured

The real handlers run in one process on a DynamoDB double (`tools/bench/dynamodb.py`) with the
template's own tables and indexes. Tests compare the double with moto. It answers where botocore would
send the HTTP request, so CPU time (user and system, the median of several warm calls) is the handler's
with botocore, without the double's own; there is no network. *Items* are those that DynamoDB reads and
charges, not those that come back; *KB* are their bytes. The clock stands still, so what a function may
remember for 30 s stays remembered: on AWS each instance looks policies up again every 30 s.

The events are stored through `EventStore`, and the real relay follows their stream in batches of 100.
Half of them lie in the last hour, the rest over 30 days. One in 1,000 has the type, source and
severity (`error`) that the filters ask for, another one the severity `info`, and the others are
warnings: every filter is one that hardly anything fits. A list without an index for its filter
(`source`, severity `info`) examines 1,000 entries and then gives a short page with a cursor. Lists
return 50 events at most.
"""


def page(results: Results) -> str:
    """The page, as Markdown."""
    return "\n".join(
        [
            _HEAD,
            "## One tenant\n",
            "Each cell: calls / items / KB read / CPU ms.\n",
            *_table(results.sizes, "stored events"),
            _writes(results),
            "![Items read, over what is stored](performance.svg)\n",
            "## All tenants\n",
            f"{results.viewed:,} events in all, and no `X-Tenant-ID`. Each cell as above.\n",
            *_table(results.views, "tenants"),
            "\n## Alerting\n",
            *_alerting(results),
            "\n## Healing\n",
            *_healing(results),
            "\n## AI\n",
            *_routing(results),
            "\n## Cold starts\n",
            *_imports(results),
            "\n## Budgets\n",
            *_budgets(results),
            "",
        ]
    )


def plot(results: Results) -> str:
    """The plot, as SVG."""
    return draw(
        [
            _panel("Items read, over events stored in one tenant", results.sizes),
            _panel(f"Items read, over tenants ({results.viewed:,} events)", results.views),
        ]
    )


def summary(results: Results) -> list[str]:
    """A line for each budget, the broken ones last."""
    found = sorted(verdicts(results), key=lambda verdict: not verdict.holds)
    return [f"{'ok    ' if v.holds else 'BROKEN'}  {v.budget}: {v.found}" for v in found]


def _panel(title: str, rows: Mapping[int, Row]) -> Panel:
    names = next(iter(rows.values()))
    lines = {name: [row[name].items for row in rows.values()] for name in names}
    return Panel(title, list(rows), {name: line for name, line in lines.items() if any(line)})


def _table(rows: Mapping[int, Row], unit: str) -> Iterable[str]:
    yield from _lines(
        ["request", *(f"{number:,} {unit}" for number in rows)],
        [
            [name, *(_cell(row[name]) for row in rows.values())]
            for name in next(iter(rows.values()))
        ],
    )


def _cell(m: Measured) -> str:
    return f"{m.calls} / {m.items:,} / {m.bytes_read / 1024:.1f} / {m.cpu_ms:.1f}"


def _writes(results: Results) -> str:
    (publish, *_), *_ = (row.values() for row in results.sizes.values())
    calls, written = results.relayed.values()
    return (
        f"\nA publish writes {publish.write_units} units: the event, its entry in the timeline, and"
        f" the one by type. The relay then makes {calls:.0f} calls for a batch of 100 of these"
        f" events, and writes {written:.1f} units for each of them (digests, counts, arrivals,"
        " all-tenant timelines, hits; transactions count double).\n"
    )


def _alerting(results: Results) -> Iterable[str]:
    yield (
        f"{RULES} enabled rules of one tenant. {len(WIDE)} count every event, over an hour, from the"
        " first on; the others look at one host each, over a minute, and the batch's 100 events come"
        " from 20 hosts, so that it touches some 45 rules, many of them in several groups. They are"
        " counts, sums, numbers of values, averages, ratios and absences. The sweep is the one a"
        " minute later, when most of what the batch began is over. Calls include those to SNS and"
        " SQS. Each cell: calls / items / KB read / write units.\n"
    )
    yield from _lines(
        ["", *(f"{number:,} stored events" for number in results.alerting)],
        [
            [
                name,
                *(
                    f"{m.calls} / {m.items:,} / {m.bytes_read / 1024:.1f} / {m.write_units:,}"
                    for m in (row[name] for row in results.alerting.values())
                ),
            ]
            for name in (RELAYED, SWEPT)
        ],
    )


def _healing(results: Results) -> Iterable[str]:
    yield (
        "One run of the healer, with services on loopback, real time and a real network. Those that"
        " fail answer 500 until their hook is called; those that hang never answer, whatever is done."
        f" {' '.join(lines(results.healing))}\n"
    )


def _routing(results: Results) -> Iterable[str]:
    yield (
        "The orchestrator's warm calls, whole requests with the provider in another process, over HTTP."
        f" {' '.join(routing_lines(results.routing))}\n"
    )


def _imports(results: Results) -> Iterable[str]:
    imports = results.imports
    yield (
        "CPU of importing a handler's module in a fresh interpreter, as a multiple of"
        f' `boto3.client("dynamodb")` alone ({imports.client_ms:.0f} ms on the machine of this'
        " run); and together with making the client, which the first request needs.\n"
    )
    yield from _lines(
        ["module", "import", "import and client"],
        [[f"`{n}`", f"{a:.2f}", f"{b:.2f}"] for n, (a, b) in imports.ratios.items()],
    )
    if imports.missing:
        yield f"\nNot there yet: {', '.join(f'`{name}`' for name in imports.missing)}."


def _budgets(results: Results) -> Iterable[str]:
    yield (
        f"A handler's import: {IMPORT_RATIO} times a DynamoDB client. A publish: one call,"
        f" {PUBLISH_UNITS} write units, {PUBLISH_CPU_MS} ms of CPU. A read: a number of calls and"
        " items that does not depend on how many events there are: bounds for every size, and"
        f" less than {GROWTH} times the items for three times the events once every page and bucket"
        f" is full ({FULL_FROM:,} events)."
        f" A batch of the relay and a sweep with {RULES} rules: the same, from the smallest size on."
        " Statistics: what counting every event one by one gives, to the unit, also after an hour of"
        " the stream has come again.\n"
    )
    yield from _lines(
        ["budget", "found", "holds"],
        [[v.budget, v.found, "yes" if v.holds else "**no**"] for v in verdicts(results)],
    )


def _lines(head: list[str], rows: list[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
