"""The registry's routes: what a service says, what is kept of it, and whose it is."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.access import ROUTES
from aetherlink.kernel.tenancy import Role
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform import credentials
from aetherlink.platform.dynamo import client
from tests.component.conftest import Answer, Stack


def register(stack: Stack, name: str = "billing", **given: Any) -> Answer:
    called = {key: given.pop(key) for key in ("roles", "tenant") if key in given}
    body = {"name": name, "url": "https://billing.example", **given}
    return stack.call("POST", "/ops/register", body=body, **called)


def names(stack: Stack, **called: Any) -> list[str]:
    return [s["name"] for s in stack.call("GET", "/ops/services", **called).body["services"]]


def test_a_registration_answers_with_the_tenants_count(stack: Stack) -> None:
    register(stack, "billing")

    body = register(stack, "search").body
    assert body.pop("registration_token").startswith("rt_")
    assert body == {"status": "ok", "registered": "search", "service_count": 2}


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
        "state_since": None,
        "error": None,
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
        "heal": {
            "action": "http",
            "url": "https://Heal.example/?x=1",
            "probe": {"timeout_seconds": 0.5},
        },
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
    assert event["payload"].pop("registered_at") < event["timestamp"]
    assert event["payload"] == {
        "service": "billing", "url": "https://billing.example", "version": None, "tags": [],
    }  # fmt: skip


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


# ---- heartbeats


def beat(stack: Stack, name: str = "billing", **called: Any) -> Answer:
    return stack.call("POST", f"/ops/services/{name}/heartbeat", **called)


def test_a_heartbeat_renews_the_lease(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    register(stack, lease_seconds=60)
    (service,) = stack.call("GET", "/ops/services").body["services"]
    later = from_text(service["last_seen"]) + timedelta(seconds=59)
    monkeypatch.setattr(registry, "_now", lambda: later)

    answer = beat(stack)

    assert answer.body == {"status": "ok", "service": "billing", "last_seen": to_text(later)}
    monkeypatch.setattr(registry, "_now", lambda: later + timedelta(seconds=59))
    (service,) = stack.call("GET", "/ops/services").body["services"]
    assert (service["state"], service["last_seen"]) == ("unknown", to_text(later))


def test_a_heartbeat_of_a_service_that_is_not_there_is_404_and_makes_none(stack: Stack) -> None:
    answer = beat(stack, "x")

    assert (answer.status, answer.body["detail"]) == (404, "Service 'x' not found in registry")
    assert names(stack) == []


def test_a_heartbeat_is_for_the_callers_own_tenant(stack: Stack) -> None:
    register(stack, tenant="acme")

    assert beat(stack, tenant="globex").status == 404
    assert beat(stack, tenant="acme").status == 200
    assert beat(stack, query={"tenant_id": "acme"}).status == 200


@pytest.mark.parametrize("roles", ["agent", "viewer"])
def test_a_heartbeat_is_for_operators(stack: Stack, roles: str) -> None:
    assert beat(stack, roles=roles).status == 403


# ---- a service's own token


def token_of(stack: Stack, name: str = "billing", **given: Any) -> str:
    token: str = register(stack, name, **given).body["registration_token"]
    return token


def by_token(stack: Stack, token: str, method: str, path: str, **given: Any) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    return stack.call(method, path, roles=None, headers=headers, **given)


def re_register(stack: Stack, token: str, name: str = "billing", **given: Any) -> Answer:
    body = {"name": name, "url": "https://billing.example", **given}
    return by_token(stack, token, "POST", "/ops/register", body=body)


def test_a_token_is_shown_once(stack: Stack) -> None:
    assert credentials.is_well_formed(token_of(stack))

    assert "registration_token" not in register(stack).body
    assert "token" not in str(stack.call("GET", "/ops/services").body)


def test_a_service_looks_after_itself_with_its_token(stack: Stack) -> None:
    token = token_of(stack, tenant="acme")

    answer = re_register(stack, token, version="2")
    assert answer.body == {"status": "ok", "registered": "billing", "service_count": 1}
    assert by_token(stack, token, "POST", "/ops/services/billing/heartbeat").status == 200
    (service,) = stack.call("GET", "/ops/services", tenant="acme").body["services"]
    assert service["version"] == "2"
    assert by_token(stack, token, "DELETE", "/ops/services/billing").status == 200
    assert names(stack, tenant="acme") == []


def test_a_token_says_whose_it_is(stack: Stack) -> None:
    body = by_token(stack, token_of(stack, tenant="acme"), "GET", "/identity/me").body

    assert (body["subject"], body["service"]) == ("service:billing", "billing")
    assert (body["roles"], body["tenant_id"]) == (["service"], "acme")


def test_a_token_is_good_for_no_other_service(stack: Stack) -> None:
    token = token_of(stack, tenant="acme")
    register(stack, "search", tenant="acme")

    refused = [
        re_register(stack, token, "search"),
        re_register(stack, token, "new"),
        by_token(stack, token, "POST", "/ops/services/search/heartbeat"),
        by_token(stack, token, "DELETE", "/ops/services/search"),
    ]
    assert [answer.status for answer in refused] == [403, 403, 403, 403]
    assert "'billing' alone" in refused[0].body["detail"]
    assert names(stack, tenant="acme") == ["billing", "search"]


def test_a_token_is_good_in_no_other_tenant(stack: Stack) -> None:
    token = token_of(stack, tenant="acme")
    register(stack, tenant="globex")
    named = {"tenant_id": "globex"}

    assert re_register(stack, token, tenant_id="globex").status == 403
    for method, path in (
        ("POST", "/ops/services/billing/heartbeat"),
        ("DELETE", "/ops/services/billing"),
    ):
        assert by_token(stack, token, method, path, query=named).status == 403
        headers = {"X-Api-Key": token}
        stack.call(method, path, roles=None, headers=headers, tenant="globex")
    assert names(stack, tenant="globex") == ["billing"]
    assert names(stack, tenant="acme") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for (method, path), roles in ROUTES.items()
        if roles and Role.SERVICE not in roles
    ],
)
def test_a_token_is_good_for_nothing_else(stack: Stack, method: str, path: str) -> None:
    assert by_token(stack, token_of(stack), method, path, body={}).status == 403


def test_a_token_ends_with_its_service(stack: Stack) -> None:
    token = token_of(stack)
    stack.call("DELETE", "/ops/services/billing")

    assert re_register(stack, token).status == 401
    assert token_of(stack) != token
    assert re_register(stack, token).status == 401


def test_an_operator_replaces_a_token(stack: Stack) -> None:
    token = token_of(stack)
    other = token_of(stack, rotate_token=True)

    assert re_register(stack, token).status == 401
    assert re_register(stack, other).status == 200
    assert re_register(stack, other, rotate_token=True).status == 403


def test_a_service_from_before_there_were_tokens_gets_one_when_asked(stack: Stack) -> None:
    register(stack)
    stored = {"pk": {"S": "default#services"}, "sk": {"S": "billing"}}
    client().update_item(TableName="control-test", Key=stored, UpdateExpression="REMOVE token_hash")

    assert "registration_token" not in register(stack).body
    assert re_register(stack, token_of(stack, rotate_token=True)).status == 200
    assert stack.call("DELETE", "/ops/services/billing").status == 200


def test_of_two_first_registrations_at_a_time_one_token_is_left(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    found = registry._services.get
    first: list[str] = []

    def get_and_be_overtaken(tenant: Any, name: str) -> Any:
        service = found(tenant, name)
        monkeypatch.setattr(registry._services, "get", found)
        first.append(token_of(stack))
        return service

    monkeypatch.setattr(registry._services, "get", get_and_be_overtaken)
    assert "registration_token" not in register(stack, version="2").body

    assert re_register(stack, first[0]).status == 200
    items = client().scan(TableName="control-test")["Items"]
    assert sum(item["pk"]["S"].startswith("system#credential#") for item in items) == 1


def test_no_token_is_stored_or_announced(stack: Stack) -> None:
    token = token_of(stack)

    for table in ("control-test", "events-test", "audit-test"):
        assert token not in str(client().scan(TableName=table)["Items"])
    assert credentials.hash_of(token) not in str(stack.recent())
    assert credentials.hash_of(token) not in str(stack.call("GET", "/ops/services").body)
