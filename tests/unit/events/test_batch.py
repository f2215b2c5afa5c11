"""A batch: results in order, each event's fate its own, equal keys one after the other."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from aetherlink.events import batch
from aetherlink.events.batch import Outcome, events_in, publish_all
from aetherlink.events.model import Envelope, Event, Published, accept
from aetherlink.kernel.errors import (
    ForbiddenError,
    InvalidError,
    TooLargeError,
    UnavailableError,
    UnprocessableError,
)
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.telemetry import logger

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
CALLER = Caller("test", frozenset({Role.AGENT}), TenantId("acme"))


class Memory:
    """Admits events into a dict. What a body says under "raise" happens."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Event] = {}
        self.lock = threading.Lock()
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0

    def prepare(self, caller: Caller, body: Any) -> Event:
        if isinstance(body.get("refuse"), Exception):
            raise body["refuse"]
        envelope = Envelope(
            event_type="lead.created",
            source=body.get("source", "crm"),
            payload={"error": body.get("fail"), "n": body.get("n")},
        )
        return accept(
            envelope, tenant_id=TenantId("acme"), event_id=body["event_id"], received_at=NOW
        )

    def store(self, event: Event) -> Published:
        with self.lock:
            self.calls += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        threading.Event().wait(0.002)
        with self.lock:
            self.at_once -= 1
            if event.payload["error"]:
                raise event.payload["error"]
            key = (event.source, event.event_id)
            is_new = key not in self.kept
            self.kept.setdefault(key, event)
        return Published(
            event_type=event.event_type,
            event_id=event.event_id,
            received_at=to_text(NOW),
            duplicate=not is_new,
        )


def publish(memory: Memory, bodies: list[Any], clock: Any = lambda: 0.0) -> list[Outcome]:
    return publish_all(memory, CALLER, bodies, monotonic=clock)


def described(error: Exception) -> dict[str, Any]:
    return {"http_status": 418, "title": "T", "detail": str(error)}


def test_outcomes_come_in_the_order_of_the_events() -> None:
    outcomes = publish(Memory(), [{"event_id": f"e{n}"} for n in range(100)])

    assert [o.event_id for o in outcomes] == [f"e{n}" for n in range(100)]
    assert [o.index for o in outcomes] == list(range(100))


def test_many_are_stored_at_the_same_time_and_never_more_than_sixteen() -> None:
    memory = Memory()

    publish(memory, [{"event_id": f"e{n}"} for n in range(200)])

    assert 1 < memory.most_at_once <= 16


def test_of_equal_keys_the_first_is_stored_and_the_others_are_duplicates() -> None:
    memory = Memory()
    bodies = [{"event_id": f"e{n % 3}", "n": n} for n in range(60)]

    outcomes = publish(memory, bodies)

    assert [o.index for o in outcomes if o.published and not o.published.duplicate] == [0, 1, 2]
    assert [memory.kept["crm", f"e{n}"].payload["n"] for n in range(3)] == [0, 1, 2]


def test_the_same_id_of_another_source_is_another_event() -> None:
    outcomes = publish(Memory(), [{"event_id": "e", "source": s} for s in ("a", "b", "a")])

    assert [o.published.duplicate for o in outcomes if o.published] == [False, False, True]


def test_a_refused_event_takes_nothing_from_the_others() -> None:
    no = InvalidError("no")
    bodies = [{"event_id": "a"}, {"event_id": "b", "refuse": no}, {"event_id": "c"}]

    outcomes = publish(Memory(), bodies)

    assert [o.error for o in outcomes] == [None, no, None]
    assert outcomes[1].event_id == "b"


def test_a_duplicate_takes_the_place_of_one_that_was_refused() -> None:
    no = ForbiddenError("no")

    outcomes = publish(Memory(), [{"event_id": "a", "refuse": no}, {"event_id": "a"}])

    assert outcomes[1].published
    assert outcomes[1].published.duplicate is False


