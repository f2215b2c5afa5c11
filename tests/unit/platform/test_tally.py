"""Every request is counted once for everybody and once for whose it is, whatever the database does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform import behind, tally
from aetherlink.platform.tally import Tally


@pytest.fixture(autouse=True)
def _by_hand() -> Iterator[None]:
    behind.by_hand()
    behind.forget()
    yield
    behind.forget()


class Table:
    """Adds in memory; refuses as many times as it is told, or one item for good."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Counter[str]] = {}
        self.calls = 0
        self.failures = 0
        self.refused: tuple[str, str] | None = None

    def add(self, pk: str, sk: str, numbers: Mapping[str, int]) -> None:
        self.calls += 1
        if self.failures or (pk, sk) == self.refused:
            self.failures = max(self.failures - 1, 0)
            raise UnavailableError("The database refused the request; try again")
        self.items.setdefault((pk, sk), Counter()).update(numbers)

    def of(self, whose: str) -> dict[str, int]:
        total = Counter[str]()
        for (pk, _), numbers in self.items.items():
            if pk == f"{whose}#requests":
                total.update(numbers)
        return dict(total)


def caller(tenant: str | None, *, cross_tenant: bool = False) -> Caller:
    tenant_id = TenantId(tenant) if tenant else None
    return Caller("ada", frozenset({Role.ADMIN}), tenant_id, cross_tenant=cross_tenant)


def test_counting_calls_no_database() -> None:
    table = Table()
    tally = Tally(table)

    for _ in range(100):
        tally.count("command-center", "/events/publish", 200, caller("acme"))

    assert table.calls == 0


def test_a_hundred_requests_to_a_route_are_two_writes() -> None:
    table = Table()
    tally = Tally(table)
    for status in (200, 403) * 50:
        tally.count("command-center", "/events/publish", status, caller("acme"))

    tally.flush()

    assert table.calls == 2
    assert table.items == {
        ("*#requests", "command-center#/events/publish"): {"s200": 50, "s403": 50},
        ("acme#requests", "command-center#/events/publish"): {"s200": 50, "s403": 50},
    }


def test_a_request_of_nobody_is_the_platforms() -> None:
    table = Table()
    tally = Tally(table)
    tally.count("command-center", "/events/recent", 401, None)

    tally.flush()

    assert (table.of("system"), table.of("*")) == ({"s401": 1}, {"s401": 1})


def test_a_request_over_all_tenants_counts_for_everybody_alone() -> None:
    table = Table()
    tally = Tally(table)
    tally.count("command-center", "/events/recent", 200, caller(None, cross_tenant=True))

    tally.flush()

    assert list(table.items) == [("*#requests", "command-center#/events/recent")]


def test_what_the_database_refuses_is_written_the_next_time_and_once() -> None:
    table = Table()
    table.failures = 1
    tally = Tally(table)
    tally.count("command-center", "/ping", 200, None)
    tally.flush()

    tally.flush()
    tally.flush()

    assert (table.of("system"), table.of("*")) == ({"s200": 1}, {"s200": 1})


def test_one_item_that_is_refused_holds_no_other_up() -> None:
    table = Table()
    table.refused = ("*#requests", "command-center#/ping")
    tally = Tally(table)
    for tenant in range(150):
        tally.count("command-center", "/ping", 200, caller(f"t{tenant}"))

    tally.write()
    tally.write()

    assert len(table.items) == 150
    table.refused = None
    tally.write()
    assert table.of("*") == {"s200": 150}


def test_a_database_that_is_away_is_tried_three_times_in_a_go() -> None:
    table = Table()
    table.failures = 1_000
    tally = Tally(table)
    for tenant in range(50):
        tally.count("command-center", "/ping", 200, caller(f"t{tenant}"))

    tally.flush()

    assert table.calls == 3


def test_one_go_writes_a_hundred_items_and_the_rest_follows() -> None:
    table = Table()
    tally = Tally(table)
    for tenant in range(250):
        tally.count("command-center", "/ping", 200, caller(f"t{tenant}"))

    tally.write()
    assert table.calls == 100
    behind.run()
    behind.run()

    assert len(table.items) == 251


def test_tenants_beyond_what_memory_takes_still_count_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tally, "_MAX_WAITING", 10)
    table = Table()
    counting = Tally(table)
    for tenant in range(1_000):
        counting.count("command-center", "/ping", 200, caller(f"t{tenant}"))

    counting.flush()

    assert table.of("*") == {"s200": 1_000}
    assert 0 < len(table.items) <= 11


def test_memory_stays_bounded_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_MAX_WAITING", 10)
    table = Table()
    table.failures = 1_000
    counting = Tally(table)

    for tenant in range(300):
        counting.count("command-center", "/ping", 200, caller(f"t{tenant}"))
        if tenant % 7 == 0:
            counting.flush()

    assert len(counting._waiting) <= 11
    table.failures = 0
    counting.flush()
    assert table.of("*") == {"s200": 300}


def test_threads_lose_no_count() -> None:
    table = Table()
    counting = Tally(table)

    def ask() -> None:
        for n in range(2_000):
            counting.count("command-center", "/ping", 200, caller("acme"))
            if n % 100 == 0:
                counting.write()

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.flush()

    assert (table.of("acme"), table.of("*")) == ({"s200": 8_000}, {"s200": 8_000})


TENANTS = st.sampled_from(["acme", "globex", None])
REQUESTS = st.tuples(TENANTS, st.sampled_from(["/a", "/b"]), st.sampled_from([200, 401, 429]))
STEPS = st.lists(st.one_of(REQUESTS, st.just("write"), st.integers(1, 5)), max_size=60)


@given(STEPS)
def test_any_order_of_requests_writes_and_refusals_adds_up(
    steps: list[tuple[str | None, str, int] | str | int],
) -> None:
    table, expected = Table(), Counter[tuple[str, str, str]]()
    counting = Tally(table)

    for step in steps:
        if step == "write":
            counting.write()
        elif isinstance(step, int):
            table.failures = step
        elif isinstance(step, tuple):
            tenant, path, status = step
            counting.count("crm", path, status, caller(tenant) if tenant else None)
            for whose in ("*", tenant or "system"):
                expected[f"{whose}#requests", f"crm#{path}", f"s{status}"] += 1
    table.failures = 0
    counting.flush()

    assert {
        (pk, sk, name): number
        for (pk, sk), numbers in table.items.items()
        for name, number in numbers.items()
    } == dict(expected)
