"""Leases, dependencies, plans and the registry's past: the pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aetherlink.events.model import announce
from aetherlink.kernel.tenancy import TenantId
from aetherlink.registry.graph import cycle_through, upstream
from aetherlink.registry.history import there_at, told
from aetherlink.registry.lease import PRESERVED_FOR, Lease, lapsed
from aetherlink.registry.model import Registration, Service, admit
from aetherlink.registry.plan import HealPlan, Targets

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")


def leases(*seconds: float) -> list[Lease]:
    """By how long before noon they ran out."""
    return [Lease(f"s{n}", NOON - timedelta(seconds=s)) for n, s in enumerate(seconds)]


def test_one_that_stops_is_gone() -> None:
    gone, kept = lapsed(leases(1, -10, -20, -30), NOON)

    assert (set(gone), set(kept)) == ({"s0"}, set())


def test_most_that_stop_at_once_are_kept() -> None:
    gone, kept = lapsed(leases(5, 10, 30, -20), NOON)

    assert (set(gone), set(kept)) == (set(), {"s0", "s1", "s2"})


def test_most_that_stopped_one_after_the_other_are_gone() -> None:
    gone, kept = lapsed(leases(5, 200, 400, -20), NOON)

    assert (len(gone), kept) == (3, frozenset())


def test_two_of_two_are_gone() -> None:
    assert lapsed(leases(5, 6), NOON)[1] == frozenset()


def test_they_are_not_kept_for_ever() -> None:
    later = NOON + PRESERVED_FOR

    assert lapsed(leases(0, 0, 0), later - timedelta(seconds=1))[1]
    assert not lapsed(leases(0, 0, 0), later)[1]


def test_what_was_left_behind_long_ago_does_not_count() -> None:
    """Ten old ones, gone for a day, neither keep anybody nor are kept."""
    old = [Lease(f"old{n}", NOON - timedelta(days=1, minutes=n * 5)) for n in range(10)]
    gone, kept = lapsed([*old, *leases(5, 6, 7, -5)], NOON)

    assert kept == {"s0", "s1", "s2"}
    assert gone == {lease.name for lease in old}


@given(st.lists(st.integers(-300, 10_000), max_size=20))
def test_a_lease_that_runs_is_never_called_gone(ago: list[int]) -> None:
    given = leases(*ago)
    gone, kept = lapsed(given, NOON)
    over = {lease.name for lease in given if lease.ends <= NOON}

    assert gone | kept == over
    assert not gone & kept


def test_a_cycle_is_named() -> None:
    edges = {"shop": ["api"], "api": ["db", "cache"], "db": ["shop"]}

    assert cycle_through("shop", edges) == ["shop", "api", "db", "shop"]
    assert cycle_through("cache", edges) == []
    assert cycle_through("a", {"a": ["a"]}) == ["a", "a"]


edges_of = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=4)
)


@given(edges_of, st.sampled_from("abcdef"))
def test_a_cycle_is_a_way_and_upstream_never_waits_for_itself(
    edges: dict[str, list[str]], name: str
) -> None:
    cycle = cycle_through(name, edges)
    for here, there in pairwise(cycle):
        assert there in edges[here]
    assert name not in upstream(name, edges)
    for other in upstream(name, edges):
        assert name not in upstream(other, edges)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"action": "http"}, "needs url"),
        ({"action": "ecs", "cluster": "c"}, "needs service"),
        (
            {"action": "lambda", "function": "f", "url": "https://x.example"},
            "url is for action http",
        ),
        ({"url": "https://x.example"}, "url is for action http"),
        ({"action": "reboot"}, "'http', 'ecs', 'lambda' or 'ssm'"),
        ({"action": "http", "url": "ftp://x.example"}, "http or https"),
        ({"action": "http", "url": "https://x.example", "secret": "whsec_eA=="}, "24 to 64 bytes"),
        ({"attempts": 21}, "less than or equal to 20"),
        ({"probe": {"status": [99]}}, "200 to 599"),
        ({"hook": "https://x.example"}, "Extra inputs"),
    ],
)
def test_a_plan_that_makes_no_sense_says_why(given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError) as failed:
        HealPlan.model_validate(given)
    assert wrong in str(failed.value)


def test_only_what_the_parameter_names_may_be_acted_on() -> None:
    targets = Targets("acme=ecs:shop/web, *=lambda:fix,")
    ecs = HealPlan.model_validate({"action": "ecs", "cluster": "shop", "service": "web"})
    fix = HealPlan.model_validate({"action": "lambda", "function": "fix"})
    hook = HealPlan.model_validate({"action": "http", "url": "https://x.example"})

    assert [targets.allow("acme", plan) for plan in (ecs, fix, hook)] == [True, True, True]
    assert [targets.allow("globex", plan) for plan in (ecs, fix, hook)] == [False, True, True]
    assert not Targets("").allow("acme", ecs)


# ---- what was registered at some time


def service(name: str, at: int, *, version: str = "1", again: int | None = None) -> Service:
    registration = Registration(name=name, url=f"https://{name}.example", version=version)
    first = admit(
        registration, ACME, seen_at=NOON + timedelta(minutes=at), earlier=None,
        token_hash=None, heal_secret=None,
    )  # fmt: skip
    if again is None:
        return first
    return admit(
        registration, ACME, seen_at=NOON + timedelta(minutes=again), earlier=first,
        token_hash=None, heal_secret=None,
    )  # fmt: skip


def event(event_type: str, at: int, **payload: Any) -> Any:
    now = NOON + timedelta(minutes=at)
    return announce(
        event_type, source="x", tenant_id=ACME, payload=payload, now=now, event_id=f"e{at}"
    )


def test_who_was_there_at_some_time() -> None:
    removed = event(
        "service.unregistered", 30, service="gone", url="https://gone.example", version="7",
        tags=[], registered_at="2026-11-23T12:05:00.000000Z",
    )  # fmt: skip
    now_there = [
        service("old", 0),
        service("new", 50),
        service("renewed", 1, version="2", again=40),
    ]
    instant = NOON + timedelta(minutes=20)
    there = there_at(instant, now_there, [removed])
    said = [
        event("service.registered", 15, service="gone", url="https://gone.example", version="6"),
        event("service.registered", 1, service="renewed", url="https://r.example", version="1"),
    ]
    known = told(there, said, instant)

    assert {name for _, name in there} == {"old", "renewed", "gone"}
    assert {entry.name: entry.version for entry in known.values()} == {
        "old": "1", "renewed": "1", "gone": "6",
    }  # fmt: skip
    assert all(entry.is_exact for entry in known.values())
