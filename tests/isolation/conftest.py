"""Two tenants on one stack in this process, with the archive on; planted once for a module."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.dynamodb.models import dynamodb_backends

from tests.component.conftest import Context, Stack, standing
from tests.isolation.attempts import Thief
from tests.isolation.door import Answer, Request
from tests.isolation.side import Side, plant, plant_platform
from tools.mock_ai.server import MockAi

TABLES = ("events-test", "projections-test", "control-test", "audit-test")
# Numbers about a tenant that its being asked about may move: who counts requests, counts these too.
_COUNTERS = ("requests", "rates")


class ProcessDoor:
    """Calls the handlers as API Gateway would."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def send(self, request: Request) -> Answer:
        resource, parameters = self._stack._resource(request.method, request.path)
        headers = request.sent_headers
        event = {
            "resource": resource,
            "path": request.path,
            "httpMethod": request.method,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": dict(request.query) or None,
            "multiValueQueryStringParameters": {n: [v] for n, v in request.query.items()} or None,
            "pathParameters": parameters,
            "requestContext": {
                "requestId": "req-1",
                "path": request.path,
                "stage": "local",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": None if request.body is None else json.dumps(request.body),
            "isBase64Encoded": False,
        }
        answer = self._stack.handler(request.method, resource)(event, Context())
        given = (answer.get("multiValueHeaders") or {}).items()
        found = {name.lower(): ", ".join(values) for name, values in given}
        return Answer(answer["statusCode"], found, answer.get("body") or "")


@dataclass
class World:
    """acme is the thief. `stray` is a key of no tenant, `everybody` one of all."""

    stack: Stack
    acme: Side
    globex: Side
    everybody: str
    stray: str
    thief: Thief

    def settle(self) -> None:
        """Let the relay, the jobs and the sealer come to an end."""
        self.stack.relay()
        assert self.stack.run_jobs() == []
        self.stack.relay()
        self.stack.seal()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    patch.setenv("ARCHIVE_ENABLED", "true")
    mock = MockAi().start()
    patch.setenv("PROVIDER_URLS", mock.urls())
    patch.setenv("OUTBOUND_ALLOW", "127.0.0.0/8")
    _build_anew()
    with standing() as stack:
        boto3.client("s3").create_bucket(Bucket="archive-test")
        door = ProcessDoor(stack)
        bootstrap = importlib.import_module("functions.identity.bootstrap").lambda_handler
        everybody = bootstrap({"name": "everybody"}, Context())["secret"]
        acme, globex = (plant(door, name, everybody, stack.relay) for name in ("acme", "globex"))
        plant_platform((acme, globex), everybody)
        made = World(stack, acme, globex, everybody, _stray(), Thief(acme, globex))
        made.settle()
        yield made
    patch.undo()
    mock.close()
    _build_anew()


def _build_anew() -> None:
    """Handlers and what they are wired to: the next import reads the environment again."""
    from aetherlink import wiring
    from aetherlink.platform import config

    for name in [name for name in sys.modules if name.startswith("functions.")]:
        del sys.modules[name]
    for cached in (config.config, config.ai_config, *vars(wiring).values()):
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def _stray() -> str:
    """A key of no tenant, which the API would not make."""
    from aetherlink.kernel.tenancy import Role
    from aetherlink.platform import credentials
    from aetherlink.platform.dynamo import Table

    secret = credentials.generate(credentials.KEY)
    nobodys = credentials.Credential("key", "stray", frozenset({Role.ADMIN}))
    Table("control-test").put(credentials.to_item(credentials.hash_of(secret), nobodys))
    return secret


def belongings(tenant: str) -> dict[str, str]:
    """All that a tenant has in all tables and in the archive, by place."""
    found: dict[str, str] = {}
    for table in TABLES:
        for item in _items(table):
            if _is_of(tenant, item):
                place = f"{table} {item['pk']['S']} {item['sk']['S']}"
                # When a credential was last used is noted whenever it is used.
                shown = {n: v for n, v in item.items() if n != "last_used_at"}
                found[place] = json.dumps(shown, sort_keys=True, default=str)
    for entry in boto3.client("s3").list_objects_v2(Bucket="archive-test").get("Contents", []):
        if f"tenant={tenant}/" in entry["Key"]:
            found[entry["Key"]] = entry["ETag"]
    return found


def _items(table: str) -> Iterator[dict[str, Any]]:
    backend = dynamodb_backends["123456789012"]["us-east-1"]
    for ranges in backend.tables[table].items.values():
        values: Any = ranges.values() if isinstance(ranges, dict) else [ranges]
        for item in values:
            yield item.to_json()["Attributes"]


def _is_of(tenant: str, item: dict[str, Any]) -> bool:
    owner, _, rest = item["pk"]["S"].partition("#")
    if owner == tenant:
        return rest.partition("#")[0] not in _COUNTERS
    # The shared partitions: whose an item is stands in its sort key, or in the item.
    if tenant in item["sk"]["S"].split("#"):
        return True
    return {"S": tenant} in item.get("tenants", {}).get("L", [])
