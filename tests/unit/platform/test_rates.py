"""Limits: exact in one process, close over many, and never in the way of who has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aetherlink.kernel.errors import ForbiddenError, TooManyRequestsError, UnavailableError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform import behind, meters, standing
from aetherlink.platform.meters import Limit, Meters, Place
from aetherlink.platform.rates import check_standing, limits_of
from aetherlink.platform.standing import Standing, Standings
from aetherlink.platform.window import seconds_to_wait

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MINUTE = int(NOON.timestamp()) // 60
ACME: Place = ("acme#rates", "tenant")


@pytest.fixture(autouse=True)
def _by_hand() -> Iterator[None]:
    behind.by_hand()
    behind.forget()
    yield
    behind.forget()


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Shared:
    """The table, in memory."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[Place, int]] = Counter()
        self.calls = 0
        self.is_away = False

    def add(self, place: Place, minute: int, number: int) -> int:
        self._call()
        self.sums[place, minute] += number
        return self.sums[place, minute]

    def get(self, place: Place, minute: int) -> int:
        self._call()
        return self.sums[place, minute]

    def _call(self) -> None:
        self.calls += 1
        if self.is_away:
            raise UnavailableError("The database could not be reached; try again")


def limit(per_minute: int, place: Place = ACME) -> Limit:
    return Limit("Tenant 'acme'", place, per_minute)


def admitted(process: Meters, *limits: Limit, times: int = 1) -> int:
    """How many of so many requests got in."""
    number = 0
    for _ in range(times):
        try:
            process.admit(limits)
            number += 1
        except TooManyRequestsError:
            pass
    return number


# ------------------------------------------------------------------ one process


def test_a_minute_takes_the_limit_and_no_more() -> None:
    process = Meters(Shared(), Clock())

    assert admitted(process, limit(5), times=20) == 5


def test_the_refusal_says_whose_limit_it_is_how_much_and_when_to_come_back() -> None:
    clock = Clock()
    process = Meters(Shared(), clock)
    clock.pass_seconds(20)
    admitted(process, limit(1_200), times=1_200)

    with pytest.raises(TooManyRequestsError) as refused:
        process.admit((limit(1_200),))

    assert str(refused.value) == (
        "Tenant 'acme' may make 1,200 requests a minute; try again in 41 s"
    )
    assert refused.value.retry_after_seconds == 41


def test_room_comes_back_as_the_last_minute_leaves_the_window() -> None:
    clock = Clock()
    process = Meters(Shared(), clock)
    admitted(process, limit(100), times=100)

    clock.pass_seconds(75)

    assert admitted(process, limit(100), times=100) == 25


def test_after_two_quiet_minutes_all_is_as_at_first() -> None:
    clock = Clock()
    process = Meters(Shared(), clock)
    admitted(process, limit(100), times=100)

    clock.pass_seconds(120)

    assert admitted(process, limit(100), times=200) == 100


def test_refused_requests_do_not_count() -> None:
    clock = Clock()
    process = Meters(Shared(), clock)
    admitted(process, limit(10), times=10_000)

    clock.pass_seconds(90)

    assert admitted(process, limit(10), times=10) == 5


def test_a_request_over_the_keys_limit_takes_nothing_of_the_tenants() -> None:
    shared = Shared()
    process = Meters(shared, Clock())
    key = limit(2, ("acme#rates", "key:k1"))

    assert admitted(process, limit(10), key, times=5) == 2
    assert admitted(process, limit(10), times=20) == 8


def test_without_limits_nothing_is_counted() -> None:
    shared = Shared()
    process = Meters(shared, Clock())

    process.admit(())
    behind.run()

    assert shared.calls == 0


def test_a_clock_set_back_lets_nobody_in_twice() -> None:
    clock = Clock()
    process = Meters(Shared(), clock)
    admitted(process, limit(5), times=5)

    clock.pass_seconds(-90)

    assert admitted(process, limit(5), times=5) == 0


STEPS = st.lists(
    st.one_of(st.integers(1, 40).map(lambda n: ("ask", n)),
              st.floats(0.01, 70).map(lambda s: ("pass", s)),
              st.sampled_from([("write", 0), ("away", 0), ("back", 0)])),
    max_size=60,
)  # fmt: skip


