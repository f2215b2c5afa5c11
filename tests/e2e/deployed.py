"""The deployed stack as the tests see it: its API, its AWS services, and waiting for what it does."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import boto3

from tools.local.place import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

OPERATOR = "operator"
PROBLEM = "application/problem+json"


def unique(word: str) -> str:
    """A name that no other test, run or tenant has."""
    return f"{word}-{uuid.uuid4().hex[:12]}"


# Waits are as long as a machine of one's own needs; others have more to do.
PATIENCE = 3


def wait_for(condition: Callable[[], T], seconds: float, what: str = "") -> T:
    """What `condition` says once that is true. Fails when it is not within some times `seconds`."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}; last: {found!r}")
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")

    def ok(self) -> Any:
        assert self.status == 200, f"answered {self.status}: {self.body}"
        return self.body

    def problem(self, status: int) -> Any:
        """The body of an error, checked for what every problem has (RFC 9457, CONTRACT.md)."""
        assert self.status == status, f"answered {self.status}, not {status}: {self.body}"
        assert self.header("content-type").startswith(PROBLEM), self.headers
        assert self.body["status"] == status
        assert {"type", "title", "detail", "instance", "trace_id"} <= self.body.keys()
        return self.body


class Who(Protocol):
    """How a stack is told who calls: the headers of somebody with these roles, acting for a tenant."""

    def headers(self, roles: str | None, tenant: str | None) -> dict[str, str]: ...


class ByHeader:
    """AuthMode=dev: whoever says it, is it. Roles None: without credentials."""

    def headers(self, roles: str | None, tenant: str | None) -> dict[str, str]:
        given = {"X-User-Roles": roles, "X-Tenant-ID": tenant}
        return {name: value for name, value in given.items() if value is not None}


class ByKey:
    """AuthMode=token: real keys that mean the same, each made when it is first asked for.

    An admin or operator has the cross-tenant grant and names its tenant by X-Tenant-ID; anybody else
    has a key of the one tenant.
    """

    def __init__(self, url: str, admin_key: str) -> None:
        self._url = url
        self._admin_key = admin_key
        self._made: dict[tuple[str, str], str] = {}
        self._making = Lock()

    def headers(self, roles: str | None, tenant: str | None) -> dict[str, str]:
        named = {} if tenant is None else {"X-Tenant-ID": tenant}
        if roles is None:
            return named
        if not roles:
            return {**named, "X-Api-Key": ""}
        is_for_all = bool({"admin", "operator"} & set(roles.split(",")))
        return {**named, "X-Api-Key": self._key(roles, "" if is_for_all else tenant or "default")}

    def _key(self, roles: str, tenant: str) -> str:
        with self._making:
            if (roles, tenant) not in self._made:
                grant = {"tenant_id": tenant} if tenant else {"cross_tenant": True}
                wanted = {"name": f"e2e {roles}", "roles": roles.split(","), **grant}
                self._made[roles, tenant] = make_key(self._url, self._admin_key, wanted)
            return self._made[roles, tenant]


def make_key(url: str, admin_key: str, wanted: dict[str, Any]) -> str:
    """A new key's secret. `wanted` is the body of POST /identity/keys."""
    connection = Connection(url, ByHeader())
    try:
        answer = connection.call(
            "POST",
            "/identity/keys",
            {"expires_in_days": 1, **wanted},
            roles=None,
            headers={"X-Api-Key": admin_key},
        )
    finally:
        connection.close()
    return str(answer.ok()["secret"])


class Connection:
    """One kept-alive connection to the API. For one thread."""

    def __init__(self, url: str, who: Who) -> None:
        self._who = who
        parts = urlsplit(url)
        self._base = parts.path
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        roles: str | None = OPERATOR,
        tenant: str | None = None,
        raw: bytes | None = None,
        query: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body` is sent as JSON, `raw` as it is; roles None: without credentials."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._base + path + (f"?{urlencode(given)}" if given else "")
        content = json.dumps(body).encode() if body is not None else raw
        sent = {"Content-Type": "application/json"} if content is not None else {}
        sent |= self._who.headers(roles, tenant)
        self._http.request(method, target, content, {**sent, **(headers or {})})
        with self._http.getresponse() as answer:
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = "json" in found.get("content-type", "")
        return Answer(answer.status, found, json.loads(text) if is_json and text else text)

    def close(self) -> None:
        self._http.close()


class Api:
    """The deployed API, a connection for each call."""

    def __init__(self, url: str, who: Who) -> None:
        self.url = url
        self.who = who

    def connect(self) -> Connection:
        return Connection(self.url, self.who)

    def call(self, method: str, path: str, body: Any = None, **how: Any) -> Answer:
        connection = self.connect()
        try:
            return connection.call(method, path, body, **how)
        finally:
            connection.close()

    def publish(self, tenant: str | None, source: str, **fields: Any) -> Any:
        return self.call("POST", "/events/publish", envelope(source, **fields), tenant=tenant).ok()

    def recent(self, tenant: str | None, **query: Any) -> list[dict[str, Any]]:
        """Every page of /events/recent."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.call(
                "GET", "/events/recent", tenant=tenant,
                query={"limit": 200, **query, "cursor": cursor},
            ).ok()  # fmt: skip
            assert page["count"] == len(page["events"])
            found += page["events"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def own(self, tenant: str, **query: Any) -> list[dict[str, Any]]:
        """The tenant's events without the platform's, which show in every tenant's views."""
        return [event for event in self.recent(tenant, **query) if event["tenant_id"] == tenant]

    def event(self, tenant: str | None, event_id: str) -> Answer:
        return self.call("GET", f"/events/{quote(event_id, safe='')}", tenant=tenant)

    def alerts(self, tenant: str | None, rule_id: str, word: str = "raised") -> list[Any]:
        """The rule's `ops.alert.raised` or `.resolved`, as /events/recent has them."""
        found = self.recent(tenant, event_type=f"ops.alert.{word}")
        return [event for event in found if event["payload"]["rule_id"] == rule_id]


def envelope(source: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_type": "service.health.failed",
        "source": source,
        "severity": "error",
        "payload": {"service": source},
        **fields,
    }


class Aws:
    """Clients for the emulator's services."""

    def __init__(self, stack: dict[str, Any]) -> None:
        self._session = boto3.Session("test", "test", region_name=stack["region"])
        self._endpoint = stack["endpoint_url"]
        self._stack = stack["stack"]

    def __call__(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]  # any service's name

    def resources(self) -> dict[str, str]:
        """Physical ids by logical id."""
        pages = self("cloudformation").get_paginator("list_stack_resources")
        return {
            found["LogicalResourceId"]: found.get("PhysicalResourceId", "")
            for page in pages.paginate(StackName=self._stack)
            for found in page["StackResourceSummaries"]
        }

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        """What a queue holds; every message is left there, to be received at once by others."""
        sqs = self("sqs")
        found = dict(_received(sqs, queue_url))
        for message in found.values():
            sqs.change_message_visibility(
                QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return list(found.values())

    def bodies(self, queue_url: str) -> list[Any]:
        return [json.loads(message["Body"]) for message in self.messages(queue_url)]


def _received(sqs: Any, queue_url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    while messages := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=30
    ).get("Messages"):
        for message in messages:
            yield message["MessageId"], message


def make(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A `make` of the project, on the Python that the tests run on."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", "--no-print-directory", *words, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
