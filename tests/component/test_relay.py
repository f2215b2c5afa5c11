"""The events table's stream: what one bad record does, and what comes again."""

from __future__ import annotations

import importlib
import logging
from copy import deepcopy
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from aetherlink.kernel.errors import UnavailableError
from tests.component.conftest import Stack


def relay(event: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = importlib.import_module("functions.events.relay").lambda_handler(
        event, None
    )
    return answer


def poison(record: dict[str, Any], **image: Any) -> dict[str, Any]:
    """A copy of a stream record under another key, with its image damaged."""
    bad = deepcopy(record)
    change = bad["dynamodb"]
    change["Keys"]["pk"] = change["NewImage"]["pk"] = {"S": "acme#poison"}
    change["NewImage"].update(image)
    return bad


@pytest.mark.parametrize(
    "image",
    [
        {"payload": {"S": "{"}},
        {"at": {"S": "yesterday"}},
        {"severity": {"S": "fatal"}},
        {"event_type": {"NULL": True}},
        {"payload": {"N": "1"}},
        {"pk": {"S": "no tenant"}},
    ],
)
def test_a_record_that_cannot_be_read_is_set_aside_and_the_rest_go_on(
    stack: Stack, image: dict[str, Any]
) -> None:
    stack.publish(tenant="acme", event_id="e1")
    stack.publish(tenant="acme", event_id="e2")
    first, second = stack.records()

    answer = relay({"Records": [first, poison(first, **image), second]})

    assert answer == {"batchItemFailures": []}
    assert sorted(event["event_id"] for event in stack.recent()) == ["e1", "e2"]
    (aside,) = stack.queue("aside-test")
    assert (aside["pk"], aside["sk"]) == ("acme#poison", "test")
    assert aside["reason"]


def test_an_event_that_nothing_can_be_made_of_is_set_aside_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("functions.events.relay")
    judged: list[str] = []

    def observe(events: Any) -> None:
        if any(event.event_id == "e2" for event in events):
            raise RuntimeError("no rule can be judged by it")
        judged.extend(event.event_id for event in events)

    monkeypatch.setattr(module.relay._judge, "observe", observe)
    for name in ("e1", "e2", "e3"):
        stack.publish(tenant="acme", event_id=name)
    relay({"Records": stack.records()})

    assert judged == ["e1", "e3"]
    (aside,) = stack.queue("aside-test")
    assert aside == {
        "pk": "acme#e2",
        "sk": "test",
        "reason": "RuntimeError: no rule can be judged by it",
    }


def test_a_record_that_was_set_aside_can_be_sent_again(stack: Stack) -> None:
    stack.publish(tenant="acme", event_id="e1")
    assert stack.recent() == []

    answer = relay({"redrive": [{"pk": "acme#e1", "sk": "test"}]})

    assert answer == {"redriven": 1, "failed": []}
    assert [event["event_id"] for event in stack.recent()] == ["e1"]


def test_a_redrive_says_what_failed_again(stack: Stack) -> None:
    stack.publish(tenant="acme", event_id="e1")
    keys = [{"pk": "acme#gone", "sk": "test"}, {"pk": "acme#e1", "sk": "test"}]

    answer = relay({"redrive": keys})

    assert answer == {"redriven": 1, "failed": [{"pk": "acme#gone", "sk": "test"}]}
    (aside,) = stack.queue("aside-test")
    assert aside["reason"] == "BrokenItemError: there is no such event any more"


def test_a_change_that_leaves_the_event_where_it_was_is_no_news(stack: Stack) -> None:
    stack.publish(tenant="acme", event_id="e1")
    (record,) = stack.records()
    record["eventName"] = "MODIFY"
    record["dynamodb"]["OldImage"] = deepcopy(record["dynamodb"]["NewImage"])

    relay({"Records": [record]})

    assert stack.recent() == []


def test_an_event_that_takes_the_place_of_an_expired_one_is_news(stack: Stack) -> None:
    stack.publish(tenant="acme", event_id="e1")
    (record,) = stack.records()
    record["eventName"] = "MODIFY"
    old = deepcopy(record["dynamodb"]["NewImage"])
    old["at"] = {"S": "2020-01-01T00:00:00.000000Z#2020-01-01T00:00:00.000000Z#0123456789ab"}
    record["dynamodb"]["OldImage"] = old

    relay({"Records": [record]})

    assert [event["event_id"] for event in stack.recent()] == ["e1"]


def test_a_removal_is_no_news(stack: Stack) -> None:
    keys = {"pk": {"S": "acme#e1"}, "sk": {"S": "test"}}

    answer = relay({"Records": [{"eventName": "REMOVE", "dynamodb": {"Keys": keys}}]})

    assert answer == {"batchItemFailures": []}
    assert stack.queue("aside-test") == []


def test_an_empty_batch_is_no_trouble(stack: Stack) -> None:
    assert relay({"Records": []}) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    "failure",
    [
        EndpointConnectionError(endpoint_url="https://dynamodb"),
        ClientError({"Error": {"Code": "ThrottlingException"}}, "BatchWriteItem"),
        ClientError({"Error": {"Code": "InternalServerError"}}, "BatchWriteItem"),
    ],
)
def test_a_database_that_does_not_answer_makes_the_batch_come_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    stack.publish(tenant="acme", event_id="e1")
    records = stack.records()

    def down(*_: Any, **__: Any) -> None:
        raise failure

    with monkeypatch.context() as outage:
        outage.setattr(BaseClient, "_make_api_call", down)
        with pytest.raises(UnavailableError):
            relay({"Records": records})
    assert stack.queue("aside-test") == []
    relay({"Records": records})
    assert [event["event_id"] for event in stack.recent()] == ["e1"]


def test_a_write_that_the_database_takes_in_part_is_finished(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = vars(BaseClient)["_make_api_call"]
    calls: list[str] = []

    def partly(self: Any, name: str, given: Any) -> Any:
        if name != "BatchWriteItem":
            return real(self, name, given)
        calls.append(name)
        ((table, writes),) = given["RequestItems"].items()
        now, later = writes[:1], writes[1:]
        answer = real(self, name, {**given, "RequestItems": {table: now}})
        return {**answer, "UnprocessedItems": {table: later} if later else {}}

    for n in range(3):
        stack.publish(tenant="acme", event_id=f"e{n}", timestamp=f"2026-01-0{n + 1}T00:00:00Z")
    records = stack.records()
    monkeypatch.setattr(BaseClient, "_make_api_call", partly)
    relay({"Records": records})

    assert len(calls) > 3


def test_a_relay_run_logs_how_much_it_did(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    stack.publish(tenant="acme")
    with caplog.at_level(logging.INFO):
        stack.relay()

    (line,) = [record for record in caplog.records if record.message == "relayed"]
    assert (line.__dict__["records"], line.__dict__["set_aside"]) == (1, 0)