@given(STEPS, st.integers(1, 50))
def test_no_minute_of_the_clock_has_more_than_the_limit_whatever_the_database_does(
    steps: list[tuple[str, float]], per_minute: int
) -> None:
    clock, shared, per = Clock(), Shared(), Counter[int]()
    process = Meters(shared, clock)

    for step, number in steps:
        if step == "ask":
            per[int(clock.at.timestamp() // 60)] += admitted(
                process, limit(per_minute), times=int(number)
            )
        elif step == "pass":
            clock.pass_seconds(number)
        elif step == "write":
            behind.run()
        else:
            shared.is_away = step == "away"

    assert max(per.values(), default=0) <= per_minute


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 479), st.integers(1, 100))
def test_who_comes_back_when_told_to_gets_in_and_no_second_too_late(
    previous: int, current: int, eighths: int, per_minute: int
) -> None:
    elapsed = eighths / 8
    wait = seconds_to_wait(previous, current, elapsed, per_minute)
    assume(wait > 0)

    def is_in(seconds_later: float) -> bool:
        at = elapsed + seconds_later
        if at < 60:
            return seconds_to_wait(previous, current, at, per_minute) == 0
        return seconds_to_wait(current, 0, at - 60, per_minute) == 0

    assert 1 <= wait <= 120
    assert is_in(wait + 0.001)
    assert not is_in(wait - 1.001)


# ------------------------------------------------------------------ several processes


def test_processes_that_tell_each_other_share_one_limit() -> None:
    shared, clock = Shared(), Clock()
    processes = [Meters(shared, clock) for _ in range(3)]

    total = 0
    for second in range(30):
        total += admitted(processes[second % 3], limit(10))
        processes[second % 3].write()

    # The second and the third knew nothing at their first request.
    assert 10 <= total <= 12


ROUNDS = st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=30)


@given(ROUNDS, st.integers(1, 60))
def test_several_processes_admit_more_only_by_what_arrives_between_two_writes(
    rounds: list[list[int]], per_minute: int
) -> None:
    shared, clock = Shared(), Clock()
    processes = [Meters(shared, clock) for _ in range(4)]

    total = 0
    for arrivals in rounds:
        for process, number in zip(processes, arrivals, strict=True):
            total += admitted(process, limit(per_minute), times=number)
        clock.pass_seconds(1)
        for process in processes:
            process.write()

    at_once = sum(max(arrivals[n] for arrivals in rounds) for n in range(4))
    assert total <= per_minute + at_once


def test_a_new_process_learns_what_the_minute_before_came_to() -> None:
    shared, clock = Shared(), Clock()
    shared.sums[ACME, MINUTE] = 100
    clock.pass_seconds(60)
    process = Meters(shared, clock)
    assert admitted(process, limit(100)) == 1

    process.write()

    clock.pass_seconds(15)
    assert admitted(process, limit(100), times=100) == 24


def test_what_was_left_of_the_last_minute_is_told_under_the_last_minute() -> None:
    shared, clock = Shared(), Clock()
    process = Meters(shared, clock)
    clock.pass_seconds(59)
    admitted(process, limit(10), times=3)
    clock.pass_seconds(2)
    admitted(process, limit(10), times=2)

    process.write()

    assert shared.sums == {(ACME, MINUTE): 3, (ACME, MINUTE + 1): 2}


def test_a_database_that_is_away_keeps_nobody_out_and_is_told_later_once() -> None:
    shared, clock = Shared(), Clock()
    process = Meters(shared, clock)
    shared.is_away = True
    assert admitted(process, limit(10), times=4) == 4
    process.write()
    shared.is_away = False

    process.write()
    process.write()

    assert shared.sums == {(ACME, MINUTE): 4}


def test_little_of_a_large_limit_is_told_later() -> None:
    shared, clock = Shared(), Clock()
    process = Meters(shared, clock)
    admitted(process, limit(1_000), times=9)

    process.write()
    assert shared.calls == 0
    admitted(process, limit(1_000))
    process.write()
    assert shared.sums == {(ACME, MINUTE): 10}
    admitted(process, limit(1_000))
    clock.pass_seconds(10)
    process.write()

    assert shared.sums == {(ACME, MINUTE): 11}


def test_memory_is_bounded_by_forgetting_who_came_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meters, "MAX_METERS", 3)
    process = Meters(Shared(), Clock())
    admitted(process, limit(1))

    for tenant in range(5):
        admitted(process, limit(1, (f"t{tenant}#rates", "tenant")))

    assert len(process._meters) == 3
    assert len(process._untold) == 3
    assert admitted(process, limit(1, ("t4#rates", "tenant"))) == 0


# ------------------------------------------------------------------ which limits


def caller(tenant: str | None = "acme", **more: Any) -> Caller:
    return Caller(
        "ada", frozenset({Role.ADMIN}), TenantId(tenant) if tenant else None, **more
    )  # fmt: skip


