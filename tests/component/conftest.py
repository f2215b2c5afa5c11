"""A stack on moto, made from the template's own tables and queues; and calls shaped like the gateway's."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
import yaml
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from aetherlink.kernel.access import ROUTES
from tests.component import permissions

ROOT = Path(__file__).parents[2]


class _Template(yaml.SafeLoader):
    """CloudFormation's short functions as their arguments; only literals are looked at here."""


_Template.add_multi_constructor("!", lambda loader, suffix, node: _argument(loader, node))


def _argument(loader: yaml.Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


@cache
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Template)
    return loaded


HANDLERS = {
    "CenterApi": "functions.center.api",
    "RegistryApi": "functions.registry.api",
    "EventsPublish": "functions.events.publish",
    "EventsApi": "functions.events.api",
    "EventsStream": "functions.events.stream",
    "RetentionApi": "functions.retention.api",
    "JobsApi": "functions.jobs.api",
    "IdentityApi": "functions.identity.api",
    "AuditApi": "functions.audit.api",
    "TenantsApi": "functions.tenants.api",
    "AlertsApi": "functions.alerts.api",
    "NotificationsApi": "functions.notify.api",
    "IngestApi": "functions.ingest.api",
    "AiApi": "functions.ai.api",
    "HealApi": "functions.heal.api",
    "HealRunner": "functions.heal.runner",
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Stack:
    """The deployed parts, called as AWS would call them."""

    delivered: int = 0
    sealed: int = 0
    topic: list[dict[str, Any]] = field(default_factory=list)

    def call(
        self,
        method: str,
        path: str,
        *,
        roles: str | None = "operator",
        tenant: str | None = None,
        body: Any = None,
        raw: str | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        is_base64: bool = False,
    ) -> Answer:
        given = dict(headers or {})
        if roles is not None:
            given["X-User-Roles"] = roles
        if tenant is not None:
            given["X-Tenant-ID"] = tenant
        resource, parameters = self._resource(method, path)
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "headers": given,
            "multiValueHeaders": {name: [value] for name, value in given.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": {n: [v] for n, v in (query or {}).items()} or None,
            "pathParameters": parameters,
            "requestContext": {
                "requestId": "req-1",
                "path": path,
                "stage": "local",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": raw if raw is not None else (json.dumps(body) if body is not None else None),
            "isBase64Encoded": is_base64,
        }
        answer = self.handler(method, resource)(event, Context())
        headers_out = {n: ", ".join(v) for n, v in (answer.get("multiValueHeaders") or {}).items()}
        text = answer.get("body")
        is_json = "json" in headers_out.get("Content-Type", "")
        return Answer(
            answer["statusCode"], headers_out, json.loads(text) if text and is_json else text
        )

    def handler(self, method: str, resource: str) -> Callable[..., Any]:
        for name, function in template()["Resources"].items():
            for trigger in (function.get("Properties", {}).get("Events") or {}).values():
                at = trigger["Properties"]
                if (at.get("Method"), at.get("Path")) == (method, resource):
                    module = importlib.import_module(HANDLERS[name])
                    handler: Callable[..., Any] = module.lambda_handler
                    return permissions.acting_as(name)(handler)
        raise LookupError(f"no function takes {method} {resource}")

    def _resource(self, method: str, path: str) -> tuple[str, dict[str, str] | None]:
        wanted = path.strip("/").split("/")
        fits = []
        for verb, route in ROUTES:
            parts = route.strip("/").split("/")
            pairs = list(zip(parts, wanted, strict=False))
            if (
                verb == method
                and len(parts) == len(wanted)
                and all(p.startswith("{") or p == w for p, w in pairs)
            ):
                found = {p[1:-1]: w for p, w in pairs if p.startswith("{")}
                fits.append((route, found or None))
        if fits:
            return min(fits, key=lambda fit: fit[0].count("{"))
        return "/{proxy+}", {"proxy": path.strip("/")}

    def records(self) -> list[dict[str, Any]]:
        """The stream's records since the last call, as the relay's trigger filters them."""
        every = _stream("events-test")
        new, self.delivered = every[self.delivered :], len(every)
        return [r for r in new if r["eventName"] in ("INSERT", "MODIFY")]

    def seal(self) -> dict[str, int]:
        """Deliver the audit table's stream records since the last call to the sealer; its answer."""
        every = _stream("audit-test")
        new, self.sealed = every[self.sealed :], len(every)
        handler = importlib.import_module("functions.audit.sealer").lambda_handler
        answer: dict[str, int] = handler({"Records": new}, Context())
        return answer

    def relay(self) -> None:
        """Deliver stream records until there are none: alerts make records of their own."""
        handler = importlib.import_module("functions.events.relay").lambda_handler
        while records := self.records():
            handler({"Records": records}, Context())

    def queue(self, name: str) -> list[dict[str, Any]]:
        """Messages that wait, parsed; they are gone afterwards."""
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = []
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def run_jobs(self) -> list[str]:
        """Let the worker take every message of the jobs queue, delayed ones at once, until there is
        none. The bodies of messages that failed come back; they are in the queue again."""
        handler = importlib.import_module("functions.jobs.worker").lambda_handler
        sqs = boto3.client("sqs")
        url = sqs.get_queue_url(QueueName="jobs-test")["QueueUrl"]
        failed: dict[str, str] = {}
        with patch("aetherlink.platform.messaging.MAX_DELAY_SECONDS", 0):
            while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages"):
                message = got[0]
                records = [{"messageId": message["MessageId"], "body": message["Body"]}]
                if handler({"Records": records}, Context())["batchItemFailures"]:
                    failed[message["ReceiptHandle"]] = message["Body"]
                else:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        for receipt in failed:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        return list(failed.values())

    def publish(self, event_type: str = "autoheal.failed", **given: Any) -> Answer:
        tenant = given.pop("tenant", None)
        payload = given.pop("payload", {"service": "a", "action": "restart", "error": "boom"})
        body = {"event_type": event_type, "source": "test", "payload": payload, **given}
        return self.call("POST", "/events/publish", body=body, tenant=tenant)

    def recent(self, tenant: str | None = None, **query: str) -> list[dict[str, Any]]:
        answer = self.call("GET", "/events/recent", tenant=tenant, query=query)
        assert answer.status == 200, answer.body
        events: list[dict[str, Any]] = answer.body["events"]
        return events


def _stream(name: str) -> list[dict[str, Any]]:
    """Every record of a table's stream. From moto's table itself: its streams API does not answer
    DescribeStream."""
    table = dynamodb_backends["123456789012"]["us-east-1"].tables[name]
    assert table.stream_shard is not None
    return [record.to_json() for record in table.stream_shard.items]


class Context:
    function_name = "test"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:test"
    aws_request_id = "req-1"


@pytest.fixture
def stack() -> Iterator[Stack]:
    with standing() as made:
        yield made


QUEUES = ("aside-test", "notifications-test", "dead-test", "jobs-test", "due-test", "shares-test")
TABLES = (("EventsTable", "events-test"), ("ProjectionsTable", "projections-test"),
          ("ControlTable", "control-test"), ("AuditTable", "audit-test"))  # fmt: skip
ACCOUNT, REGION = "123456789012", "us-east-1"


@contextmanager
def standing() -> Iterator[Stack]:
    """An empty stack, for a test or for a module of them.

    It is made once a process and emptied for each: making clients and tables takes longer than most
    tests do.
    """
    if not _is_standing():
        _make()
    _empty()
    forget()
    permissions.watch()
    permissions.refused.clear()
    yield Stack()
    forget()
    assert not permissions.refused, sorted(set(permissions.refused))


def _is_standing() -> bool:
    tables = dynamodb_backends[ACCOUNT][REGION].tables
    return bool(_MOCKS) and all(name in tables for _, name in TABLES)


_MOCKS: list[Any] = []


def _make() -> None:
    from aetherlink.platform import dynamo, messaging, objects

    if not _MOCKS:
        _MOCKS.append(mock_aws())
        _MOCKS[0].start()
    for backends in (dynamodb_backends, sqs_backends, sns_backends):
        backends[ACCOUNT][REGION].reset()
    # Clients are cached per process, and moto's must be made inside its mock.
    for cached in (dynamo.client, messaging._sns, messaging._sqs, objects._s3):
        cached.cache_clear()
    resources = template()["Resources"]
    for name, table in TABLES:
        _make_table(table, resources[name]["Properties"])
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alerts-test")["TopicArn"]
    for queue in QUEUES:
        sqs.create_queue(QueueName=queue)
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:notifications-test",
        Attributes={"RawMessageDelivery": "true"},
    )


def _empty() -> None:
    """Nothing in tables, streams, queues and buckets."""
    for table in dynamodb_backends[ACCOUNT][REGION].tables.values():
        table.items.clear()
        if table.stream_shard:
            table.stream_shard.items.clear()
    for queue in sqs_backends[ACCOUNT][REGION].queues.values():
        queue._messages.clear()
        queue.pending_messages.clear()
    s3_backends[ACCOUNT]["aws"].reset()


def forget() -> None:
    """What this process remembers of tables that are no more."""
    from aetherlink import wiring
    from aetherlink.platform import behind, rates, tally

    # No thread writes when the mock has ended; a test that looks for what it would write runs it.
    behind.by_hand()
    for module in (behind, tally, rates):
        module.forget()
    wiring.one_click_key.cache_clear()
    wiring.orchestrator.cache_clear()
    wiring.keeping()._read_at = None
    wiring.subscriptions()._read_at = None
    wiring.notification_rules()._known.clear()
    wiring.journal()._last.clear()
    wiring.journal()._listed.clear()


def _make_table(name: str, properties: dict[str, Any]) -> None:
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    given = {key: properties[key] for key in kept if key in properties}
    if "StreamSpecification" in properties:
        given["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
    boto3.client("dynamodb").create_table(TableName=name, **given)
