"""The deployed functions in this process, on the double: called as AWS calls them, at a time that
stands still. One stack a process, since handler modules keep what they know.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tools.bench.dynamodb import Change, Double
from tools.local import template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from aetherlink.events.model import Event

BATCH = 100  # the relay's BatchSize
TABLES = {"EVENTS_TABLE": "EventsTable", "PROJECTIONS_TABLE": "ProjectionsTable",
          "CONTROL_TABLE": "ControlTable", "AUDIT_TABLE": "AuditTable"}  # fmt: skip
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012"
ENVIRONMENT = {
    "STAGE": "local",
    "AUTH_MODE": "dev",
    **{variable: variable.lower() for variable in TABLES},
    "AUDIT_RETENTION_DAYS": "365",
    "REQUESTS_PER_MINUTE": "0",
    "CORS_ORIGINS": "",
    "OIDC_ISSUER": "",
    "OIDC_AUDIENCE": "",
    "OIDC_ALGORITHMS": "RS256",
    "OIDC_JWKS_URL": "",
    "OIDC_ROLES_CLAIM": "roles",
    "OIDC_TENANT_CLAIM": "tenant_id",
    "OIDC_ROLE_MAP": "",
    "OIDC_CLIENT_ID": "",
    "EVENT_RETENTION_DAYS": "30",
    "TIMELINE_SHARDS": "1",
    "ARCHIVE_ENABLED": "false",
    "ARCHIVE_BUCKET": "archive",
    "JOBS_QUEUE": f"{QUEUE}/jobs",
    "MAX_STREAMS": "20",
    "ALERTS_TOPIC": "arn:aws:sns:us-east-1:123456789012:alerts",
    "ALERTS_DUE_QUEUE": f"{QUEUE}/due",
    "RELAY_ASIDE_QUEUE": f"{QUEUE}/aside",
    "ALERT_WEBHOOKS": "",
    "OUTBOUND_ALLOW": "",
    "DELIVERY_TIMEOUT_SECONDS": "5",
    "DELIVERY_RETRY_SECONDS": "5,60",
    "NOTIFICATIONS_QUEUE": f"{QUEUE}/notifications",
    "NOTIFICATIONS_DEAD_LETTER_QUEUE": f"{QUEUE}/dead",
    "HEAL_QUEUE": f"{QUEUE}/shares",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "POWERTOOLS_TRACE_DISABLED": "true",
}


class BenchError(Exception):
    """The run itself went wrong: its figures would mean nothing."""


class Clock:
    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Call:
    """A request to the API. `resource` is the route as the gateway names it."""

    method: str
    resource: str
    tenant: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    body: Any = None

    def event(self) -> dict[str, Any]:
        """As API Gateway hands it over."""
        headers = {"X-User-Roles": "operator"}
        if self.tenant is not None:
            headers["X-Tenant-ID"] = self.tenant
        path = self.resource
        for name, value in self.parameters.items():
            path = path.replace("{" + name + "}", value)
        return {
            "resource": self.resource,
            "path": path,
            "httpMethod": self.method,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": self.query or None,
            "multiValueQueryStringParameters": {n: [v] for n, v in self.query.items()} or None,
            "pathParameters": self.parameters or None,
            "requestContext": {
                "requestId": "req-1",
                "path": path,
                "stage": "local",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": None if self.body is None else json.dumps(self.body),
            "isBase64Encoded": False,
        }


@dataclass(frozen=True)
class Measured:
    """What one call cost. CPU is the handler's, botocore included and the double left out."""

    calls: int
    items: int
    bytes_read: int
    write_units: int
    cpu_ms: float


class Context:
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "req-1"


