"""A key runs its request once: any order of repeats, failures, crashes and waits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from aetherlink.kernel.errors import (
    NotFoundError,
    StillRunningError,
    UnavailableError,
    UnprocessableError,
)
from aetherlink.platform.answers import Claim, Kept
from aetherlink.platform.replay import KEPT_FOR, LOCKED_FOR, fingerprint, masked, protected

START = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


def answer(body: Any, status: int = 200) -> dict[str, Any]:
    return {
        "statusCode": status,
        "multiValueHeaders": {"Content-Type": ["application/json"], "X-Trace-Id": ["t"]},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


@dataclass
class Memory:
    """The table's promises: a conditional put, and nothing more."""

    items: dict[str, tuple[Claim, bool, str | None]] = field(default_factory=dict)
    is_down: bool = False

    def take(self, claim: Claim, now: datetime) -> Kept | None:
        self._answers()
        found = self.items.get(claim.sk)
        if found:
            held, is_done, kept = found
            is_free = held.expires_at < now or (not is_done and held.locked_until < now)
            if not is_free:
                return Kept(held.fingerprint, is_done, held.locked_until.timestamp(), kept)
        self.items[claim.sk] = (claim, False, None)
        return None

    def keep(self, claim: Claim, answer: str | None) -> None:
        self._answers()
        if self._holds(claim):
            self.items[claim.sk] = (claim, True, answer)

    def free(self, claim: Claim) -> None:
        self._answers()
        if self._holds(claim):
            del self.items[claim.sk]

    def _holds(self, claim: Claim) -> bool:
        return claim.sk in self.items and self.items[claim.sk][0].owner == claim.owner

    def _answers(self) -> None:
        if self.is_down:
            raise UnavailableError("The database could not be reached; try again")


class Keys(RuleBasedStateMachine):
    """Requests of two keys and two bodies; how each run ends is drawn."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.store = Memory()
        self.now = START
        self.number = 0
        # When a key's request was carried out and its answer kept.
        self.done: dict[str, tuple[datetime, str, str]] = {}
        self.crashed: dict[str, datetime] = {}

    @rule(seconds=st.sampled_from([1, 59, 61, 3_600, 86_390]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        key=st.sampled_from("ab"),
        body=st.sampled_from("xy"),
        ending=st.sampled_from(["done", "done", "refused", "broken", "crashed", "forgotten"]),
    )
    def request(self, key: str, body: str, ending: str) -> None:
        self.number += 1
        made = str(self.number)
        claim = Claim(
            "acme#idempotency", key, made, body, self.now + LOCKED_FOR, self.now + KEPT_FOR
        )
        ran: list[str] = []

        def run() -> dict[str, Any]:
            ran.append(made)
            if ending == "refused":
                raise NotFoundError("no such thing")
            if ending == "broken":
                return answer({}, 500)
            if ending == "crashed":
                raise SystemExit
            self.store.is_down = ending == "forgotten"
            return answer({"made": made})

        given: dict[str, Any] | None = None
        error: BaseException | None = None
        try:
            given = protected(self.store, claim, self.now, run)
        except (NotFoundError, UnprocessableError, StillRunningError, SystemExit) as raised:
            error = raised
        self.store.is_down = False

        known = self.done.get(key)
        lock = self.crashed.get(key)
        if known and self.now <= known[0] + KEPT_FOR:
            assert not ran, "it was carried out within the day, and ran again"
            if known[1] == body:
                assert given
                assert json.loads(given["body"]) == {"made": known[2]}
                assert given["multiValueHeaders"]["Idempotency-Replayed"] == ["true"]
            else:
                assert isinstance(error, UnprocessableError)
        elif lock and self.now <= lock + LOCKED_FOR:
            assert not ran, "nobody knows how the last run ended, and it ran again"
            assert isinstance(error, (StillRunningError, UnprocessableError))
        else:
            assert ran == [made]
            self.done.pop(key, None)
            self.crashed.pop(key, None)
            if ending == "done":
                self.done[key] = (self.now, body, made)
            elif ending in ("crashed", "forgotten"):
                self.crashed[key] = self.now

    @invariant()
    def a_retry_is_never_put_off_longer_than_the_lock(self) -> None:
        for claim, is_done, _ in self.store.items.values():
            assert is_done or claim.locked_until <= self.now + LOCKED_FOR


TestKeys = Keys.TestCase


# ---- what is the same request


def request(**given: Any) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/alerts/rules", "body": '{"a":1,"b":[2]}', **given}


@pytest.mark.parametrize(
    "body", ['{"b":[2],"a":1}', ' {"a" : 1,\n"b":[2]}', '{"\\u0061":1,"b":[2]}']
)
def test_spelling_is_no_difference(body: str) -> None:
    assert fingerprint(request(body=body), "k") == fingerprint(request(), "k")


@pytest.mark.parametrize(
    "other",
    [
        {"body": '{"a":1,"b":["2"]}'},
        {"body": '{"a":true,"b":[2]}'},
        {"body": "no json"},
        {"body": ""},
        {"body": "[" * 100_000},
        {"path": "/alerts/rules/x"},
        {"httpMethod": "PUT"},
        {"multiValueQueryStringParameters": {"a": ["1"]}},
    ],
)
def test_anything_else_is_one(other: dict[str, Any]) -> None:
    assert fingerprint(request(**other), "k") != fingerprint(request(), "k")


def test_the_order_of_parameters_is_no_difference() -> None:
    one = request(multiValueQueryStringParameters={"a": ["1"], "b": ["2"]})
    other = request(multiValueQueryStringParameters={"b": ["2"], "a": ["1"]})

    assert fingerprint(one, "k") == fingerprint(other, "k")


def test_a_fingerprint_gives_no_body_away() -> None:
    assert fingerprint(request(), "k") != fingerprint(request(), "l")


# ---- what is kept


def test_of_an_answer_status_body_and_a_few_headers_are_kept() -> None:
    given = answer({"rule_id": "r"})
    given["multiValueHeaders"]["ETag"] = ['"1"']

    assert json.loads(masked(given) or "") == {
        "statusCode": 200,
        "multiValueHeaders": {"Content-Type": ["application/json"], "ETag": ['"1"']},
        "body": '{"rule_id": "r"}',
        "isBase64Encoded": False,
    }


def test_a_secret_in_a_text_that_is_no_json_is_cut_out() -> None:
    given = answer({}) | {"body": "your key: ak_" + "7" * 29}

    assert json.loads(masked(given) or "")["body"] == "your key: …"


def test_what_is_too_large_is_not_kept() -> None:
    assert masked(answer("x" * 300_000)) is None
