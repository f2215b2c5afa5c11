"""The matrix against the handlers: every route, every caller, every way to another tenant's data."""

from __future__ import annotations

import pytest

from aetherlink.kernel.access import ROUTES
from tests.isolation.attempts import (
    ENDS_THE_TENANT,
    Attempt,
    Target,
    by_reach,
    by_role,
    by_theft,
    request,
)
from tests.isolation.conftest import World, belongings
from tests.isolation.door import Request
from tests.isolation.matrix import (
    ACCESS,
    NOBODY,
    PENDING,
    REACH,
    ROLES,
    SERVICE,
    STRAY,
    Row,
    Theft,
    rows,
    thefts,
)
from tests.isolation.side import Side, plant_notification_rules, plant_policy

# One process plants the two tenants, once.
pytestmark = pytest.mark.xdist_group("isolation")

ACCESS_ROWS, REACH_ROWS = rows(ACCESS), rows(REACH)
BY_NAME = {row.name: row for row in ACCESS_ROWS}


# ---------------------------------------------------------------- the matrix itself


def test_every_route_of_the_code_is_in_the_matrix_and_the_other_way_round() -> None:
    written = {row.route for row in ACCESS_ROWS}

    assert set(ROUTES) - written == set(), "write these into the matrix, from the contract"
    assert written - set(ROUTES) == set(), "the contract has these, and the code has not"


def test_what_is_pending_is_not_there_yet() -> None:
    def bare(path: str) -> str:
        return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))

    there = {(method, bare(path)) for method, path in ROUTES}

    assert {(method, path) for method, path in PENDING if (method, bare(path)) in there} == set()


def test_both_tables_have_the_same_rows_once_each_and_no_empty_promise() -> None:
    assert [row.name for row in ACCESS_ROWS] == [row.name for row in REACH_ROWS]
    assert len(BY_NAME) == len(ACCESS_ROWS)
    for row in ACCESS_ROWS:
        assert set(row.cells) == {NOBODY, *ROLES, SERVICE, STRAY}
        assert set(row.cells.values()) <= {"yes", "401", "403", "404"}, row
    for theft in thefts():
        assert theft.route in BY_NAME, theft


# ---------------------------------------------------------------- against the handlers


@pytest.mark.parametrize("row", ACCESS_ROWS, ids=lambda row: row.name)
def test_a_route_answers_each_caller_as_the_matrix_says(world: World, row: Row) -> None:
    faults = [f for a in by_role(row, world.acme, world.stray) for f in world.thief.faults(a)]

    assert faults == []


def harmless(world: World, attempts: list[Attempt] | Attempt) -> list[str]:
    """What is wrong with the answers; and what of the other's has changed meanwhile."""
    thief, before = world.thief, belongings(world.globex.tenant)
    many = attempts if isinstance(attempts, list) else [attempts]
    faults = [fault for attempt in many for fault in thief.faults(attempt)]
    after = belongings(world.globex.tenant)
    changed = [place for place in {*before, *after} if before.get(place) != after.get(place)]
    return faults + [f"{many[0].name}: changed the other's {place}" for place in sorted(changed)]


@pytest.mark.parametrize("row", REACH_ROWS, ids=lambda row: row.name)
def test_no_way_of_asking_leads_to_another_tenant(world: World, row: Row) -> None:
    # Its own policy and rules are what it may see, and earlier tests took them away.
    plant_policy(world.acme)
    plant_notification_rules(world.acme)
    attempts = list(by_reach(row, BY_NAME[row.name], world.acme, world.globex))

    assert harmless(world, attempts) == []


@pytest.mark.parametrize("theft", thefts(), ids=lambda theft: f"{theft.route}: {theft.what}")
def test_nothing_that_was_stolen_is_worth_anything(world: World, theft: Theft) -> None:
    assert harmless(world, by_theft(theft, world.acme, world.globex)) == []


def test_a_token_of_a_service_is_worth_nothing_for_another_one(world: World) -> None:
    own = world.acme
    _, token = own.fresh_service()
    victim, _ = own.fresh_service()
    for wanted, asked in (
        (403, Request("POST", "/ops/register", body=own.service(victim))),
        (403, Request("POST", f"/ops/services/{victim}/heartbeat")),
        (403, Request("DELETE", f"/ops/services/{victim}")),
        (403, Request("DELETE", f"/ops/services/{world.globex.stolen['service']}")),
    ):
        attempt = Attempt(f"{asked.method} {asked.path}", asked.by(token), frozenset({wanted}))

        assert harmless(world, attempt) == []


def test_an_admin_ends_its_own_tenant_and_no_other(world: World) -> None:
    leaving = Side(world.acme.door, "leaving")
    record = Request("PUT", "/tenants/leaving", body={"name": "x"}, secret=world.everybody)
    assert world.acme.door.send(record).status == 200
    body = {"name": "admin", "roles": ["admin"], "tenant_id": leaving.tenant}
    made = world.acme.door.send(
        Request("POST", "/identity/keys", body=body, secret=world.everybody)
    )
    leaving.keys["admin"] = made.body["secret"]
    attempt = Attempt(
        f"{ENDS_THE_TENANT} of its own",
        request(ENDS_THE_TENANT, Target(leaving, leaving.keys["admin"])),
        frozenset({202}),
    )

    assert harmless(world, attempt) == []


def test_what_one_tenant_did_makes_nothing_of_the_others_happen_later(world: World) -> None:
    """The relay, the jobs and the sealer work for everybody at once."""
    # Not the hundred jobs that the tests before this one have left: the same kinds are made here.
    world.stack.queue("jobs-test")
    world.settle()
    before = belongings(world.globex.tenant)
    for row in REACH_ROWS:
        # These write nothing of their own, and take long.
        if row.method != "GET" and row.template not in (
            "/alerts/evaluate",
            "/alerts/rules/backtest",
        ):
            for attempt in by_reach(row, BY_NAME[row.name], world.acme, world.globex):
                if attempt.name.endswith(("admin, body", "admin, query", "admin, stolen")):
                    world.thief.faults(attempt)
    world.settle()

    after = belongings(world.globex.tenant)
    assert [place for place in {*before, *after} if before.get(place) != after.get(place)] == []


# These show what the caller is or makes, or belong to its view, whomever it names.
OF_THE_CALLER = ("GET /identity/me", "POST /identity/keys", "POST /alerts/silences")


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in REACH_ROWS
        if row.cells["shows"] != "-" and "{" not in row.template and row.name not in OF_THE_CALLER
    ],
    ids=lambda row: row.name,
)
def test_the_search_would_find_a_leak_here(world: World, row: Row) -> None:
    """Who may see every tenant is shown the other one: what is searched for is where routes read."""
    made = request(row.name, Target(world.globex, world.everybody))
    [mark] = world.globex.marks(row.cells["shows"])

    answer = world.globex.door.send(made.asking(tenant_id=world.globex.tenant))

    assert answer.status == 200, answer
    assert mark in world.globex.needles("")
    assert mark in answer.text