class Stack:
    def __init__(self, now: datetime) -> None:
        prepare()
        self.clock = Clock(now)
        # Before anything imports it by name.
        patch("aetherlink.kernel.time.utc_now", self.clock.now).start()
        from aetherlink.platform import behind  # noqa: PLC0415 - after the environment is set

        # What follows requests in a thread is none of a request's calls, and none of its CPU time.
        behind.by_hand()
        properties = dict(template.of_type("AWS::DynamoDB::Table"))
        self.double = Double({v.lower(): properties[name] for v, name in TABLES.items()})
        functions = dict(template.of_type("AWS::Serverless::Function"))
        self._modules = {
            (trigger["Method"], trigger["Path"]): module_of(functions[function])
            for function, _, trigger in template.triggers("Api")
        }
        # What the relay did while events were loaded: batches, calls, write units.
        self.relayed = [0, 0, 0]

    def call(self, call: Call) -> Any:
        """The answer's body. Raises BenchError unless it is a 2xx."""
        answer = self._handler(call)(call.event(), Context())
        if not 200 <= answer["statusCode"] < 300:
            raise BenchError(f"{call} answered {answer['statusCode']}: {answer['body']}")
        return json.loads(answer["body"])

    def _handler(self, call: Call) -> Callable[..., Any]:
        module = importlib.import_module(self._modules[call.method, call.resource])
        handler: Callable[..., Any] = module.lambda_handler
        return handler

    def measure(self, call: Call, *, repeat: int = 7) -> Measured:
        """A warm call: what it reads and writes, and the CPU time that the median one takes."""
        from aetherlink.platform import dynamo  # noqa: PLC0415 - after the environment is set

        handler, event = self._handler(call), call.event()
        gc.collect()
        # What was loaded is none of the handler's garbage.
        gc.freeze()
        seconds = []
        with self.double.on_the_wire(dynamo.client()):
            self.call(call)
            for n in range(repeat):
                self.double.reset()
                started = process_time()
                handler(dict(event), Context())
                seconds.append(process_time() - started - self.double.own_seconds)
                if n == 0:
                    first = self.double.usage
        return Measured(
            calls=first.calls.total(),
            items=first.examined,
            bytes_read=first.bytes_read,
            write_units=first.write_units,
            cpu_ms=1000 * median(seconds),
        )

    def once(self, handler: str, event: dict[str, Any]) -> Measured:
        """A function that is no API, called once: in process, so its CPU time is not looked at."""
        self.double.sent.clear()
        function = importlib.import_module(handler).lambda_handler
        with self.double.in_process():
            self.double.reset()
            function(event, Context())
        used, sent = self.double.reset(), len(self.double.sent)
        return Measured(
            calls=used.calls.total() + sent,
            items=used.examined,
            bytes_read=used.bytes_read,
            write_units=used.write_units,
            cpu_ms=0,
        )

    def load(self, events: Sequence[Event], say: Callable[[str], None]) -> list[Change]:
        """Store events and let the relay do what follows. Their stream records, in order."""
        from aetherlink.wiring import event_store  # noqa: PLC0415

        store, every = event_store(), []
        with self.double.in_process():
            for start in range(0, len(events), BATCH):
                for event in events[start : start + BATCH]:
                    self.clock.at = max(self.clock.at, event.received_at)
                    if store.add(event) is not None:
                        raise BenchError(f"{event.event_id} was there already")
                # Alerts make records of their own.
                while changes := self.double.take_stream("events_table"):
                    self.relay(changes)
                    every += changes
                if start % 10_000 == 0 and start:
                    say(f"{start:,} of {len(events):,} events stored and relayed")
        return every

    def relay(self, changes: Iterable[Change]) -> None:
        """Hand records to the relay, as the trigger does."""
        handler = importlib.import_module("functions.events.relay").lambda_handler
        kept = [change for change in changes if change.new is not None]
        for start in range(0, len(kept), BATCH):
            self.double.reset()
            handler({"Records": [c.record() for c in kept[start : start + BATCH]]}, Context())
            used = self.double.reset()
            done = (1, used.calls.total(), used.write_units)
            self.relayed = [a + b for a, b in zip(self.relayed, done, strict=True)]
        aside = [
            sent for sent in self.double.sent if sent[1].get("QueueUrl", "").endswith("/aside")
        ]
        if aside:
            raise BenchError(f"the relay set records aside: {aside[0]}")
        self.double.sent.clear()


def prepare() -> None:
    """The environment that the functions are told, and their log out of the way."""
    os.environ.update(ENVIRONMENT)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def module_of(function: dict[str, Any]) -> str:
    """The module of a function's handler."""
    return str(function["Handler"]).rpartition(".")[0]
