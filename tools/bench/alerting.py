"""What one batch of the relay and one sweep cost with 500 rules, over what is stored already."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.bench import workload
from tools.bench.stack import BATCH, BenchError, Measured, Stack, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherlink.events.model import Event

RULES = 500
RELAYED, SWEPT = f"relay, a batch of {BATCH}", "sweep"
Row = dict[str, Measured]
SECOND = timedelta(seconds=1)
# Each in an hour's window, over every event of the tenant: whose windows are as full as can be.
WIDE: tuple[dict[str, Any], ...] = (
    {"threshold": 5},
    {"threshold": 5, "for_seconds": 30, "group_by": ["severity"]},
    {"measure": "distinct", "field": "payload.user", "threshold": 90},
    {"measure": "sum", "field": "payload.n", "threshold": 1_000},
    {"measure": "ratio", "severity": "error", "of": {}, "threshold": 0.1,
     "confirm_window_seconds": 300},
    {"measure": "absence", "threshold": 1},
)  # fmt: skip
# Of one host each, in a minute's window; most hosts are silent.
NARROW: tuple[dict[str, Any], ...] = (
    {"threshold": 3},
    {"threshold": 2, "group_by": ["event_type"], "keep_firing_for_seconds": 60},
    {"threshold": 2, "group_by": ["payload.user"], "for_seconds": 20},
    {"measure": "sum", "field": "payload.n", "threshold": 10, "group_by": ["event_type"]},
    {"measure": "distinct", "field": "payload.user", "threshold": 3},
    {"measure": "ratio", "event_type": workload.TYPES[0], "of": {}, "threshold": 0.3},
    {"measure": "absence", "threshold": 1, "group_by": ["source"]},
    {"measure": "avg", "field": "payload.n", "threshold": 3, "no_data": "keep_last"},
)  # fmt: skip
HOSTS = 250


def cost(number: int) -> Row:
    """With that many events of one tenant stored, half of them in the last hour: a batch of 100 new
    ones, and the sweep a minute after it.

    The wide rules counted what was stored as it came. The others are on for the batch before the
    one that is measured, so that their watches and some of their hits are there.
    """
    stack = Stack(workload.NOW)
    _rules(stack, WIDE, range(len(WIDE)), window_seconds=3600)
    stack.load(
        [_with_numbers(n, e) for n, e in enumerate(workload.of_one_tenant(0, number))],
        partial(_say, f"to {number:,}"),
    )
    _rules(stack, NARROW, range(len(WIDE), RULES), window_seconds=60)
    stack.clock.at = workload.NOW + SECOND
    stack.load(_batch(stack, 0), _say)
    # What a batch raises is relayed with the next; here nothing else is on the stream.
    batch = _batch(stack, 1)
    _store(stack, batch)
    records = [change.record() for change in stack.double.take_stream("events_table")]
    row = {RELAYED: stack.once("functions.events.relay", {"Records": records})}
    stack.double.take_stream("events_table")
    stack.clock.at += 65 * SECOND
    row[SWEPT] = stack.once("functions.alerts.evaluator", {})
    _say(f"{number:,} stored, {row[RELAYED].calls} calls a batch, {row[SWEPT].calls} a sweep")
    return row


def _rules(
    stack: Stack, kinds: Sequence[dict[str, Any]], numbers: Sequence[int], *, window_seconds: int
) -> None:
    """Behind the API's back: making a rule reads its window, which is not what is measured."""
    from aetherlink.alerts.model import RuleDraft, draw_up  # noqa: PLC0415 - environment first
    from aetherlink.alerts.store import RuleStore  # noqa: PLC0415
    from aetherlink.kernel.ids import tenant_bound  # noqa: PLC0415
    from aetherlink.kernel.tenancy import TenantId  # noqa: PLC0415
    from aetherlink.wiring import control_table  # noqa: PLC0415

    tenant, store = TenantId(workload.TENANT), RuleStore(control_table())
    with stack.double.in_process():
        for n in numbers:
            kind = kinds[n % len(kinds)]
            host = {} if kinds is WIDE else {"source": f"host-{n % HOSTS}"}
            divisor = {"of": host} if "of" in kind else {}
            named = {"name": f"rule {n}", "window_seconds": window_seconds}
            draft = RuleDraft.model_validate({**named, **host, **kind, **divisor})
            rule_id = tenant_bound(tenant, f"{n:016x}")
            store.put(draw_up(draft, rule_id, tenant, workload.NOW - 40 * workload.DAY))


def _with_numbers(n: int, event: Event) -> Event:
    return event.model_copy(
        update={"payload": {**event.payload, "n": n % 7, "user": f"user-{n % 100}"}}
    )


def _batch(stack: Stack, turn: int) -> list[Event]:
    """The same hundred events for every size, but for their ids: of 20 hosts, within a second."""
    now = stack.clock.at
    return [
        _with_numbers(
            n,
            event.model_copy(
                update={
                    "event_id": f"batch-{turn}-{n}",
                    "timestamp": now + n * timedelta(milliseconds=5),
                    "received_at": now + n * timedelta(milliseconds=5),
                }
            ),
        )
        for n, event in enumerate(workload.of_one_tenant(0, BATCH))
    ]


def _store(stack: Stack, events: Sequence[Event]) -> None:
    from aetherlink.wiring import event_store  # noqa: PLC0415

    store = event_store()
    with stack.double.in_process():
        for event in events:
            stack.clock.at = max(stack.clock.at, event.received_at)
            if store.add(event) is not None:
                raise BenchError(f"{event.event_id} was there already")


def _say(*parts: str) -> None:
    say(f"  alerting: {', '.join(parts)}")