def numbers(*found: Limit) -> list[tuple[str, str, int]]:
    return [(*one.place, one.per_minute) for one in found]


def test_a_tenant_without_a_limit_of_its_own_has_the_default() -> None:
    assert numbers(*limits_of(caller(), Standing(), 600)) == [("acme#rates", "tenant", 600)]


def test_a_tenants_own_limit_goes_before_the_default_and_0_is_none() -> None:
    assert numbers(*limits_of(caller(), Standing(60), 600)) == [("acme#rates", "tenant", 60)]
    assert limits_of(caller(), Standing(0), 600) == ()
    assert limits_of(caller(), Standing(), 0) == ()


def test_a_key_has_its_limit_besides_its_tenants() -> None:
    found = limits_of(caller(key_id="k1", requests_per_minute=10), Standing(), 600)

    assert numbers(*found) == [("acme#rates", "tenant", 600), ("acme#rates", "key:k1", 10)]
    assert found[1].whose == "Key 'k1'"


def test_a_key_of_several_tenants_has_one_count_whichever_it_acts_for() -> None:
    both = frozenset({TenantId("acme"), TenantId("globex")})

    places = {
        limits_of(caller(tenant, key_id="k1", requests_per_minute=10, **more), Standing(), 0)[
            0
        ].place
        for tenant, more in (
            ("acme", {"tenants": both}),
            ("globex", {"tenants": both}),
            (None, {"cross_tenant": True}),
        )
    }

    assert places == {("system#rates", "key:k1")}


def test_who_sees_all_tenants_and_names_none_has_no_tenants_limit() -> None:
    assert limits_of(caller(None, cross_tenant=True), Standing(), 600) == ()


# ------------------------------------------------------------------ standing

LEAVING, LEFT = Standing(is_leaving=True), Standing(has_left=True)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_tenant_that_leaves_may_do_nothing_more(method: str) -> None:
    with pytest.raises(ForbiddenError, match=r"^Tenant 'acme' is being removed$"):
        check_standing(caller(), LEAVING, method, "/events/recent")
    with pytest.raises(ForbiddenError, match=r"^Tenant 'acme' has been removed$"):
        check_standing(caller(), LEFT, method, "/events/recent")


def test_who_sees_all_tenants_can_follow_a_removal_but_not_write_into_it() -> None:
    admin = caller(cross_tenant=True)

    check_standing(admin, LEAVING, "GET", "/jobs/{job_id}")
    check_standing(admin, LEFT, "DELETE", "/tenants/{tenant_id}")
    with pytest.raises(ForbiddenError):
        check_standing(admin, LEAVING, "POST", "/events/publish")


class Records:
    def __init__(self, **items: dict[str, Any]) -> None:
        self.items = items
        self.reads = 0
        self.is_away = False

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        self.reads += 1
        if self.is_away:
            raise UnavailableError("The database could not be reached; try again")
        assert sk == "record"
        return self.items.get(pk.removesuffix("#tenant"))


def test_a_record_is_read_once_in_thirty_seconds_also_if_there_is_none() -> None:
    clock, records = Clock(), Records(acme={"limits": {"requests_per_minute": 60}})
    standings = Standings(records, clock)

    for _ in range(10):
        assert standings.of("acme") == Standing(60)
        assert standings.of("globex") == Standing()
        clock.pass_seconds(2.9)
    assert records.reads == 2
    clock.pass_seconds(1.1)
    standings.of("acme")

    assert records.reads == 3


def test_a_record_says_that_its_tenant_leaves() -> None:
    records = Records(acme={"state": "offboarding"}, globex={"state": "removed"})
    standings = Standings(records, Clock())

    assert standings.of("acme") == LEAVING
    assert standings.of("globex") == LEFT


def test_while_records_cannot_be_read_the_last_word_stands_and_strangers_get_in() -> None:
    clock, records = Clock(), Records(acme={"state": "offboarding"})
    standings = Standings(records, clock)
    standings.of("acme")
    records.is_away = True
    clock.pass_seconds(31)

    assert standings.of("acme") == LEAVING
    assert standings.of("globex") == Standing(is_known=False)
    # The next requests do not wait for the database again, for a moment.
    assert standings.of("acme") == LEAVING
    assert records.reads == 3
    records.is_away = False
    clock.pass_seconds(6)
    standings.of("acme")
    assert records.reads == 4


def test_only_so_many_tenants_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_MAX_KNOWN", 3)
    standings = Standings(Records(), Clock())

    for tenant in range(10):
        standings.of(f"t{tenant}")

    assert list(standings._known) == ["t7", "t8", "t9"]
