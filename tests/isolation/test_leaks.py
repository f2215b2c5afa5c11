"""A leak, planted on purpose: the second layer stops it; and without that, the suite reports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aetherlink.events.store import EventStore, event_of
from aetherlink.kernel.tenancy import Caller, TenantId
from aetherlink.platform.dynamo import Table
from tests.isolation.attempts import by_reach, by_theft
from tests.isolation.conftest import World, belongings
from tests.isolation.door import Request
from tests.isolation.matrix import ACCESS, REACH, rows, thefts

# One process plants the two tenants, once.
pytestmark = pytest.mark.xdist_group("isolation")

ACCESS_OF = {row.name: row for row in rows(ACCESS)}
REACH_OF = {row.name: row for row in rows(REACH)}
READS = ("GET /events/recent", "GET /alerts/rules", "GET /ops/services", "GET /identity/keys")


def faults_of(world: World, route: str) -> list[str]:
    attempts = by_reach(REACH_OF[route], ACCESS_OF[route], world.acme, world.globex)
    return [fault for attempt in attempts for fault in world.thief.faults(attempt)]


@contextmanager
def without_the_second_layer(patch: pytest.MonkeyPatch) -> Iterator[None]:
    with patch.context() as inner:
        inner.setattr("aetherlink.platform.boundary._tenants", _Unbound())
        yield


class _Unbound:
    """A context variable that never holds anything."""

    def get(self) -> None:
        return None

    def set(self, _value: object) -> None:
        return None

    def reset(self, _token: object) -> None:
        return None


@pytest.fixture
def named_is_believed(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Whoever names a tenant gets it: as if the check were forgotten."""

    def named(self: Caller, tenant: str, pointer: str) -> TenantId:
        return TenantId(tenant)

    monkeypatch.setattr(Caller, "_named", named)


@pytest.mark.parametrize("route", READS)
def test_a_service_that_believes_any_name_is_reported(
    world: World, named_is_believed: None, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    with without_the_second_layer(monkeypatch):
        found = faults_of(world, route)

    assert any(f"of {world.globex.tenant}" in fault for fault in found), found


@pytest.mark.parametrize("route", READS)
def test_the_second_layer_stops_what_the_first_lets_through(
    world: World, named_is_believed: None, route: str
) -> None:
    found = faults_of(world, route)

    assert found, "the first layer is broken, and the suite does not see it"
    assert not any("the answer holds" in fault for fault in found), found


def test_a_store_that_asks_for_the_wrong_tenant_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aetherlink.alerts.store import RuleStore

    own = RuleStore.of

    def everybodys(self: RuleStore, owner: TenantId) -> Any:
        return own(self, TenantId(world.globex.tenant))

    monkeypatch.setattr(RuleStore, "of", everybodys)
    with without_the_second_layer(monkeypatch):
        found = faults_of(world, "GET /alerts/rules")

    assert any(f"of {world.globex.tenant}" in fault for fault in found), found


@pytest.fixture
def key_without_tenant(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """An event is found by its id, whosever it is."""

    def by_id(self: EventStore, tenant_id: TenantId, event_id: str) -> Any:
        owners = (world.acme.tenant, world.globex.tenant)
        found = [i for o in owners for i in self._table.query("pk = :pk", pk=f"{o}#{event_id}")]
        return [event_of(item) for item in found]

    monkeypatch.setattr(EventStore, "by_id", by_id)


def test_a_store_that_drops_the_tenant_from_its_key_is_reported(
    world: World, key_without_tenant: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_the_second_layer(monkeypatch):
        found = faults_of(world, "GET /events/{event_id}")

    assert any(f"the answer holds {world.globex.canary}" in fault for fault in found), found


def test_the_second_layer_stops_a_store_that_drops_the_tenant_from_its_key(
    world: World, key_without_tenant: None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = faults_of(world, "GET /events/{event_id}")

    assert found
    # All that is wrong is the status; and somebody is called.
    assert all(": answered 500, not " in fault or " lacks " in fault for fault in found), found
    assert '"TenantBreach": 1' in capsys.readouterr().out


@pytest.fixture
def writes_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def writes(self: Caller, named: str | None = None) -> TenantId:
        return TenantId(named) if named else self.home

    monkeypatch.setattr(Caller, "writes", writes)


def test_a_write_to_another_tenant_is_reported(
    world: World, writes_anywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = belongings(world.globex.tenant)
    with without_the_second_layer(monkeypatch):
        found = faults_of(world, "POST /ops/register")

    assert any("body: answered 200, not 403" in fault for fault in found), found
    assert belongings(world.globex.tenant) != before


def test_the_second_layer_stops_a_write_to_another_tenant(
    world: World, writes_anywhere: None
) -> None:
    before = belongings(world.globex.tenant)

    found = faults_of(world, "POST /ops/register")

    assert found
    assert all("body: answered 500, not 403" in fault for fault in found), found
    assert belongings(world.globex.tenant) == before


def test_the_second_layer_binds_the_threads_of_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threads begin without the context of the request that starts them."""
    own, other, put = f"{world.acme.tenant}#", f"{world.globex.tenant}#", Table.put

    def put_elsewhere(self: Table, values: dict[str, Any], **given: Any) -> None:
        put(self, {**values, "pk": values["pk"].replace(own, other, 1)}, **given)

    monkeypatch.setattr(Table, "put", put_elsewhere)
    before = belongings(world.globex.tenant)
    events = [world.acme.event(event_id=f"batch-{n}") for n in range(20)]
    batch = Request("POST", "/events/batch", body=events, secret=world.acme.keys["agent"])

    answer = world.acme.door.send(batch)

    assert [result["http_status"] for result in answer.body["results"]] == [500] * 20
    assert belongings(world.globex.tenant) == before
    assert capsys.readouterr().out.count('"TenantBreach": 1') == 20


def test_without_a_leak_these_routes_have_no_faults(world: World) -> None:
    """Else the tests here would report what is always there."""
    routes = (*READS, "GET /events/{event_id}", "POST /ops/register", "GET /alerts/{alert_id}")

    assert [fault for route in routes for fault in faults_of(world, route)] == []


def test_an_id_that_is_not_held_against_its_tenant_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Caller, "may_act_for", lambda self, tenant: True)
    with without_the_second_layer(monkeypatch):
        found = faults_of(world, "GET /alerts/{alert_id}")

    assert any("stolen: answered 200" in fault for fault in found), found


def test_a_cursor_that_is_bound_to_nothing_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "aetherlink.identity.service.decode_cursor", lambda cursor, *question: cursor
    )
    [theft] = [t for t in thefts() if t.route == "GET /identity/keys"][:1]

    found = world.thief.faults(by_theft(theft, world.acme, world.globex))

    assert found
