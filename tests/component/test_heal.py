"""Registry and healing through the real handlers, with services on loopback."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from aetherlink import __version__
from aetherlink.heal import service as heal_service
from aetherlink.kernel.time import to_text
from tests.component import permissions
from tests.component.conftest import Answer, Context, Stack
from tests.unit.heal.world import World


class Fleet:
    """Services on loopback, one a path: sick ones answer 500 until their hook is called."""

    def __init__(self) -> None:
        self.sick: set[str] = set()
        self.hooked: list[str] = []
        self.useless = False
        # How far the healer's clock is ahead.
        self.passed = timedelta(0)
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[1]
                self._answer(500 if name in fleet.sick else 200)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                name = self.path.split("/")[1]
                fleet.hooked.append(name)
                if not fleet.useless:
                    fleet.sick.discard(name)
                self._answer(204)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    made = Fleet()

    def now() -> datetime:
        return datetime.now(UTC) + made.passed

    def sleep(seconds: float) -> None:
        # The healer waits between looks; here the clock goes on at once.
        made.passed += timedelta(seconds=seconds)

    for name in ("functions.heal.healer", "functions.heal.runner"):
        healer = importlib.import_module(name).healer
        monkeypatch.setattr(healer, "_sleep", sleep)
        monkeypatch.setattr(healer, "_now", now)
        monkeypatch.setattr(healer._prober, "_now", now)
    yield made
    made.close()


def register(stack: Stack, fleet: Fleet, name: str, tenant: str = "acme", **given: Any) -> Answer:
    heal = given.pop("heal", {"action": "http", "url": f"{fleet.url}/{name}/restart"})
    body = {"name": name, "url": f"{fleet.url}/{name}", "heal": heal, **given}
    return stack.call("POST", "/ops/register", body=body, tenant=tenant)


def get(stack: Stack, path: str, tenant: str = "acme", **query: str) -> Any:
    answer = stack.call("GET", path, tenant=tenant, query=query or None)
    assert answer.status == 200, answer.body
    return answer.body


def minute(event: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the schedule does."""
    handler = importlib.import_module("functions.heal.healer").lambda_handler
    with permissions.acting_as("Healer"):
        done: dict[str, Any] = handler(event or {}, Context())
    return done


def states(stack: Stack, tenant: str = "acme", **query: str) -> dict[str, str]:
    services = get(stack, "/ops/services", tenant, **query)["services"]
    return {service["name"]: service["state"] for service in services}


# ---- the registry


def test_a_cycle_is_refused_and_named(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "db", depends_on=["shop"])
    register(stack, fleet, "api", depends_on=["db"])
    answer = register(stack, fleet, "shop", depends_on=["api"])

    assert answer.status == 422
    (flaw,) = answer.body["errors"]
    assert flaw["pointer"] == "/depends_on"
    assert "shop → api → db → shop" in flaw["detail"]
    assert set(states(stack)) == {"db", "api"}


def test_what_healing_may_not_act_on_is_refused_at_once(stack: Stack, fleet: Fleet) -> None:
    answer = register(stack, fleet, "x", heal={"action": "lambda", "function": "fix"})

    assert answer.status == 422
    assert "acme=lambda:fix" in answer.body["errors"][0]["detail"]


def test_a_hooks_secret_is_shown_once_and_never_again(stack: Stack, fleet: Fleet) -> None:
    first = register(stack, fleet, "billing").body
    again = register(stack, fleet, "billing").body
    own = {"action": "http", "url": fleet.url, "secret": first["heal_secret"]}
    given = register(stack, fleet, "other", heal=own).body

    assert first["heal_secret"].startswith("whsec_")
    assert "heal_secret" not in again
    assert "heal_secret" not in given
    assert first["heal_secret"] not in json.dumps(get(stack, "/ops/services"))


def test_states_come_from_looking_and_can_be_asked_for(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "good", tags=["web"], version="2")
    register(stack, fleet, "bad", heal=None)
    fleet.sick.add("bad")
    assert states(stack) == {"good": "unknown", "bad": "unknown"}
    minute()

    assert states(stack) == {"good": "up", "bad": "down"}
    assert states(stack, state="down") == {"bad": "down"}
    assert states(stack, tag="web") == {"good": "up"}
    assert states(stack, version="2") == {"good": "up"}
    assert states(stack, state="up", version="3") == {}
    (bad,) = get(stack, "/ops/services", state="down")["services"]
    assert bad["error"] == "answered 500"
    assert stack.call("GET", "/ops/services", query={"state": "sick"}).status == 422


