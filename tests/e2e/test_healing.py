"""Registry and healing on the deployed stack, with services on loopback; and the client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from aetherlink_client import Client
from tests.e2e.deployed import Api, unique, wait_for


class Fleet:
    """Services on loopback, one a path: sick ones answer 500 until their hook is called."""

    def __init__(self) -> None:
        self.sick: set[str] = set()
        self.hooked: list[tuple[str, dict[str, str], bytes]] = []
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(500 if self._name() in fleet.sick else 200)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fleet.hooked.append((self._name(), headers, body))
                fleet.sick.discard(self._name())
                self._answer(204)

            def _name(self) -> str:
                return self.path.split("/")[1]

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet()
    yield made
    made.close()


class Registry:
    """A tenant's, through the API."""

    def __init__(self, api: Api, tenant: str, fleet: Fleet) -> None:
        self._api = api
        self._tenant = tenant
        self._fleet = fleet

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return self._api.call(method, path, body, tenant=self._tenant, query=query or None)

    def add(self, name: str, **given: Any) -> Any:
        url = f"{self._fleet.url}/{name}"
        plan = {"action": "http", "url": f"{url}/restart", **given.pop("heal", {})}
        body = {"name": name, "url": url, "heal": plan, **given}
        return self.call("POST", "/ops/register", body).ok()

    def run(self, **query: Any) -> Any:
        return self.call("POST", "/autoheal/run", None, **query).ok()

    def states(self) -> dict[str, str]:
        services = self.call("GET", "/ops/services").ok()["services"]
        return {service["name"]: service["state"] for service in services}

    def told(self) -> list[str]:
        events = self.call("GET", "/events/recent").ok()["events"]
        # The platform's own events show in every tenant's views.
        own = [event for event in events if event["tenant_id"] == self._tenant]
        return [event["event_type"] for event in reversed(own)]


@pytest.fixture
def registry(api: Api, tenant: str, fleet: Fleet) -> Iterator[Registry]:
    made = Registry(api, tenant, fleet)
    yield made
    # Else they are dead when their fleet is gone, and people are told so for ever.
    for name in made.states():
        made.call("DELETE", f"/ops/services/{name}")


def test_the_platforms_own_parts_are_registered_and_up(api: Api) -> None:
    def own() -> dict[str, Any]:
        query = {"tenant_id": "system"}
        services = api.call("GET", "/ops/services", query=query).ok()["services"]
        found = {s["name"]: s for s in services if s["name"].startswith("aether-")}
        return found if all(s["state"] == "up" for s in found.values()) else {}

    # The schedule comes every minute; make up has run it once.
    parts = wait_for(own, 90, "all are seen up")
    version = api.call("GET", "/ping", roles=None).ok()["version"]
    assert set(parts) == {
        "aether-command-center", "aether-ai-orchestrator", "aether-auto-heal", "aether-crm-ui",
    }  # fmt: skip
    assert {part["version"] for part in parts.values()} == {version}
    status = api.call("GET", "/autoheal/status", roles="viewer", tenant="default").ok()
    assert set(parts) <= set(status["watching"])
    assert status["last_report"]["last_run"]


def test_a_sick_service_is_healed_and_the_story_is_told(
    registry: Registry, fleet: Fleet, tenant: str
) -> None:
    for number in range(4):
        registry.add(f"well-{number}")
    secret = registry.add("sick")["heal_secret"]
    wait_for(lambda: registry.run() and set(registry.states().values()) == {"up"}, 30, "all are up")
    fleet.sick.add("sick")
    plan = registry.run(dry_run="true")
    assert fleet.hooked == []
    assert {r["service"]: r["verdict"] for r in plan["results"]}["sick"] == "heal"
    registry.run()
    wait_for(lambda: registry.states()["sick"] == "up", 90, "it is well again")

    ((name, headers, body),) = fleet.hooked
    assert name == "sick"
    assert Webhook(secret).verify(body, headers)["data"]["service"] == "sick"
    assert registry.told()[5:] == [
        "service.health.failed",
        "autoheal.attempted",
        "service.health.recovered",
        "autoheal.succeeded",
    ]
    history = registry.call("GET", "/autoheal/history", limit=500).ok()
    assert (history["limit"], history["total_in_history"]) == (50, 1)
    assert history["history"][0]["success"] is True
    stats = registry.call("GET", "/autoheal/stats").ok()
    assert (stats["total_attempts"], stats["success_rate"], stats["most_healed"]) == (
        1,
        100,
        "sick",
    )


