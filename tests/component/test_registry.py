"""The registry's routes: what a service says, what is kept of it, and whose it is."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.time import from_text
from tests.component.conftest import Answer, Stack


def register(stack: Stack, name: str = "billing", **given: Any) -> Answer:
    called = {key: given.pop(key) for key in ("roles", "tenant") if key in given}
    body = {"name": name, "url": "https://billing.example", **given}
    return stack.call("POST", "/ops/register", body=body, **called)


def names(stack: Stack, **called: Any) -> list[str]:
    return [s["name"] for s in stack.call("GET", "/ops/services", **called).body["services"]]


def test_a_registration_answers_with_the_tenants_count(stack: Stack) -> None:
    register(stack, "billing")

    assert register(stack, "search").body == {
        "status": "ok",
        "registered": "search",
        "service_count": 2,
    }


def test_a_service_is_listed_with_every_field_and_its_defaults(stack: Stack) -> None:
    register(stack, tenant="acme")

    (service,) = stack.call("GET", "/ops/services", tenant="acme").body["services"]
    assert service.pop("last_seen") == service.pop("registered_at")
    assert service == {
        "name": "billing",
        "tenant_id": "acme",
        "url": "https://billing.example",
        "health_url": "https://billing.example/ping",
        "version": None,
        "roles_required": [],
        "tags": [],
        "lease_seconds": None,
        "depends_on": [],
        "heal": None,
        "state": "unknown",
    }


def test_what_a_service_says_comes_back_as_sent(stack: Stack) -> None:
    given: dict[str, Any] = {
        "url": "https://Billing.example:8443/base/?x=1",
        "health_url": "http://127.0.0.1:9/health?deep=1",
        "version": "1.2.3",
        "roles_required": ["operator", "admin"],
        "tags": ["b", "a"],
        "lease_seconds": 90,
        "depends_on": ["search"],
        "heal": {"webhook": "https://heal.example", "ratio": 0.5, "n": 3, "deep": {"x": [None]}},
    }
    register(stack, **given)

    (service,) = stack.call("GET", "/ops/services").body["services"]
    assert {name: service[name] for name in given} == given


def test_registering_again_renews_instead_of_adding(stack: Stack) -> None:
    register(stack, version="1")
    (before,) = stack.call("GET", "/ops/services").body["services"]

    assert register(stack, version="2").body["service_count"] == 1
    (after,) = stack.call("GET", "/ops/services").body["services"]
    assert after["version"] == "2"
    assert after["registered_at"] == before["registered_at"]
    assert after["last_seen"] > before["last_seen"]


@pytest.mark.parametrize("roles", ["operator", "admin"])
def test_an_operator_and_an_admin_may_register(stack: Stack, roles: str) -> None:
    assert register(stack, roles=roles).status == 200


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a b"}, "/name"),
        ({"name": "a/b"}, "/name"),
        ({"name": "a" * 129}, "/name"),
        ({"name": None}, "/name"),
        ({"url": None}, "/url"),
        ({"url": "billing.example"}, "/url"),
        ({"url": "ftp://billing.example"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://b.example:99999"}, "/url"),
        ({"url": "https://[::1"}, "/url"),
        ({"url": " https://b.example"}, "/url"),
        ({"url": "https://b.example/" + "x" * 2048}, "/url"),
        ({"health_url": "javascript:alert(1)"}, "/health_url"),
        ({"lease_seconds": 0}, "/lease_seconds"),
        ({"lease_seconds": 86_401}, "/lease_seconds"),
        ({"tags": "a"}, "/tags"),
        ({"colour": "red"}, "/colour"),
        ({"tenant_id": "a b"}, "/tenant_id"),
    ],
)
def test_a_wrong_field_is_422_and_named(stack: Stack, given: Any, pointer: str) -> None:
    answer = register(stack, **given)

    assert (answer.status, [e["pointer"] for e in answer.body["errors"]]) == (422, [pointer])


def test_a_registration_is_announced(stack: Stack) -> None:
    register(stack, tenant="acme", version="1.0", tags=["eu"])

    (event,) = stack.recent(tenant="acme")
    assert (event["event_type"], event["severity"]) == ("service.registered", "info")
    assert (event["tenant_id"], event["source"]) == ("acme", "aether-command-center")
    assert event["payload"] == {
        "service": "billing",
        "url": "https://billing.example",
        "version": "1.0",
        "tags": ["eu"],
    }


def test_a_removal_answers_with_what_is_left(stack: Stack) -> None:
    register(stack, "billing")
    register(stack, "search")

    answer = stack.call("DELETE", "/ops/services/billing")

    assert answer.body == {"status": "ok", "deleted": "billing", "remaining_count": 1}
    assert names(stack) == ["search"]


def test_a_removal_is_announced_as_a_warning(stack: Stack) -> None:
    register(stack, tenant="acme")
    stack.call("DELETE", "/ops/services/billing", tenant="acme")

    (event,) = stack.recent(tenant="acme", event_type="service.unregistered")
    assert (event["severity"], event["tenant_id"]) == ("warning", "acme")
    assert event["payload"] == {"service": "billing"}


def test_a_service_that_is_not_there_is_404_and_announces_nothing(stack: Stack) -> None:
    answer = stack.call("DELETE", "/ops/services/x")

    assert (answer.status, answer.body["detail"]) == (404, "Service 'x' not found in registry")
    assert stack.recent() == []


@pytest.mark.parametrize(("name", "segment"), [("büro", "b%C3%BCro"), ("a+b", "a+b")])
def test_a_name_is_removed_by_its_escaped_form(stack: Stack, name: str, segment: str) -> None:
    register(stack, name)

    assert stack.call("DELETE", f"/ops/services/{segment}").body["deleted"] == name


def test_a_tenant_sees_and_removes_only_its_own_services(stack: Stack) -> None:
    register(stack, "billing", tenant="acme")
    register(stack, "search", tenant="globex")

    assert names(stack, tenant="acme") == ["billing"]
    assert names(stack, tenant="globex") == ["search"]
    assert stack.call("DELETE", "/ops/services/search", tenant="acme").status == 404
    assert names(stack, tenant="globex") == ["search"]


def test_one_name_may_be_used_by_two_tenants(stack: Stack) -> None:
    register(stack, url="https://one.example", tenant="acme")

    assert register(stack, url="https://two.example", tenant="globex").body["service_count"] == 1
    stack.call("DELETE", "/ops/services/billing", tenant="acme")
    assert names(stack, tenant="globex") == ["billing"]


def test_who_names_no_tenant_sees_every_tenants_services(stack: Stack) -> None:
    register(stack, "billing", tenant="acme")
    register(stack, "search", tenant="globex")
    register(stack, "own")

    assert sorted(names(stack)) == ["billing", "own", "search"]


def test_a_tenant_may_be_named_in_the_query_and_the_body(stack: Stack) -> None:
    register(stack, tenant_id="globex")

    assert names(stack, tenant="acme", query={"tenant_id": "globex"}) == ["billing"]
    removed = stack.call("DELETE", "/ops/services/billing", query={"tenant_id": "globex"})
    assert removed.body["remaining_count"] == 0


def test_only_an_admin_registers_for_the_system(stack: Stack) -> None:
    assert register(stack, tenant_id="system", roles="operator").status == 403
    assert register(stack, tenant="system", roles="operator").status == 403
    assert register(stack, tenant_id="system", roles="admin").status == 200


def test_a_lease_that_ran_out_shows_as_expired(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    register(stack, lease_seconds=60)
    (service,) = stack.call("GET", "/ops/services").body["services"]
    seen = from_text(service["last_seen"])

    def state_after(wait: timedelta) -> str:
        monkeypatch.setattr(registry, "_now", lambda: seen.astimezone(UTC) + wait)
        (shown,) = stack.call("GET", "/ops/services").body["services"]
        return str(shown["state"])

    assert state_after(timedelta(seconds=59, microseconds=999_999)) == "unknown"
    assert state_after(timedelta(seconds=60)) == "expired"


def test_times_are_utc_with_a_z(stack: Stack) -> None:
    register(stack)

    (service,) = stack.call("GET", "/ops/services").body["services"]
    assert service["last_seen"].endswith("Z")
    assert abs(datetime.now(UTC) - from_text(service["last_seen"])) < timedelta(seconds=30)
