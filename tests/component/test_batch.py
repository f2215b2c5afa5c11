"""POST /events/batch: many events in one request, results in order."""

from __future__ import annotations

import base64
import importlib
import json
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from tests.component.conftest import Answer, Stack

FOUR_MB = 4 * 1024 * 1024
HEAL = {"service": "a", "action": "restart", "error": "boom"}


def lead(event_id: str | None = None, **given: Any) -> dict[str, Any]:
    named = {"event_id": event_id} if event_id else {}
    return {"event_type": "lead.created", "source": "crm", "payload": {}, **named, **given}


def post(stack: Stack, events: Any, **given: Any) -> Answer:
    return stack.call("POST", "/events/batch", body=events, **given)


def statuses(answer: Answer) -> list[int]:
    return [result["http_status"] for result in answer.body["results"]]


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_every_event_of_a_batch_is_stored(stack: Stack, is_wrapped: bool) -> None:
    events = [lead(f"e{n}") for n in range(30)]

    answer = post(stack, {"events": events} if is_wrapped else events)

    assert answer.status == 200
    results = answer.body.pop("results")
    assert answer.body == {"status": "ok", "count": 30, "stored": 30, "failed": 0}
    assert [r["event_id"] for r in results] == [f"e{n}" for n in range(30)]
    assert {e["event_id"] for e in stack.recent()} == {f"e{n}" for n in range(30)}


def test_a_result_has_what_publishing_alone_answers_and_its_place(stack: Stack) -> None:
    (result,) = post(stack, [lead("e1")]).body["results"]

    assert result.pop("received_at").endswith("Z")
    assert result == {
        "index": 0,
        "http_status": 200,
        "status": "ok",
        "stored": True,
        "event_type": "lead.created",
        "event_id": "e1",
        "duplicate": False,
    }


def test_each_event_is_refused_for_its_own_reason(stack: Stack) -> None:
    events = [
        lead("good"),
        lead(event_type=None),
        lead(event_type="x"),
        lead(payload=None),
        "text",
        lead("wrong", event_type="autoheal.failed", payload={**HEAL, "error": 5}),
        lead("foreign", tenant_id="globex"),
        lead(event_type="ops.alert.raised"),
        lead(event_type="security.rbac.violation"),
        lead("huge", payload={"x": "x" * 270_000}),
        lead("last"),
    ]

    answer = post(stack, events, roles="agent", tenant="acme")

    assert answer.status == 207
    assert statuses(answer) == [200, 400, 400, 400, 422, 422, 403, 403, 403, 413, 200]
    assert (answer.body["status"], answer.body["stored"], answer.body["failed"]) == (
        "partial",
        2,
        9,
    )
    assert {e["event_id"] for e in stack.recent("acme")} == {"good", "last"}
    assert [e["event_id"] for e in stack.recent("globex")] == []
    wrong = answer.body["results"][5]
    assert [e["pointer"] for e in wrong.pop("errors")] == ["/payload/error"]
    assert wrong.pop("detail").startswith("/payload/error: ")
    assert wrong == {
        "index": 5,
        "status": "error",
        "http_status": 422,
        "stored": False,
        "event_id": "wrong",
        "title": "Unprocessable content",
    }
    assert answer.body["results"][2]["detail"] == "Unknown event_type 'x'"


def test_of_equal_events_the_first_is_stored(stack: Stack) -> None:
    events = [lead("e1", payload={"n": n}) for n in range(5)]

    results = post(stack, events).body["results"]

    assert [r["duplicate"] for r in results] == [False, True, True, True, True]
    assert stack.call("GET", "/events/e1").body["payload"] == {"n": 0}


def test_the_same_batch_again_is_the_same_events(stack: Stack) -> None:
    events = [lead(f"e{n}") for n in range(5)]
    post(stack, events)

    again = post(stack, events)

    assert (again.status, {r["duplicate"] for r in again.body["results"]}) == (200, {True})
    assert len(stack.recent()) == 5