@pytest.mark.parametrize("stage", ["refuse", "fail"])
def test_a_bug_with_one_event_is_that_events_own_and_logged(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    monkeypatch.setattr(logger, "error", lambda *a, **k: logged.append(k))
    bug = ZeroDivisionError("secret")

    outcomes = publish(Memory(), [{"event_id": "a"}, {"event_id": "b", stage: bug}])

    assert [o.error for o in outcomes] == [None, bug]
    assert logged == [{"index": 1, "exc_info": bug}]


def test_a_storage_failure_of_some_is_theirs_alone() -> None:
    down = UnavailableError("down")

    outcomes = publish(Memory(), [{"event_id": "a", "fail": down}, {"event_id": "b"}])

    assert [o.error for o in outcomes] == [down, None]


def test_a_storage_failure_of_all_is_the_requests() -> None:
    bodies = [{"event_id": f"e{n}", "fail": UnavailableError("down")} for n in range(3)]

    with pytest.raises(UnavailableError, match="None of the events was stored: down"):
        publish(Memory(), bodies)


def test_refusals_beside_storage_failures_are_told() -> None:
    bodies = [
        {"event_id": "a", "fail": UnavailableError("down")},
        {"event_id": "b", "refuse": InvalidError("no")},
    ]

    assert [str(o.error) for o in publish(Memory(), bodies)] == ["down", "no"]


def test_nothing_begins_when_the_time_is_up() -> None:
    memory = Memory()
    ticks = iter([0.0, 1.0, *[9.0] * 100])
    lock = threading.Lock()

    def clock() -> float:
        with lock:
            return next(ticks)

    outcomes = publish(memory, [{"event_id": f"e{n}"} for n in range(50)], clock)

    assert memory.calls == 1
    assert Counter(type(o.error) for o in outcomes) == {UnavailableError: 49, type(None): 1}


def test_more_than_five_hundred_events_are_too_many() -> None:
    memory = Memory()

    with pytest.raises(TooLargeError, match="500 events at most, got 501"):
        publish(memory, [{"event_id": str(n)} for n in range(501)])
    assert memory.calls == 0
    assert len(publish(memory, [{"event_id": str(n)} for n in range(500)])) == 500


def test_no_events_have_no_outcomes() -> None:
    assert publish(Memory(), []) == []


@pytest.mark.parametrize("body", [[1, 2], {"events": [1, 2]}])
def test_a_batch_is_an_array_or_an_object_with_one(body: Any) -> None:
    assert events_in(body) == [1, 2]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/events"),
        ({"events": []}, "/events"),
        ({"events": {}}, "/events"),
        ({"events": None}, "/events"),
        ("text", ""),
        (None, ""),
        (7, ""),
        ({"events": [1], "colour": "red"}, "/colour"),
        ({"event_type": "lead.created"}, "/event_type"),
    ],
)
def test_any_other_body_is_refused_and_the_right_one_named(body: Any, pointer: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        events_in(body)

    assert [flaw.pointer for flaw in refused.value.flaws] == [pointer]


def test_an_answer_counts_what_was_taken() -> None:
    outcomes = publish(
        Memory(), [{"event_id": "a"}, {"event_id": "b", "refuse": InvalidError("x")}]
    )

    shown = batch.answer(outcomes, described)

    assert shown.model_dump() == {
        "status": "partial",
        "count": 2,
        "stored": 1,
        "failed": 1,
        "results": [
            {
                "index": 0,
                "http_status": 200,
                "status": "ok",
                "stored": True,
                "event_type": "lead.created",
                "event_id": "a",
                "received_at": "2026-11-23T08:30:00.000000Z",
                "duplicate": False,
            },
            {
                "index": 1,
                "status": "error",
                "http_status": 418,
                "stored": False,
                "event_id": "b",
                "title": "T",
                "detail": "x",
            },
        ],
    }


def test_an_id_that_is_no_text_is_not_shown() -> None:
    bodies: list[Any] = [{"event_id": 5, "refuse": InvalidError("x")}]

    assert "event_id" not in batch.answer(publish(Memory(), bodies), described).results[0]
