"""The journal enters every event once, whatever the stream does. (Its AWS side: component tests.)"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aetherlink.events.count_store import CountStore
from aetherlink.events.journal import Journal
from aetherlink.events.keeping import Keeping, Policy
from aetherlink.events.model import Event, Severity
from aetherlink.events.statistics import Statistics
from aetherlink.kernel.tenancy import TenantId
from aetherlink.platform.dynamo import ConditionFailedError
from tests.unit.events.memory import MemoryTable

NOON = datetime(2026, 11, 23, 12, 30, 20, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
TENANTS = {"short": 1, "usual": 30, "long": 90}


class Policies:
    def get(self, tenant_id: TenantId) -> tuple[Policy | None, None]:
        return self.all()[0].get(tenant_id), None

    def all(self) -> tuple[dict[TenantId, Policy], dict[TenantId, Any]]:
        return {TenantId(t): Policy(days, NOON) for t, days in TENANTS.items()}, {}


def keeping() -> Keeping:
    return Keeping(Policies(), default=30 * DAY, is_archiving=False, now=lambda: NOON)


def created(number: int, now: datetime) -> Event:
    return Event(
        event_id=f"e{number}",
        event_type="lead.created",
        source="test",
        tenant_id=TenantId("usual"),
        severity=Severity.INFO,
        timestamp=now,
        received_at=now,
        payload={},
    )


def test_after_a_day_of_silence_pages_go_on_above_every_number_that_was() -> None:
    """Pages expire in any order, and a process may remember one from before."""
    table, clock = MemoryTable(), [NOON]

    def process() -> Journal:
        return Journal(
            table, keeping(), lambda: clock[0], sleep=lambda _: None, write=table.transact
        )

    def pages() -> list[int]:
        return [int(p["sk"]) for p in table.query_all("pk = :pk", pk="usual#arrivals")]

    remembering, other = process(), process()
    for number in range(3):
        remembering.enter([created(number, clock[0])])
    first = pages()
    assert first == [first[0], first[0] + 1, first[0] + 2]
    # The newest two are gone; the oldest lingers.
    for number in first[1:]:
        del table.items["usual#arrivals", f"{number:016d}"]
    clock[0] += timedelta(hours=26)

    other.enter([created(7, clock[0])])
    remembering.enter([created(8, clock[0])])

    later = pages()
    assert later[0] == first[0]
    assert later[1] > first[2]
    assert later[2] == later[1] + 1


events = st.lists(
    st.builds(
        lambda number, tenant, seconds, kind, severity: Event(
            event_id=f"e{number}",
            event_type=kind,
            source="test",
            tenant_id=TenantId(tenant),
            severity=severity,
            timestamp=NOON - timedelta(seconds=seconds),
            received_at=NOON,
            payload={},
        ),
        st.integers(0, 10**9),
        st.sampled_from(list(TENANTS)),
        # Crowded near the edges: the last minutes, a day ago, thirty and ninety days ago.
        st.sampled_from([0, 0, 1, 1, 30, 90]).flatmap(
            lambda days: st.integers(-240, 200).map(lambda s: days * 86400 + s)
        )
        | st.integers(0, 100 * 86400),
        st.sampled_from(["lead.created", "autoheal.failed", "invoice.paid"]),
        st.sampled_from(list(Severity)),
    ),
    min_size=1,
    max_size=120,
    unique_by=lambda event: event.event_id,
)


@settings(max_examples=150, deadline=None)
@given(stored=events, seed=st.integers(0, 2**32))
def test_counts_and_arrivals_are_exact_however_the_stream_comes(
    stored: list[Event], seed: int
) -> None:
    chance, table = random.Random(seed), MemoryTable()
    stream = [*stored, *chance.choices(stored, k=chance.randint(0, 2 * len(stored)))]
    chance.shuffle(stream)

    def write(writes: list[Any]) -> None:
        # A transaction that fails for somebody else's doing, and one whose answer is lost.
        dice = chance.random()
        if dice < 0.1:
            raise ConditionFailedError(None)
        table.transact(writes)
        if dice > 0.95:
            raise ConditionFailedError(None)

    def process() -> Journal:
        return Journal(table, keeping(), lambda: NOON, sleep=lambda _: None, write=write)

    processes = [process(), process()]
    while stream:
        size = chance.randint(1, max(1, len(stream) // 2))
        batch, stream = stream[:size], stream[size:]
        if chance.random() < 0.1:
            processes[0] = process()
        chance.choice(processes).enter(batch)

    statistics = Statistics(CountStore(table), keeping(), lambda: NOON)
    whole = NOON.replace(second=0)
    within = {
        tenant: [
            e
            for e in stored
            if e.tenant_id == tenant and e.timestamp >= whole - timedelta(days=days)
        ]
        for tenant, days in TENANTS.items()
    }
    for tenant, own in within.items():
        found = statistics.of(TenantId(tenant))
        assert found.total == len(own)
        assert found.by_severity == Counter(str(e.severity) for e in own)
        assert found.by_type == Counter(e.event_type for e in own)
        assert found.last_24h == sum(e.timestamp >= whole - DAY for e in own)
    everybody = statistics.of(None)
    assert everybody.total == sum(map(len, within.values()))
    assert everybody.last_24h == sum(e.timestamp >= whole - DAY for e in stored)

    for scope in (*TENANTS, "*"):
        pages = list(table.query_all("pk = :pk", pk=f"{scope}#arrivals"))
        numbers = [int(page["sk"]) for page in pages]
        assert numbers == list(range(numbers[0], numbers[0] + len(pages))) if pages else True
        arrived = [ref[2] for page in pages for ref in page["refs"]]
        shown = [
            e.event_id
            for e in stored
            if scope in ("*", e.tenant_id)
            and e.timestamp > NOON - timedelta(days=TENANTS[e.tenant_id])
        ]
        assert sorted(arrived) == sorted(shown)
