"""What is measured: requests at several sizes, and the statistics against a brute-force count."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.bench import workload
from tools.bench.stack import BATCH, BenchError, Call, Measured, Stack, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aetherlink.events.model import Event
    from tools.bench.dynamodb import Change

PUBLISH = "publish, info, at most 1 KB stored"
BY_TYPE, BY_SOURCE = "evaluate, a rule by type", "evaluate, a rule by source"
Row = dict[str, Measured]


def sizes(numbers: Sequence[int]) -> tuple[dict[int, Row], dict[str, float]]:
    """Requests of one tenant at each number of stored events; and what the relay did for an event."""
    stack = Stack(workload.NOW)
    with stack.double.in_process():
        rules = {
            BY_TYPE: stack.call(_rule(event_type=workload.WANTED)),
            BY_SOURCE: stack.call(_rule(source=workload.WANTED)),
        }
    rows: dict[int, Row] = {}
    stored = 0
    for number in numbers:
        started = time.perf_counter()
        stack.load(
            workload.of_one_tenant(stored, number), partial(_say, f"to {number:,} in one tenant")
        )
        stored = number
        _say("one tenant", f"{number:,} stored, {time.perf_counter() - started:.0f} s")
        rows[number] = _requests(stack, {name: rule["rule_id"] for name, rule in rules.items()})
    batches, calls, written = stack.relayed
    return rows, {
        "calls a batch of 100": calls / batches,
        "write units an event": written / stored,
    }


def _requests(stack: Stack, rules: Mapping[str, str]) -> Row:
    row = {name: stack.measure(call) for name, call in _reads(workload.TENANT).items()}
    for name in rules:
        _only(stack, rules, name)
        row[name] = stack.measure(Call("POST", "/alerts/evaluate", workload.TENANT))
    _only(stack, rules, None)
    body = {
        "event_type": "autoheal.failed",
        "source": "bench",
        "payload": {"service": "checkout", "action": "restart", "error": "connection refused"},
    }
    row[PUBLISH] = stack.measure(Call("POST", "/events/publish", workload.TENANT, body=body))
    return {PUBLISH: row.pop(PUBLISH), **row}


def _reads(tenant: str | None) -> dict[str, Call]:
    def recent(**query: str) -> Call:
        return Call("GET", "/events/recent", tenant, query=query)

    wanted, tenth = workload.WANTED, workload.NOW - 10 * workload.DAY
    since, until = (_text(instant) for instant in (tenth, tenth + workload.DAY))
    return {
        "recent": recent(),
        "recent, event_type": recent(event_type=wanted),
        "recent, source": recent(source=wanted),
        "recent, severity info": recent(severity="info"),
        "recent, severity error": recent(severity="error"),
        "recent, since + until": recent(since=since, until=until),
        "recent, event_type + source": recent(event_type=wanted, source=wanted),
        "event by id": Call(
            "GET", "/events/{event_id}", tenant, parameters={"event_id": "event-0000501"}
        ),
        "stats": Call("GET", "/events/stats", tenant),
    }


def _rule(**filters: str) -> Call:
    return Call("POST", "/alerts/rules", workload.TENANT,
                body={"name": "bench", "window_seconds": 3600, "threshold": 5, **filters})  # fmt: skip


def _only(stack: Stack, rules: Mapping[str, str], name: str | None) -> None:
    """Let one rule alone be enabled, or all (None). Behind the API's back: what that would resolve
    is not to happen."""
    from aetherlink.alerts.store import RuleStore  # noqa: PLC0415 - after the environment is set
    from aetherlink.kernel.tenancy import TenantId  # noqa: PLC0415
    from aetherlink.wiring import control_table  # noqa: PLC0415

    store = RuleStore(control_table())
    with stack.double.in_process():
        for key, rule_id in rules.items():
            rule = store.get(TenantId(workload.TENANT), rule_id)
            if rule is None:
                raise BenchError(f"the rule {rule_id} is gone")
            store.put(rule.model_copy(update={"enabled": name in (None, key)}))


def views(number: int, tenants: int) -> Row:
    """All-tenant views over that many events and tenants."""
    stack = Stack(workload.NOW)
    stack.load(workload.of_tenants(number, tenants), partial(_say, f"{tenants:,} tenants"))
    _say("all tenants", f"{number:,} events of {tenants:,} tenants stored")
    wanted = ("recent", "recent, event_type", "recent, source", "recent, severity error", "stats")
    reads = _reads(None)
    return {name: stack.measure(reads[name]) for name in wanted}


def check(number: int, tenants: int) -> list[str]:
    """Statistics against a count of the events one by one, also after an hour of the stream came
    again. What differs, in words."""
    events = workload.for_the_count(number, tenants)
    stack = Stack(events[0].received_at)
    retentions = {f"tenant-{n}": days for n, days in ((0, 1), (7, 1), (3, 90), (11, 90))}
    with stack.double.in_process():
        _keep(retentions, stack.clock.at)
    changes = stack.load(events, partial(_say, "statistics"))
    stack.clock.at = workload.NOW
    found = _differences(stack, events, retentions, tenants, "after the load")
    again = _last_hour(changes)
    _say("statistics", f"replaying {len(again):,} records of the last hour")
    with stack.double.in_process():
        # Cut elsewhere than the first time.
        stack.relay(again[: BATCH // 3])
        stack.relay(again[BATCH // 3 :])
    found += _differences(stack, events, retentions, tenants, "after the replay")
    _say("statistics", f"{tenants + 1} views compared twice: {len(found)} differ")
    return found


def _keep(retentions: Mapping[str, int], now: datetime) -> None:
    from aetherlink.events.keeping import Policy, PolicyStore  # noqa: PLC0415
    from aetherlink.kernel.tenancy import TenantId  # noqa: PLC0415
    from aetherlink.wiring import control_table  # noqa: PLC0415

    for tenant, days in retentions.items():
        PolicyStore(control_table()).put(TenantId(tenant), Policy(days, now))


def _last_hour(changes: Sequence[Change]) -> list[Change]:
    """The records of events that came in during the last hour."""
    since = _text(workload.NOW - workload.HOUR)
    kept = []
    for change in changes:
        image = change.record()["dynamodb"]["NewImage"]
        if image["at"]["S"].split("#")[1] >= since:
            kept.append(change)
    return kept


def _differences(
    stack: Stack, events: Sequence[Event], retentions: Mapping[str, int], tenants: int, when: str
) -> list[str]:
    shown = [
        event
        for event in events
        if event.timestamp >= _minute(workload.NOW - _days(retentions, event.tenant_id))
    ]
    views = [None, *(f"tenant-{n}" for n in range(tenants))]
    found = []
    with stack.double.in_process():
        for view in views:
            seen = [e for e in shown if view is None or e.tenant_id in (view, "system")]
            answer = stack.call(Call("GET", "/events/stats", view))
            expected = _counted(seen)
            for name, value in expected.items():
                if answer[name] != value:
                    found.append(
                        f"stats of {view or 'all tenants'} {when}: {name} is {answer[name]}, "
                        f"and there are {value}"
                    )
    return found


def _counted(events: Sequence[Event]) -> dict[str, Any]:
    yesterday = _minute(workload.NOW - workload.DAY)
    return {
        "total": len(events),
        "last_24h": sum(event.timestamp >= yesterday for event in events),
        "by_severity": dict(Counter(str(event.severity) for event in events)),
        "by_type": dict(Counter(event.event_type for event in events)),
    }


def _days(retentions: Mapping[str, int], tenant: str) -> timedelta:
    return timedelta(days=retentions.get(tenant, 30))


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _say(where: str, line: str) -> None:
    say(f"  {where}: {line}")
