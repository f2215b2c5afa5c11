"""The all-tenant timeline over many pages, and over one second that has more than a read takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aetherlink.events.keeping import Keeping, PolicyStore
from aetherlink.events.model import Event, Filters, announce
from aetherlink.events.store import TOP, OverviewStore
from aetherlink.kernel.tenancy import TenantId
from aetherlink.platform.dynamo import Table
from tests.component.conftest import Stack

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def overview() -> OverviewStore:
    policies = PolicyStore(Table("control-test"))
    keeping = Keeping(policies, default=timedelta(days=30), is_archiving=False, now=lambda: NOON)
    return OverviewStore(Table("projections-test"), keeping, shards=1)


def event(number: int, at: datetime) -> Event:
    return announce(
        "lead.created",
        source="crm",
        tenant_id=TenantId(f"t-{number % 7}"),
        payload={},
        now=at,
        event_id=f"e-{number}",
    )


def walk(store: OverviewStore, limit: int) -> list[str]:
    """All event ids, newest first, over as many reads as it takes."""
    found: list[str] = []
    below: str | None = TOP
    reads = 0
    while below is not None:
        entries, below = store.entries(0, Filters(), below=below, limit=limit)
        found += [entry.event_id for entry in entries]
        reads += 1
        assert reads < 500
    return found


@pytest.mark.parametrize("limit", [1, 3, 40, 1000])
@pytest.mark.parametrize("per_second", [1, 4, 25])
def test_every_event_is_listed_once_and_in_order(stack: Stack, limit: int, per_second: int) -> None:
    store = overview()
    events = [
        event(n, NOON + timedelta(seconds=n // per_second, microseconds=n)) for n in range(60)
    ]
    for one in events:
        store.add([one])

    assert walk(store, limit) == [f"e-{n}" for n in reversed(range(60))]


def test_a_batch_that_comes_twice_is_listed_once(stack: Stack) -> None:
    store = overview()
    batch = [event(n, NOON + timedelta(milliseconds=n)) for n in range(10)]
    for again in (batch, batch, batch[3:], batch[:5]):
        store.add(again)

    assert walk(store, 40) == [f"e-{n}" for n in reversed(range(10))]


def test_since_and_a_position_bound_what_is_read(stack: Stack) -> None:
    store = overview()
    events = [event(n, NOON + timedelta(seconds=n)) for n in range(10)]
    store.add(events)
    filters = Filters(since=NOON + timedelta(seconds=3))

    entries, rest = store.entries(0, filters, below=events[6].position, limit=40)

    assert ([e.event_id for e in entries], rest) == (["e-5", "e-4", "e-3"], None)