def test_most_leases_that_end_at_once_are_kept_and_it_is_said(
    stack: Stack, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        register(stack, fleet, name, lease_seconds=90, heal=None)
    register(stack, fleet, "free", heal=None)
    registry = importlib.import_module("functions.registry.api").registry
    later = datetime.now(UTC) + timedelta(seconds=100)
    monkeypatch.setattr(registry, "_now", lambda: later)

    listed = get(stack, "/ops/services")
    assert listed["self_preservation"] == {"active": True, "services": ["a", "b", "c"]}
    assert {service["state"] for service in listed["services"]} == {"unknown"}

    monkeypatch.setattr(registry, "_now", lambda: later + timedelta(hours=2))
    listed = get(stack, "/ops/services")
    assert listed["self_preservation"]["active"] is False
    assert {s["name"] for s in listed["services"] if s["state"] == "expired"} == {"a", "b", "c"}


def test_what_was_registered_at_some_time(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "stays", version="1", tags=["x"])
    register(stack, fleet, "goes", version="7")
    between = to_text(datetime.now(UTC))
    register(stack, fleet, "stays", version="2")
    stack.call("DELETE", "/ops/services/goes", tenant="acme")
    register(stack, fleet, "comes")
    register(stack, fleet, "foreign", tenant="globex")

    then = get(stack, "/ops/services", at=between)
    assert [(s["name"], s["version"], s["is_exact"]) for s in then["services"]] == [
        ("goes", "7", True),
        ("stays", "1", True),
    ]
    assert then["complete"] is True
    assert get(stack, "/ops/services", at="2020-01-01")["services"] == []
    assert stack.call("GET", "/ops/services", query={"at": "noon"}).status == 422


def test_a_tenant_has_so_many_services_and_no_more(
    stack: Stack, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aetherlink.registry.service.MAX_SERVICES", 2)
    assert [register(stack, fleet, name).status for name in ("a", "b", "c")] == [200, 200, 409]
    # Who is there may renew.
    assert register(stack, fleet, "a").status == 200


# ---- looking


def test_ops_health_looks_at_everything_now(
    stack: Stack, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = importlib.import_module("functions.heal.runner").live
    monkeypatch.setattr(live, "_api_url", lambda: fleet.url)
    monkeypatch.setattr(live, "_monitored", heal_service.configured(f"shop={fleet.url}/shop"))
    register(stack, fleet, "good")
    register(stack, fleet, "bad")
    register(stack, fleet, "gone", url="http://127.0.0.1:9", heal=None)
    fleet.sick.add("bad")

    health = get(stack, "/ops/health")
    assert health["status"] == "degraded"
    services = health["services"]
    own = {"aether-command-center", "aether-ai-orchestrator", "aether-auto-heal", "aether-crm-ui"}
    assert set(services) == own | {"shop", "good", "bad", "gone"}
    assert services["good"]["status"] == services["aether-crm-ui"]["status"] == "up"
    assert (services["bad"]["status"], services["bad"]["http_status"]) == ("degraded", 500)
    assert (services["gone"]["status"], "http_status" in services["gone"]) == ("down", False)
    assert "refused the connection" in services["gone"]["error"]
    assert {"url", "latency_ms", "checked_at"} <= services["gone"].keys()

    fleet.sick.clear()
    stack.call("DELETE", "/ops/services/gone", tenant="acme")
    assert get(stack, "/ops/health")["status"] == "up"


def test_two_of_the_same_name_are_told_apart(stack: Stack, fleet: Fleet) -> None:
    for tenant in ("acme", "globex"):
        register(stack, fleet, "billing", tenant=tenant)

    body = stack.call("GET", "/ops/health").body
    assert {"acme/billing", "globex/billing"} <= body["services"].keys()


def test_the_platforms_parts_register_themselves(
    stack: Stack, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer = importlib.import_module("functions.heal.healer").healer
    monkeypatch.setattr(healer, "_api_url", lambda: f"{fleet.url}/")
    minute()
    minute()

    body = stack.call("GET", "/ops/services", query={"tenant_id": "system"}).body
    ai = {service["name"]: service for service in body["services"]}["aether-ai-orchestrator"]
    assert body["count"] == 4
    assert (ai["version"], ai["url"], ai["state"]) == (__version__, fleet.url, "up")
    assert (ai["roles_required"], ai["tags"]) == (
        ["agent", "operator", "admin"],
        ["ai", "orchestrator", "phase-ii"],
    )
    assert len(stack.recent(tenant="acme", event_type="service.registered")) == 4


def test_reconciliation_names_the_gaps(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "seen", depends_on=["nobody"])
    minute()
    register(stack, fleet, "new", heal=None)

    found = get(stack, "/ops/reconciliation")
    assert found["registered"] == ["new", "seen"]
    assert found["monitored"] == ["seen"]
    assert found["in_sync"] is False
    gaps = {name: values for name, values in found["gaps"].items() if values}
    assert gaps == {
        "registered_not_monitored": ["new"],
        "depended_on_not_registered": ["nobody"],
        "without_action": ["new"],
    }


# ---- healing


def test_the_whole_story(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "billing")
    register(stack, fleet, "search")
    minute()
    fleet.sick.add("billing")
    minute()

    assert fleet.hooked == ["billing"]
    told = stack.recent(tenant="acme")
    assert [event["event_type"] for event in reversed(told)][2:] == [
        "service.health.failed",
        "autoheal.attempted",
        "service.health.recovered",
        "autoheal.succeeded",
    ]
    assert {event["source"] for event in told[:4]} == {"aether-auto-heal"}
    assert states(stack) == {"billing": "up", "search": "up"}

    history = get(stack, "/autoheal/history")
    assert (history["total_in_history"], history["limit"]) == (1, 10)
    (heal,) = history["history"]
    assert {k: heal[k] for k in ("service", "action", "success")} == {
        "service": "billing", "action": "http", "success": True,
    }  # fmt: skip
    assert "healthy after" in heal["msg"]
    assert heal["reason"] == "3 failures in a row: answered 500"
    assert abs(heal["timestamp"] - datetime.now(UTC).timestamp()) < 60
    stats = get(stack, "/autoheal/stats")
    assert {
        k: stats[k]
        for k in ("total_attempts", "successful", "failed", "success_rate", "services", "most_healed")
    } == {
        "total_attempts": 1, "successful": 1, "failed": 0, "success_rate": 100.0,
        "services": {"billing": 1}, "most_healed": "billing",
    }  # fmt: skip
    assert (stats["outages"], stats["by_itself_percent"], stats["actions"]) == (1, 0.0, {"http": 1})
    assert stats["mttr_seconds"] is not None
    status = get(stack, "/autoheal/status")
    assert status["interval_seconds"] == 60
    assert [attempt["service"] for attempt in status["last_report"]["attempts"]] == ["billing"]
    assert {"aether-crm-ui", "aether-command-center", "aether-ai-orchestrator", "billing",
            "search"} <= set(status["watching"])  # fmt: skip
    # Nobody of another tenant sees any of it.
    assert get(stack, "/autoheal/history", tenant="globex")["history"] == []
    assert "billing" not in json.dumps(get(stack, "/autoheal/status", tenant="globex"))


def test_nothing_has_happened_yet(stack: Stack) -> None:
    assert get(stack, "/autoheal/history")["history"] == []
    stats = get(stack, "/autoheal/stats")
    assert (stats["success_rate"], stats["most_healed"], stats["mttr_seconds"]) == (0.0, None, None)
    assert get(stack, "/autoheal/status")["last_report"]["last_run"] is None
    assert stack.call("GET", "/autoheal/ping", roles=None).body == {"status": "ok"}
    assert stack.call("GET", "/autoheal/health", roles=None).body == {
        "status": "up", "service": "auto-heal",
    }  # fmt: skip


def test_history_has_pages_of_fifty_at_most(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "billing", heal={"action": "http", "url": f"{fleet.url}/billing/restart",
                                            "attempts": 20})  # fmt: skip
    for _ in range(3):
        fleet.sick.add("billing")
        minute()
        fleet.passed += timedelta(minutes=10)
    first = get(stack, "/autoheal/history", limit="2")
    rest = get(stack, "/autoheal/history", limit="2", cursor=first["next_cursor"])

    assert (len(first["history"]), len(rest["history"]), rest["next_cursor"]) == (2, 1, None)
    assert get(stack, "/autoheal/history", limit="500")["limit"] == 50
    assert stack.call("GET", "/autoheal/history", query={"limit": "0"}).status == 422
    cursor = {"cursor": first["next_cursor"]}
    assert stack.call("GET", "/autoheal/history", tenant="globex", query=cursor).status == 400


def test_a_dry_run_says_what_would_be_done(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "billing")
    minute()
    fleet.sick.add("billing")
    answer = stack.call("POST", "/autoheal/run", tenant="acme", query={"dry_run": "true"})

    assert (answer.status, answer.body["dry_run"]) == (200, True)
    (found,) = [r for r in answer.body["results"] if r["service"] == "billing"]
    assert (found["state"], found["verdict"], found["action"]) == ("down", "heal", "http")
    assert (fleet.hooked, stack.recent(event_type="service.health.failed")) == ([], [])

    answer = stack.call("POST", "/autoheal/run", tenant="acme")
    assert [heal["service"] for heal in answer.body["attempts"]] == ["billing"]
    assert fleet.hooked == ["billing"]


def test_what_is_paused_is_seen_down_and_left_alone(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "billing")
    path = "/autoheal/services/billing/pause"
    paused = stack.call("PUT", path, tenant="acme", body={"reason": "migration"}).body
    assert (paused["paused"], paused["reason"], paused["until"]) == (True, "migration", None)
    fleet.sick.add("billing")
    minute()

    assert (states(stack), fleet.hooked) == ({"billing": "down"}, [])
    (shown,) = [s for s in get(stack, "/autoheal/status")["services"] if s["service"] == "billing"]
    assert shown["paused"]["reason"] == "migration"
    assert stack.call("DELETE", path, tenant="acme").body["paused"] is False
    minute()
    assert fleet.hooked == ["billing"]

    assert stack.call("PUT", "/autoheal/services/x/pause", tenant="acme", body={}).status == 404
    past = stack.call("PUT", path, tenant="acme", body={"until": "2020-01-01T00:00:00Z"})
    assert past.status == 400
    assert stack.call("PUT", path, tenant="acme", body={"until": "soon"}).status == 422


def test_maintenance_is_planned_changed_and_ended(stack: Stack, fleet: Fleet) -> None:
    register(stack, fleet, "billing", tags=["money"])
    ends = to_text(datetime.now(UTC) + timedelta(hours=1))
    body = {"tags": ["money"], "reason": "disks", "ends_at": ends}
    window = stack.call("POST", "/autoheal/maintenance", tenant="acme", body=body).body[
        "maintenance"
    ]
    assert window["state"] == "on"
    fleet.sick.add("billing")
    minute()
    assert (states(stack), fleet.hooked) == ({"billing": "down"}, [])
    (event,) = stack.recent(tenant="acme", event_type="service.health.failed")
    assert (event["severity"], event["payload"]["maintenance"]) == ("info", "disks")

    path = f"/autoheal/maintenance/{window['id']}"
    changed = stack.call(
        "PUT", path, tenant="acme", body={**body, "services": ["other-*"], "tags": []}
    )
    assert changed.body["maintenance"]["services"] == ["other-*"]
    assert get(stack, "/autoheal/maintenance")["count"] == 1
    minute()
    assert fleet.hooked == ["billing"]
    assert stack.call("DELETE", path, tenant="acme").status == 200
    assert stack.call("GET", path, tenant="acme").status == 404
    wrong = {**body, "starts_at": ends, "ends_at": to_text(datetime.now(UTC))}
    assert stack.call("POST", "/autoheal/maintenance", tenant="acme", body=wrong).status == 422


def test_a_risky_action_waits_for_somebody(stack: Stack, fleet: Fleet) -> None:
    plan = {"action": "http", "url": f"{fleet.url}/db/restart", "approval": True}
    register(stack, fleet, "db", heal=plan)
    fleet.sick.add("db")
    minute()
    minute()

    (approval,) = get(stack, "/autoheal/approvals")["approvals"]
    (alert,) = get(stack, "/alerts")["alerts"]
    assert (fleet.hooked, approval["state"]) == ([], "open")
    assert alert["state"] == "firing"
    assert approval["id"] in json.dumps(alert)

    path = f"/autoheal/approvals/{approval['id']}"
    decided = stack.call("POST", path, tenant="acme", body={"approve": True})
    assert decided.body["approval"]["state"] == "approved"
    assert stack.call("POST", path, tenant="acme", body={"approve": False}).status == 409
    assert get(stack, "/alerts")["alerts"][0]["state"] == "resolved"
    minute()
    assert (fleet.hooked, states(stack)) == (["db"], {"db": "up"})


def test_what_was_refused_is_not_asked_again(stack: Stack, fleet: Fleet) -> None:
    plan = {"action": "http", "url": f"{fleet.url}/db/restart", "approval": True}
    register(stack, fleet, "db", heal=plan)
    fleet.sick.add("db")
    minute()
    (approval,) = get(stack, "/autoheal/approvals")["approvals"]
    path = f"/autoheal/approvals/{approval['id']}"
    assert stack.call("POST", path, tenant="acme", body={"approve": False}).status == 200
    minute()

    assert (fleet.hooked, get(stack, "/autoheal/approvals")["count"]) == ([], 1)
    # Well again, and sick again: that is another question.
    fleet.sick.clear()
    minute()
    fleet.sick.add("db")
    minute()
    assert get(stack, "/autoheal/approvals")["count"] == 2


def test_giving_up_alerts_once_and_removal_ends_the_alert(stack: Stack, fleet: Fleet) -> None:
    plan = {"action": "http", "url": f"{fleet.url}/billing/restart", "attempts": 1}
    register(stack, fleet, "billing", heal={**plan, "settle_seconds": 5})
    fleet.sick.add("billing")
    fleet.useless = True
    for _ in range(3):
        minute()
        fleet.passed += timedelta(minutes=1)

    (alert,) = get(stack, "/alerts")["alerts"]
    assert (alert["rule_name"], alert["state"]) == ("Healing gave up on billing", "firing")
    assert fleet.hooked == ["billing"]
    assert get(stack, "/autoheal/stats")["failed"] == 1
    (failed, *_) = stack.recent(tenant="acme", event_type="autoheal.failed")
    assert "not healthy after" in failed["payload"]["error"]

    # Nothing more is tried, until somebody says so.
    fleet.passed += timedelta(hours=2)
    minute()
    assert fleet.hooked == ["billing"]
    stack.call("DELETE", "/autoheal/services/billing/pause", tenant="acme")
    assert get(stack, "/alerts")["alerts"][0]["state"] == "resolved"
    minute()
    assert fleet.hooked == ["billing", "billing"]
    fleet.passed += timedelta(minutes=2)
    minute()
    assert get(stack, "/alerts")["alerts"][0]["state"] == "firing"

    stack.call("DELETE", "/ops/services/billing", tenant="acme")
    minute()
    assert get(stack, "/alerts")["alerts"][0]["state"] == "resolved"
    # What it did stays on record.
    assert get(stack, "/autoheal/stats")["total_attempts"] == 2
    register(stack, fleet, "billing")
    fleet.sick.clear()
    minute()
    assert states(stack) == {"billing": "up"}


# ---- shares


def test_many_services_are_shared_out_and_each_share_is_done(
    stack: Stack, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heal_service, "CHUNK", 2)
    for tenant in ("a", "b", "c"):
        for number in range(2):
            register(stack, fleet, f"s{number}", tenant=tenant)
    assert minute() == {"shares": 3}
    shares = stack.queue("shares-test")
    records = [{"messageId": str(n), "body": json.dumps(each)} for n, each in enumerate(shares)]
    assert minute({"Records": records}) == {"batchItemFailures": []}
    for tenant in ("a", "b", "c"):
        assert states(stack, tenant) == {"s0": "up", "s1": "up"}

    broken = [{"messageId": "x", "body": "{}"}]
    assert minute({"Records": broken}) == {"batchItemFailures": [{"itemIdentifier": "x"}]}
    old = {**shares[0], "at": "2020-01-01T00:00:00.000000Z"}
    stale = [{"messageId": "y", "body": json.dumps(old)}]
    assert minute({"Records": stale}) == {"batchItemFailures": []}


def test_chunks_cut_no_tenant_in_two_and_leave_nobody_out() -> None:
    world = World()
    for tenant, size in (("a", 400), ("a-1", 300), ("a.b", 10), ("b", 900), ("c", 1)):
        world.add(*(f"s{n}" for n in range(size)), tenant=tenant)
    services = list(world.services.values())
    scopes = heal_service.chunks(services)

    assert len(scopes) > 1
    for service in services:
        key = f"{service.tenant_id}#{service.name}"
        assert sum(scope.first <= key <= scope.last for scope in scopes) == 1
    for tenant in ("a", "a-1", "a.b", "b", "c", "system", "Z9"):
        assert sum(scope.holds(tenant) for scope in scopes) == 1


def test_a_service_that_nobody_understands_is_watched_all_the_same(
    stack: Stack, fleet: Fleet
) -> None:
    """Registered before there was healing, with whatever stood in `heal`."""
    register(stack, fleet, "old", heal=None)
    store = importlib.import_module("aetherlink.wiring").service_store()
    store._table.set("acme#services", "old", {"heal": json.dumps({"webhook": "x"})})
    minute()

    assert store.get("acme", "old").plan is None
    assert states(stack) == {"old": "up"}
