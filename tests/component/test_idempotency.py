"""Idempotency-Key: once is once, whatever happens in between; and no secret is told twice."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from aetherlink.kernel.access import CREATES, NAMES_EVENTS, ROUTES
from aetherlink.kernel.errors import UnavailableError
from aetherlink.platform import replay
from aetherlink.platform.dynamo import Table
from tests.component.conftest import Answer, Stack

RULE = {"name": "r", "window_seconds": 60, "threshold": 1}
SERVICE = {"name": "a", "url": "http://a.example"}
EVENT = {"event_type": "lead.created", "source": "crm", "payload": {"name": "x", "n": 1}}
KEY = "6f1d5c1e-8f4c-4d7e-9b3e-2a1d4c5b6a79"
REUSED = (
    "this key came with another request before; a new request needs a new key, and the same one "
    "must be repeated with the same path, query and body"
)


def create(stack: Stack, body: Any = RULE, *, key: str | None = KEY, **given: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return stack.call(
        "POST", given.pop("path", "/alerts/rules"), body=body, headers=headers, **given
    )


def rules(stack: Stack, **given: Any) -> int:
    count: int = stack.call("GET", "/alerts/rules", **given).body["count"]
    return count


def kept() -> list[dict[str, Any]]:
    found = boto3.client("dynamodb").scan(TableName="control-test")["Items"]
    return [item for item in found if item["pk"]["S"].endswith("#idempotency")]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The AWS calls that requests make, those behind them left out."""
    made: list[str] = []
    make = BaseClient._make_api_call  # type: ignore[attr-defined]  # the stubs leave it out

    def watched(client: Any, operation: str, given: Any) -> Any:
        if not (given.get("Key", {}).get("pk", {}).get("S", "")).endswith(("#requests", "#rates")):
            made.append(f"{operation} {given.get('TableName', '')}")
        return make(client, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", watched)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Now, as keys are kept by; its one element can be replaced."""
    instants = [datetime.now(UTC)]
    monkeypatch.setattr(replay, "utc_now", lambda: instants[0])
    return instants


# ---- the same request again


def test_the_same_request_again_gets_the_first_answer(stack: Stack) -> None:
    first, again = create(stack), create(stack)

    assert (first.status, again.status, rules(stack)) == (200, 200, 1)
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers["X-Content-Type-Options"] == "nosniff"


def test_without_a_key_each_request_is_one(stack: Stack) -> None:
    first, again = create(stack, key=None), create(stack, key=None)

    assert (first.body["rule_id"] != again.body["rule_id"], rules(stack)) == (True, 2)
    assert kept() == []


def test_without_a_key_nothing_is_paid(stack: Stack, calls: list[str]) -> None:
    create(stack, key=None)
    plain = list(calls)
    calls.clear()
    create(stack)

    assert "PutItem control-test" in plain
    assert len(calls) == len(plain) + 2


def test_how_the_body_is_spelt_makes_no_difference(stack: Stack) -> None:
    create(stack)
    headers = {"Idempotency-Key": KEY}

    again = stack.call(
        "POST",
        "/alerts/rules",
        raw='{ "threshold": 1,\n "name": "\\u0072", "window_seconds": 60 }',
        headers=headers,
    )

    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")


def test_the_name_of_the_header_ignores_case(stack: Stack) -> None:
    first = stack.call("POST", "/alerts/rules", body=RULE, headers={"idempotency-KEY": KEY})

    assert create(stack).body == first.body


@pytest.mark.parametrize(
    "other",
    [
        {"body": {**RULE, "name": "s"}},
        {"body": {**RULE, "threshold": 2}},
        {"body": {}},
        {"query": {"x": "1"}},
    ],
)
def test_the_same_key_with_another_request_is_422(stack: Stack, other: dict[str, Any]) -> None:
    create(stack)

    answer = create(stack, other.pop("body", RULE), **other)

    assert (answer.status, rules(stack)) == (422, 1)
    assert answer.body["errors"] == [{"pointer": "header/Idempotency-Key", "detail": REUSED}]


def test_a_key_is_the_tenants_own(stack: Stack) -> None:
    mine, theirs = create(stack, tenant="acme"), create(stack, tenant="globex")

    assert mine.body["rule_id"] != theirs.body["rule_id"]
    assert "Idempotency-Replayed" not in theirs.headers
    assert create(stack, tenant="globex").body == theirs.body
    assert {item["pk"]["S"] for item in kept()} == {"acme#idempotency", "globex#idempotency"}


def test_a_key_is_the_callers_own(stack: Stack) -> None:
    mine, theirs = create(stack, roles="operator"), create(stack, roles="admin")

    assert mine.body["rule_id"] != theirs.body["rule_id"]


def test_a_key_is_the_routes_own(stack: Stack) -> None:
    create(stack)

    answer = create(stack, SERVICE, path="/ops/register")

    assert (answer.status, "Idempotency-Replayed" in answer.headers) == (200, False)


def test_naming_a_tenant_is_not_the_same_as_naming_none(stack: Stack) -> None:
    everyone, one = create(stack), create(stack, tenant="default")

    assert (everyone.body["rule"]["tenant_id"], one.body["rule"]["tenant_id"]) == (None, "default")


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ü", "\x7f", "a\n", "\x00"])
def test_what_is_no_key_is_422(stack: Stack, key: str) -> None:
    for answer in (create(stack, key=key), create(stack, EVENT, key=key, path="/events/publish")):
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (
            422,
            "header/Idempotency-Key",
        )
    assert rules(stack) == 0


@pytest.mark.parametrize("key", ["x", "~!", "x" * 255])
def test_any_visible_ascii_is_a_key(stack: Stack, key: str) -> None:
    assert create(stack, key=key).body == create(stack, key=key).body


def test_a_stranger_learns_nothing_of_a_key(stack: Stack) -> None:
    create(stack)

    assert create(stack, roles=None).status == 401
    assert create(stack, roles="viewer").status == 403


# ---- refusals, failures, crashes


def test_a_refused_request_leaves_its_key_free(stack: Stack) -> None:
    wrong = create(stack, {**RULE, "threshold": 0})
    right = create(stack)

    assert (wrong.status, right.status) == (422, 200)
    assert "Idempotency-Replayed" not in right.headers


def test_after_a_failure_of_ours_the_key_runs_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerting = importlib.import_module("functions.alerts.api").alerting
    with monkeypatch.context() as broken:
        broken.setattr(alerting, "create", lambda *_, **__: 1 / 0)
        assert create(stack).status == 500

    assert (create(stack).status, rules(stack)) == (200, 1)


def test_while_it_runs_the_same_request_is_409(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerting = importlib.import_module("functions.alerts.api").alerting
    really = alerting.create
    meanwhile: list[Answer] = []

    def slow(*given: Any, **named: Any) -> Any:
        # While its lock holds the second one cannot come here, and go round for ever.
        meanwhile.append(create(stack))
        return really(*given, **named)

    monkeypatch.setattr(alerting, "create", slow)
    first = create(stack)

    (second,) = meanwhile
    assert (second.status, second.headers["Retry-After"]) == (409, "2")
    assert second.body["title"] == "Conflict"
    assert (first.status, rules(stack)) == (200, 1)


def test_another_request_while_it_runs_is_422(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(stack, monkeypatch)

    assert create(stack, {**RULE, "name": "s"}).status == 422


def crash(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends without a word, as one that Lambda kills."""
    with monkeypatch.context() as broken:
        broken.setattr(replay, "_free", lambda *_: None)
        alerting = importlib.import_module("functions.alerts.api").alerting
        broken.setattr(alerting, "create", lambda *_, **__: 1 / 0)
        assert create(stack).status == 500


def test_a_run_that_crashed_frees_its_key_after_a_minute(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, clock: list[datetime]
) -> None:
    crash(stack, monkeypatch)

    clock[0] += timedelta(seconds=59)
    waiting = create(stack)
    clock[0] += timedelta(seconds=2)
    again = create(stack)

    assert (waiting.status, waiting.headers["Retry-After"]) == (409, "1")
    assert (again.status, rules(stack)) == (200, 1)


def test_a_run_that_was_overtaken_neither_keeps_nor_frees(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, clock: list[datetime]
) -> None:
    alerting = importlib.import_module("functions.alerts.api").alerting
    really = alerting.create
    overtaking: list[Answer] = []

    def slow(*given: Any, **named: Any) -> Any:
        made = really(*given, **named)
        monkeypatch.setattr(alerting, "create", really)
        clock[0] += timedelta(seconds=61)
        overtaking.append(create(stack))
        return made

    monkeypatch.setattr(alerting, "create", slow)
    create(stack)

    assert create(stack).body == overtaking[0].body


def test_an_answer_is_kept_for_a_day(stack: Stack, clock: list[datetime]) -> None:
    first = create(stack)
    clock[0] += timedelta(hours=23, minutes=59)
    within = create(stack)
    clock[0] += timedelta(minutes=2)
    after = create(stack)

    assert within.body == first.body
    assert after.body["rule_id"] != first.body["rule_id"]
    (item,) = kept()
    assert int(item["expires_at"]["N"]) == int((clock[0] + timedelta(hours=24)).timestamp())


def test_where_the_key_cannot_be_looked_up_nothing_is_done(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")

    ran: list[object] = []
    alerting = importlib.import_module("functions.alerts.api").alerting
    with monkeypatch.context() as broken:
        broken.setattr(BaseClient, "_make_api_call", down)
        broken.setattr(alerting, "create", lambda *given, **_: ran.append(given))
        answer = create(stack)

    assert (answer.status, answer.headers["Retry-After"], ran) == (503, "2", [])


def test_what_is_done_is_said_though_it_could_not_be_kept(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Table.put

    def fails_to_keep(table: Table, values: dict[str, Any], **given: Any) -> None:
        if "is_done" in values:
            raise UnavailableError("The database could not be reached; try again")
        put(table, values, **given)

    monkeypatch.setattr(Table, "put", fails_to_keep)
    first, again = create(stack), create(stack)

    assert (first.status, again.status, rules(stack)) == (200, 409, 1)


# ---- what is kept


def _answering(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    monkeypatch.setattr(registry, "register", lambda *_: answer)


def test_a_secret_is_neither_kept_nor_told_twice(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "ak_" + "A1b2" * 7 + "x"
    shown = {
        "status": "ok",
        "registration_token": "rt_" + "0" * 29,
        "key": {"id": "k1", "secret": secret, "hint": f"use {secret}"},
        "others": [{"token": "opaque"}, {"ticket": "opaque"}, {"next_token": None}],
        "count": 1,
    }
    _answering(monkeypatch, shown)

    first = create(stack, SERVICE, path="/ops/register")
    again = create(stack, SERVICE, path="/ops/register")

    assert first.body == shown
    assert again.body == {
        "status": "ok",
        "registration_token": None,
        "key": {"id": "k1", "secret": None, "hint": None},
        "others": [{"token": None}, {"ticket": None}, {"next_token": None}],
        "count": 1,
        "note": "This answer is a repetition. Secrets are shown once, and are left out of it",
    }
    stored = str(kept())
    assert [word for word in (secret, "rt_0", "opaque", KEY) if word in stored] == []


def test_an_answer_too_large_to_keep_is_not_made_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answering(monkeypatch, {"status": "ok", "text": "x" * 300_001})

    first = create(stack, SERVICE, path="/ops/register")
    again = create(stack, SERVICE, path="/ops/register")

    assert (first.status, again.status) == (200, 409)
    assert "too large to be kept" in again.body["detail"]
    assert "Retry-After" not in again.headers


def test_a_repetition_leaves_no_audit_record_of_a_change(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended: list[int] = []
    monkeypatch.setattr(
        "aetherlink.platform.auditing.append", lambda *_, status, **__: appended.append(status)
    )

    create(stack)
    create(stack)

    assert appended == [200]


# ---- which routes


def test_the_routes_that_take_a_key_are_routes() -> None:
    assert ROUTES.keys() >= CREATES | NAMES_EVENTS
    assert CREATES.isdisjoint(NAMES_EVENTS)
    assert {method for method, _ in CREATES | NAMES_EVENTS} == {"POST"}


def test_every_post_either_takes_a_key_or_says_why_not() -> None:
    posts = {path for method, path in ROUTES if method == "POST"}

    assert posts - {path for _, path in CREATES | NAMES_EVENTS} == {
        "/ops/services/{name}/heartbeat",
        "/events/cloudevents",
        "/events/stream/ticket",
        "/alerts/evaluate",
        "/alerts/silences/preview",
        "/alerts/{alert_id}/ack",
        "/alerts/act",
        "/notifications/endpoints/{endpoint_id}/enable",
        "/notifications/test",
        "/ingest/alertmanager",
        "/ingest/pagerduty/v2/enqueue",
        "/ingest/ping/{key}",
        "/ingest/ping/{key}/{word}",
        "/autoheal/run",
        "/autoheal/approvals/{approval_id}",
        "/orchestrate",
        "/summaries/extract-lead",
        "/v1/chat/completions",
        "/providers/{name}/reset",
    }


def test_a_route_that_takes_no_key_ignores_it(stack: Stack, calls: list[str]) -> None:
    for _ in range(2):
        answer = stack.call("POST", "/alerts/evaluate", headers={"Idempotency-Key": "no key"})
        assert (answer.status, "Idempotency-Replayed" in answer.headers) == (200, False)
    assert kept() == []


# ---- publishing


def publish(stack: Stack, body: Any = EVENT, key: str = KEY, **given: Any) -> Answer:
    return create(stack, body, key=key, path="/events/publish", **given)


def test_a_key_names_the_event_that_has_no_id(stack: Stack) -> None:
    first, again = publish(stack), publish(stack)

    assert (first.status, first.body["duplicate"], again.body["duplicate"]) == (200, False, True)
    assert first.body["event_id"] == again.body["event_id"]
    assert first.body["received_at"] == again.body["received_at"]
    assert KEY not in first.body["event_id"]
    assert len(stack.recent()) == 1


def test_publishing_by_key_is_one_call(stack: Stack, calls: list[str]) -> None:
    publish(stack, key="warm-up")
    calls.clear()
    publish(stack)
    publish(stack)

    assert calls == ["PutItem events-test"] * 2


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"name": "y", "n": 1}},
        {"payload": {"name": "x", "n": True}},
        {"payload": {}},
        {"severity": "error"},
        {"schema_version": "2"},
        {"timestamp": "2026-01-01T00:00:00Z"},
        {"event_type": "lead.assigned"},
    ],
)
def test_the_same_key_with_another_event_is_422(stack: Stack, other: dict[str, Any]) -> None:
    publish(stack)

    answer = publish(stack, {**EVENT, **other})

    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"] == "header/Idempotency-Key"
    assert len(stack.recent()) == 1


@pytest.mark.parametrize(
    "stated", [{}, {"timestamp": "2026-11-01T00:00:00Z"}, {"timestamp": "2099-01-01T00:00:00Z"}]
)
def test_the_same_event_again_is_the_same_whatever_its_spelling(
    stack: Stack, stated: dict[str, str]
) -> None:
    publish(stack, {**EVENT, **stated})

    again = publish(
        stack,
        {
            "payload": {"n": 1, "name": "x"},
            **stated,
            "severity": "INFO",
            "source": "crm",
            "event_type": "lead.created",
        },
    )

    assert (again.status, again.body["duplicate"]) == (200, True)


def test_an_event_with_an_id_of_its_own_has_no_need_of_a_key(stack: Stack) -> None:
    first = publish(stack, {**EVENT, "event_id": "e1"})
    other = publish(stack, {**EVENT, "event_id": "e1", "payload": {}})

    assert (first.body["event_id"], other.status, other.body["duplicate"]) == ("e1", 200, True)


def test_a_publishers_key_is_its_own(stack: Stack) -> None:
    mine, theirs = publish(stack, roles="agent"), publish(stack, roles="operator", tenant="default")

    assert mine.body["event_id"] != theirs.body["event_id"]
    assert publish(stack, tenant="acme").body["duplicate"] is False


def test_a_batch_by_key_again_stores_nothing_more(stack: Stack) -> None:
    batch = [{**EVENT, "payload": {"n": n}} for n in range(3)] + [{**EVENT, "event_id": "own"}]

    first = create(stack, batch, path="/events/batch")
    again = create(stack, {"events": batch}, path="/events/batch")

    assert [r["duplicate"] for r in first.body["results"]] == [False] * 4
    assert [r["duplicate"] for r in again.body["results"]] == [True] * 4
    assert len(stack.recent()) == 4


def test_of_a_batch_by_key_each_event_that_differs_is_refused(stack: Stack) -> None:
    batch = [{**EVENT, "payload": {"n": n}} for n in range(3)]
    create(stack, batch, path="/events/batch")

    again = create(stack, [batch[0], batch[2], batch[1]], path="/events/batch")

    assert again.status == 207
    assert [r["http_status"] for r in again.body["results"]] == [200, 422, 422]


def test_a_batch_and_a_single_event_may_share_a_key(stack: Stack) -> None:
    publish(stack)

    assert create(stack, [EVENT], path="/events/batch").body["results"][0]["duplicate"] is False


def test_cloud_events_have_ids_and_ignore_the_key(stack: Stack) -> None:
    event = {"specversion": "1.0", "type": "lead.created", "source": "crm", "data": {}}
    headers = {"Idempotency-Key": "no key", "Content-Type": "application/cloudevents+json"}

    answers = [
        stack.call("POST", "/events/cloudevents", body={**event, "id": i}, headers=headers)
        for i in ("a", "b", "a")
    ]

    assert [(a.status, a.body["duplicate"]) for a in answers] == [
        (202, False),
        (202, False),
        (202, True),
    ]