def test_most_services_down_at_once_are_left_alone_with_one_alert(
    registry: Registry, fleet: Fleet
) -> None:
    for number in range(5):
        registry.add(f"s{number}", heal={"probe": {"failures": 1}})
    fleet.sick |= {"s0", "s1", "s2"}
    for _ in range(2):
        registry.run()

    assert fleet.hooked == []
    (alert,) = registry.call("GET", "/alerts").ok()["alerts"]
    assert alert["rule_name"] == "Too many services are down at once; nothing is healed"
    fleet.sick.clear()
    wait_for(
        lambda: registry.run() and registry.call("GET", "/alerts").ok()["alerts"][0]["state"]
        == "resolved",
        30,
        "the alert is over",
    )  # fmt: skip


def test_what_depends_on_itself_is_refused(registry: Registry, fleet: Fleet) -> None:
    registry.add("db", depends_on=["shop"])
    body = {"name": "shop", "url": fleet.url, "depends_on": ["db"]}
    answer = registry.call("POST", "/ops/register", body)

    assert answer.status == 422
    assert "shop → db → shop" in answer.body["detail"]


def test_everything_is_looked_at_now_and_gaps_are_named(registry: Registry, fleet: Fleet) -> None:
    registry.add("good")
    registry.add("bad", depends_on=["nobody"])
    fleet.sick.add("bad")
    health = registry.call("GET", "/ops/health").ok()

    assert health["status"] == "degraded"
    assert health["services"]["good"]["status"] == "up"
    assert health["services"]["bad"]["http_status"] == 500
    assert health["services"]["aether-command-center"]["status"] == "up"
    gaps = registry.call("GET", "/ops/reconciliation").ok()["gaps"]
    assert gaps["depended_on_not_registered"] == ["nobody"]


# ---- the client


class Unreliable(httpx.BaseTransport):
    """The network, which is away for as long as somebody says so."""

    def __init__(self) -> None:
        self.is_away = False
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("away")
        return self._real.handle_request(request)

    def close(self) -> None:
        self._real.close()


def test_the_client_registers_keeps_its_lease_and_loses_no_event(
    api: Api, stack: dict[str, Any], tenant: str, registry: Registry, fleet: Fleet, tmp_path: Path
) -> None:
    network = Unreliable()
    headers = api.who.headers("operator", tenant)
    source = unique("shop")
    given: dict[str, Any] = {
        "headers": headers, "spool": tmp_path / "spool.db", "transport": network,
    }  # fmt: skip
    with Client(stack["api_url"], **given) as client:
        client.register(
            "shop", f"{fleet.url}/shop", version="2", heartbeat_seconds=0.2, strict=True
        )
        (first,) = registry.call("GET", "/ops/services").ok()["services"]
        assert (first["lease_seconds"], first["version"]) == (90, "2")
        wait_for(
            lambda: (
                registry.call("GET", "/ops/services").ok()["services"][0]["last_seen"]
                > first["last_seen"]
            ),
            10,
            "a heartbeat came",
        )
        network.is_away = True
        ids = [client.publish("lead.created", {"n": n}, source=source) for n in range(20)]
        assert (client.flush(), client.waiting) == (False, 20)
    network.is_away = False
    with Client(stack["api_url"], **{**given, "transport": Unreliable()}) as client:
        client.publish("no.such.type", {}, source=source)
        assert client.flush()
        ((_, reason),) = client.refused()
    assert "no.such.type" in reason
    events = registry.call("GET", "/events/recent", source=source).ok()["events"]
    assert sorted(event["event_id"] for event in events) == sorted(ids)
