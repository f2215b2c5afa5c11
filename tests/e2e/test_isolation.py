"""The isolation matrix against the deployed stack: real keys of two fresh tenants, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from aetherlink.ai.descriptor import parse_urls
from tests.e2e.deployed import ByHeader, Connection, unique, wait_for
from tests.isolation.attempts import Thief, by_role, everything
from tests.isolation.door import Answer, Request
from tests.isolation.matrix import ACCESS, rows
from tests.isolation.side import (
    Side,
    alerts_of_rules,
    plant,
    plant_notification_rules,
    plant_platform,
    plant_policy,
)
from tools.mock_ai import PORT
from tools.mock_ai.server import MockAi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.deployed import Api


class HttpDoor:
    """One kept-alive connection, without credentials of its own."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url, ByHeader())

    def send(self, request: Request) -> Answer:
        answer = self._connection.call(
            request.method,
            quote(request.path, safe="/%"),
            request.body,
            roles=None,
            query=request.query,
            headers=request.sent_headers,
        )
        body = answer.body
        text = body.decode() if isinstance(body, bytes) else _compact(body)
        return Answer(answer.status, answer.headers, text)

    def close(self) -> None:
        self._connection.close()


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture(scope="module")
def sides(stack: dict[str, Any], api: Api, admin_key: str) -> Iterator[tuple[Side, Side]]:
    given = parse_urls(stack["provider_urls"]).get("claude", "")
    providers = MockAi(urlsplit(given).port or PORT).start()
    door = HttpDoor(api.url)
    planted = []
    for word in ("acme", "globex"):
        side = Side(door, unique(word))

        def is_alerting(side: Side = side) -> bool:
            return len(alerts_of_rules(side)) >= 2

        def settle(seen: Any = is_alerting) -> None:
            assert wait_for(seen, 30, "both rules fire")

        planted.append(plant(door, side.tenant, admin_key, settle, side))
    plant_platform((planted[0], planted[1]), admin_key, is_live=False)
    yield planted[0], planted[1]
    for side in planted:
        for found in side.send(Request("GET", "/alerts/rules")).body["rules"]:
            if found["tenant_id"] == side.tenant:
                side.send(Request("DELETE", f"/alerts/rules/{found['id']}"))
    for kind, path in (("rule_id", "/alerts/rules"), ("silence_id", "/alerts/silences")):
        gone = Request("DELETE", f"{path}/{planted[0].platform[kind]}", secret=admin_key)
        planted[0].send(gone)
    door.close()
    providers.close()


def test_every_route_answers_each_caller_as_the_matrix_says(sides: tuple[Side, Side]) -> None:
    acme, globex = sides
    thief = Thief(acme, globex)

    faults = [f for row in rows(ACCESS) for a in by_role(row, acme, None) for f in thief.faults(a)]

    assert faults == []


def test_no_way_of_asking_and_nothing_stolen_leads_to_another_tenant(
    sides: tuple[Side, Side],
) -> None:
    acme, globex = sides
    thief = Thief(acme, globex)
    before = _belongings(globex)

    faults = []
    for attempt in everything(acme, globex):
        if "retention/tenants as" in attempt.name:
            plant_policy(acme)
            plant_notification_rules(acme)
        faults += thief.faults(attempt)

    assert faults == []
    assert _belongings(globex) == before


def _belongings(side: Side) -> dict[str, list[str]]:
    """What a tenant has, as it sees it itself."""
    wanted = (
        ("/alerts/rules", "rules", "id"),
        ("/alerts/silences", "silences", "id"),
        ("/ops/services", "services", "name"),
        ("/identity/keys", "keys", "key_id"),
    )
    return {
        path: sorted(str(found[key]) for found in side.send(Request("GET", path)).body[kind])
        for path, kind, key in wanted
    }