def test_a_batch_goes_to_the_callers_tenant(stack: Stack) -> None:
    post(stack, [lead("e1")], roles="agent", tenant="acme")

    assert [e["event_id"] for e in stack.recent("acme")] == ["e1"]
    assert stack.recent("globex") == []


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ("[]", ""),
        ("{}", "/events"),
        ('{"events": []}', "/events"),
        ("1", ""),
        ("null", ""),
        ("", ""),
        ("[", ""),
        ('[{"a": NaN}]', ""),
        ('[{"a": 1e999}]', ""),
        ("[" * 100_000, ""),
        ('["\\ud800"]', ""),
        ('{"events": [{}], "x": 1}', "/x"),
        ('{"events": [{}], "a/b~c": 1}', "/a~1b~0c"),
    ],
)
def test_what_is_no_batch_is_422(stack: Stack, raw: str, pointer: str) -> None:
    answer = stack.call("POST", "/events/batch", raw=raw)

    assert (answer.status, [e["pointer"] for e in answer.body["errors"]]) == (422, [pointer])


def test_a_body_that_is_not_utf8_is_422(stack: Stack) -> None:
    raw = base64.b64encode(b'["\xff"]').decode()

    assert stack.call("POST", "/events/batch", raw=raw, is_base64=True).status == 422


def test_a_batch_that_the_gateway_encoded_is_read(stack: Stack) -> None:
    raw = base64.b64encode(json.dumps([lead("é")]).encode()).decode()

    answer = stack.call("POST", "/events/batch", raw=raw, is_base64=True)

    assert [r["event_id"] for r in answer.body["results"]] == ["é"]


def test_five_hundred_events_are_taken_and_not_one_more(stack: Stack) -> None:
    assert statuses(post(stack, [lead(f"e{n}") for n in range(500)])) == [200] * 500

    answer = post(stack, [lead(f"f{n}") for n in range(501)])
    assert (answer.status, answer.body["detail"]) == (
        413,
        "A batch may have 500 events at most, got 501",
    )
    assert stack.call("GET", "/events/f0").status == 404


def test_a_batch_over_four_megabytes_is_413(stack: Stack) -> None:
    answer = stack.call("POST", "/events/batch", raw=json.dumps(["x" * FOUR_MB]))

    assert (answer.status, "4 MB" in answer.body["detail"]) == (413, True)


def test_an_answer_stays_small_however_much_is_wrong(stack: Stack) -> None:
    wrong = {f"{'n' * 200}{n}": 1 for n in range(30)}
    events = [lead() | wrong for _ in range(500)]

    answer = post(stack, events)

    assert (answer.status, set(statuses(answer))) == (207, {422})
    assert len(json.dumps(answer.body)) < FOUR_MB
    assert answer.body["results"][0]["errors"][-1]["detail"].endswith(" more like these")


def test_a_batch_of_which_nothing_is_taken_is_207(stack: Stack) -> None:
    answer = post(stack, [lead(event_type="x"), lead(event_type="y")])

    assert (answer.status, answer.body["stored"], answer.body["failed"]) == (207, 0, 2)


def test_storage_that_does_not_answer_is_503_as_a_whole(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")

    monkeypatch.setattr(BaseClient, "_make_api_call", down)

    answer = post(stack, [lead("a"), lead("b")])

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


def test_storage_that_refuses_one_event_is_that_ones_503(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = BaseClient._make_api_call  # type: ignore[attr-defined] # botocore's seam

    def refuse_b(client: Any, operation: str, request: Any) -> Any:
        if operation == "PutItem" and request["Item"]["pk"]["S"].endswith("#b"):
            raise EndpointConnectionError(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")
        return real(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse_b)

    answer = post(stack, [lead("a"), lead("b"), lead("c")])

    assert (answer.status, statuses(answer)) == (207, [200, 503, 200])
    failed = answer.body["results"][1]
    assert (failed["event_id"], failed["title"]) == ("b", "Temporarily unavailable")


def test_a_bug_with_one_event_hides_nothing_but_its_cause(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = importlib.import_module("functions.events.publish").publisher
    real = publisher.store

    def broken(event: Any) -> Any:
        if event.event_id == "b":
            raise RuntimeError("the password is hunter2")
        return real(event)

    monkeypatch.setattr(publisher, "store", broken)

    answer = post(stack, [lead("a"), lead("b")])

    assert (answer.status, statuses(answer)) == (207, [200, 500])
    assert answer.body["results"][1]["detail"] == "Something went wrong on our side"


@pytest.mark.parametrize(("roles", "status"), [("viewer", 403), (None, 401), ("agent", 200)])
def test_only_publishers_publish_batches(stack: Stack, roles: str | None, status: int) -> None:
    assert post(stack, [lead()], roles=roles).status == status
