"""events/*.json: one of what each trigger sends, taken by the handler that it is for."""

from __future__ import annotations

import importlib
import json
from typing import Any

from tests.component.conftest import ROOT, Context, Stack

HANDLERS = {
    "api-gateway-get.json": "functions.events.api",
    "api-gateway-get-by-id.json": "functions.events.api",
    "api-gateway-post.json": "functions.events.publish",
    "dynamodb-stream.json": "functions.events.relay",
    "relay-redrive.json": "functions.events.relay",
    "schedule.json": "functions.alerts.evaluator",
    "sqs-batch.json": "functions.notify.dispatcher",
}


def run(name: str) -> Any:
    event = json.loads((ROOT / "events" / name).read_text())
    return importlib.import_module(HANDLERS[name]).lambda_handler(event, Context())


def test_every_sample_has_its_handler() -> None:
    assert {path.name for path in (ROOT / "events").glob("*.json")} == set(HANDLERS)


def test_the_posted_sample_is_what_the_fetched_samples_find(stack: Stack) -> None:
    posted = run("api-gateway-post.json")
    listed, one = run("api-gateway-get.json"), run("api-gateway-get-by-id.json")

    assert [answer["statusCode"] for answer in (posted, listed, one)] == [200, 200, 200]
    assert json.loads(listed["body"])["count"] == 1
    found = json.loads(one["body"])
    assert (found["event_id"], found["tenant_id"]) == ("order/42", "acme")
    assert found["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_problem_of_a_gateway_request_names_the_path_that_was_called(stack: Stack) -> None:
    answer = run("api-gateway-get-by-id.json")

    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["instance"] == "/local/events/order%2F42"


def test_the_stream_sample_is_relayed_and_its_bad_record_set_aside(stack: Stack) -> None:
    assert run("dynamodb-stream.json") == {"batchItemFailures": []}
    (aside,) = stack.queue("aside-test")
    assert (aside["pk"], aside["sk"]) == ("acme#heal-3", "auto-heal")


def test_the_redrive_sample_names_what_is_no_more(stack: Stack) -> None:
    assert run("relay-redrive.json") == {
        "redriven": 0,
        "failed": [{"pk": "acme#heal-1", "sk": "auto-heal"}],
    }


def test_the_schedule_sample_sweeps(stack: Stack) -> None:
    assert run("schedule.json") == {
        "due": 0,
        "missed": 0,
        "muted": 0,
        "batchItemFailures": [],
    }


def test_the_queue_sample_opens_a_delivery_and_reports_the_unreadable_message(
    stack: Stack,
) -> None:
    dispatcher = importlib.import_module("functions.notify.dispatcher").dispatcher

    assert run("sqs-batch.json") == {
        "batchItemFailures": [{"itemIdentifier": "d6b1c3f2-5a0e-4c76-9a8b-0c1d2e3f4a5b"}]
    }
    items = dispatcher._deliveries._table.query_all("pk = :pk", pk="system#deliveries")
    # Nobody listens at port 1, which tests/conftest.py configures.
    assert [item["state"] for item in items] == ["pending"]
