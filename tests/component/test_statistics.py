"""Statistics: exact whatever the stream does, to the minute, for a tenant and for everybody."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherlink.events.count_store import CountStore
from aetherlink.events.counts import Level, bucket
from aetherlink.events.journal import Journal
from aetherlink.events.keeping import Keeping, Policy, PolicyStore
from aetherlink.events.model import Event, Severity
from aetherlink.events.statistics import Statistics, Stats
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import to_text, utc_now
from aetherlink.platform.dynamo import ConditionFailedError, ContendedError, Table
from tests.component.conftest import Stack

NOON = datetime(2026, 11, 23, 12, 30, 20, tzinfo=UTC)
DAY = timedelta(days=1)
TYPES = ("lead.created", "autoheal.failed", "service.health.failed")


class Bench:
    """The journal and its statistics on moto, at a time that stands still."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.policies = PolicyStore(Table("control-test"))
        self.table = Table("projections-test")
        self.counts = CountStore(self.table)
        self.keeping = self._keeping()
        self.statistics = Statistics(self.counts, self.keeping, lambda: self.now)

    def _keeping(self) -> Keeping:
        month = timedelta(days=30)
        return Keeping(self.policies, default=month, is_archiving=False, now=lambda: self.now)

    def journal(self) -> Journal:
        """As another process has it: with nothing remembered."""
        return Journal(self.table, self._keeping(), lambda: self.now, sleep=lambda _: None)

    def of(self, tenant: str | None) -> Stats:
        return self.statistics.of(TenantId(tenant) if tenant else None)

    def keep(self, tenant: str, days: int) -> None:
        self.policies.put(TenantId(tenant), Policy(days, self.now))


numbers = count()


def event(
    tenant: str,
    age: timedelta,
    event_type: str = "lead.created",
    severity: Severity = Severity.INFO,
    now: datetime = NOON,
) -> Event:
    return Event(
        event_id=f"e-{next(numbers)}",
        event_type=event_type,
        source="test",
        tenant_id=TenantId(tenant),
        severity=severity,
        timestamp=now - age,
        received_at=now,
        payload={},
    )


def brute(events: Sequence[Event]) -> dict[str, int]:
    return dict(Counter(str(e.severity) for e in events))


