"""A leak, planted on purpose: the second layer stops it; and without that, the suite reports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aetherlink.kernel.tenancy import Caller, TenantId
from tests.isolation.attempts import by_reach, by_theft
from tests.isolation.conftest import World
from tests.isolation.matrix import ACCESS, REACH, rows, thefts

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