ages = st.integers(-4 * 60, 29 * 86400).map(lambda seconds: timedelta(seconds=seconds))
batches = st.lists(
    st.builds(
        lambda tenant, age, kind, severity: (tenant, age, kind, severity),
        st.sampled_from(["a", "b", "system"]),
        ages,
        st.sampled_from(TYPES),
        st.sampled_from(list(Severity)),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=batches, seed=st.integers(0, 2**32))
def test_counts_are_exact_whatever_is_replayed_shuffled_or_split(
    stack: Stack, rows: list[Any], seed: int
) -> None:
    bench, chance = Bench(), random.Random(seed)
    # Tenants of this example alone; `system` is everybody's, so it is counted from where it stands.
    mark = f"x{next(numbers)}-"
    before = bench.of("nobody").total
    overall = bench.of(None).total
    events = [
        event(SYSTEM if tenant == "system" else mark + tenant, age, kind, severity)
        for tenant, age, kind, severity in rows
    ]
    stream = [*events, *chance.sample(events, chance.randint(0, len(events)))]
    chance.shuffle(stream)
    journal, entered = bench.journal(), 0
    while stream:
        size = chance.randint(1, len(stream))
        batch, stream = stream[:size], stream[size:]
        if chance.random() < 0.3:
            journal = bench.journal()
        entered += len(journal.enter(batch))

    assert entered == len(events)
    of_system = [e for e in events if e.tenant_id == SYSTEM]
    for tenant in (mark + "a", mark + "b"):
        own = [e for e in events if e.tenant_id == tenant]
        found = bench.of(tenant)
        assert found.total == len(own) + len(of_system) + before
        if not of_system and not before:
            assert found.by_severity == brute(own)
            assert found.by_type == dict(Counter(e.event_type for e in own))
            edge = (NOON - DAY).replace(second=0, microsecond=0)
            assert found.last_24h == sum(e.timestamp >= edge for e in own)
    assert bench.of(None).total == overall + len(events)


@pytest.mark.parametrize(
    ("age", "counted"),
    [
        (DAY - timedelta(seconds=1), True),
        (DAY, True),
        # 12:30:20 a day ago belongs to the minute of 12:30; 12:29:59 does not.
        (DAY + timedelta(seconds=20), True),
        (DAY + timedelta(seconds=21), False),
        (timedelta(minutes=-4), True),
    ],
)
def test_the_last_24_hours_are_exact_to_the_minute(
    stack: Stack, age: timedelta, counted: bool
) -> None:
    bench = Bench()
    bench.journal().enter([event("acme", age)])

    for view in ("acme", None):
        found = bench.of(view)
        assert (found.total, found.last_24h) == (1, int(counted))


def test_a_total_ends_at_each_tenants_own_retention(stack: Stack) -> None:
    bench = Bench()
    bench.keep("short", 1)
    bench.keep("long", 90)
    for tenant in ("short", "usual", "long"):
        bench.journal().enter(
            [event(tenant, timedelta(hours=hours)) for hours in (1, 47, 29 * 24, 31 * 24, 91 * 24)]
        )

    assert [bench.of(t).total for t in ("short", "usual", "long")] == [1, 3, 4]
    assert bench.of(None).total == 8


def test_a_tenants_move_to_another_retention_keeps_the_sum_over_everybody(stack: Stack) -> None:
    bench = Bench()
    bench.journal().enter([event("acme", timedelta(days=days, hours=1)) for days in range(40)])
    bench.journal().enter([event("other", timedelta(days=days, hours=1)) for days in range(40)])
    assert bench.of(None).total == 60

    bench.keep("acme", 7)
    for level in (Level.HOUR, Level.DAY):
        first, last = bucket(level, NOON - 60 * DAY), bucket(level, NOON)
        assert bench.counts.reclassify(TenantId("acme"), level, first, last, 7) == 40
        assert bench.counts.reclassify(TenantId("acme"), level, first, last, 7) == 0

    assert (bench.of("acme").total, bench.of(None).total) == (7, 37)
    # Whoever still believes the old retention adds to the class that the bucket is in.
    late = bench.journal()
    late._keeping._cached, late._keeping._read_at = bench.keeping.terms(), NOON
    late.enter([event("acme", timedelta(minutes=1)), event("acme", timedelta(days=1))])
    assert (bench.of("acme").total, bench.of(None).total) == (9, 39)


@pytest.mark.parametrize("meanwhile", ["counted", "moved", "moved elsewhere"])
def test_a_bucket_that_changes_while_it_moves_is_moved_as_it_is_then(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Two policies said one after the other are two jobs at once; and events go on coming in."""
    bench, acme = Bench(), TenantId("acme")
    bench.journal().enter([event("acme", timedelta(hours=1))])
    first, last = bucket(Level.DAY, NOON - DAY), bucket(Level.DAY, NOON)
    move: Any = CountStore._move
    others = iter(["once"])

    def raced(counts: CountStore, *moving: Any) -> None:
        if next(others, None):
            if meanwhile == "counted":
                bench.journal().enter([event("acme", timedelta(hours=1))])
            else:
                move(counts, *moving[:-1], 7 if meanwhile == "moved" else 9)
        move(counts, *moving)

    monkeypatch.setattr(CountStore, "_move", raced)
    bench.counts.reclassify(acme, Level.DAY, first, last, 7)

    expected = 2 if meanwhile == "counted" else 1
    found = {item["sk"]: item for item in bench.table.query_all("pk = :pk", pk="acme#counts")}
    assert found[f"{Level.DAY}#{last}"]["retention_days"] == 7
    for days, number in ((7, expected), (9, 0), (30, 0)):
        classed = bench.table.get(f"*#counts#{days}", f"{Level.DAY}#{last}") or {}
        assert sum(n for name, n in classed.items() if "|" in name) == number


def test_a_bucket_that_never_stands_still_is_tried_again_later(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.journal().enter([event("acme", timedelta(hours=1))])
    first, last = bucket(Level.DAY, NOON - DAY), bucket(Level.DAY, NOON)

    def lost(counts: CountStore, *moving: Any) -> None:
        raise ConditionFailedError(None)

    monkeypatch.setattr(CountStore, "_move", lost)
    with pytest.raises(ContendedError):
        bench.counts.reclassify(TenantId("acme"), Level.DAY, first, last, 7)


def test_a_correction_makes_every_count_what_there_is(stack: Stack) -> None:
    bench = Bench()
    ours = [event("acme", timedelta(hours=5)) for _ in range(3)]
    bench.journal().enter([*ours, event("acme", timedelta(hours=5), "autoheal.failed")])
    minute = bucket(Level.MINUTE, ours[0].timestamp)

    assert bench.counts.correct(TenantId("acme"), minute, {"info|lead.created": 1})

    for view in ("acme", None):
        found = bench.of(view)
        assert (found.total, found.by_type) == (1, {"lead.created": 1})
    # A correction of what is right already, or of nothing, changes nothing.
    assert bench.counts.correct(TenantId("acme"), minute, {"info|lead.created": 1})
    assert bench.counts.correct(TenantId("acme"), minute, {})
    assert bench.of("acme").total == 0
    assert bench.counts.correct(TenantId("acme"), minute, {"error|lead.created": 2})
    other = bucket(Level.MINUTE, NOON - timedelta(hours=9))
    assert bench.counts.correct(TenantId("acme"), other, {"info|lead.created": 2})
    assert (bench.of("acme").total, bench.of(None).total) == (4, 4)


def test_a_busy_minute_fills_several_pages_and_none_is_counted_twice(stack: Stack) -> None:
    bench = Bench()
    events = [event("acme", timedelta(minutes=5, microseconds=n)) for n in range(1300)]
    for start in range(0, 1300, 100):
        bench.journal().enter(events[start : start + 100])
    assert bench.journal().enter(events) == []
    assert bench.journal().enter(events[::-1][:200]) == []

    assert (bench.of("acme").total, bench.of(None).total) == (1300, 1300)


def test_one_batch_over_many_tenants_and_hours_takes_several_transactions(stack: Stack) -> None:
    bench = Bench()
    events = [event(f"t{n % 9}", timedelta(hours=n % 7)) for n in range(126)]
    assert len(bench.journal().enter(events)) == 126

    assert {bench.of(f"t{n}").total for n in range(9)} == {14}
    assert bench.of(None).total == 126


def test_pages_of_arrivals_have_no_gaps_and_every_event_once(stack: Stack) -> None:
    bench = Bench()
    first, second = bench.journal(), bench.journal()
    events = [event("acme", timedelta(minutes=n)) for n in range(30)]
    for n in range(0, 30, 3):
        (first if n % 2 else second).enter(events[n : n + 3])

    for scope in ("acme", "*"):
        pages = list(Table("projections-test").query_all("pk = :pk", pk=f"{scope}#arrivals"))
        numbers = [int(page["sk"]) for page in pages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert [ref[2] for page in pages for ref in page["refs"]] == [e.event_id for e in events]


def test_an_event_that_came_back_from_the_archive_is_not_entered(stack: Stack) -> None:
    bench = Bench()
    back = event("acme", timedelta(hours=1)).model_copy(update={"restored_until": NOON + DAY})

    assert bench.journal().enter([back]) == []
    assert bench.of("acme").total == 0


def test_stats_over_http(stack: Stack) -> None:
    stack.publish(tenant="acme", severity="error")
    stack.publish(tenant="acme", event_type="lead.created", payload={})
    stack.publish(tenant="other")
    stack.relay()

    answer = stack.call("GET", "/events/stats", tenant="acme")
    assert answer.status == 200
    as_of = answer.body.pop("as_of")
    assert to_text(utc_now() - timedelta(seconds=5)) <= as_of <= to_text(utc_now())
    assert answer.body == {
        "status": "ok",
        "total": 2,
        "last_24h": 2,
        "by_severity": {"error": 1, "info": 1},
        "by_type": {"autoheal.failed": 1, "lead.created": 1},
    }
    assert stack.call("GET", "/events/stats").body["total"] == 3
    named = stack.call("GET", "/events/stats", query={"tenant_id": "other"})
    assert named.body["by_type"] == {"autoheal.failed": 1}
    assert stack.call("GET", "/events/stats", roles="viewer", tenant="acme").status == 403
