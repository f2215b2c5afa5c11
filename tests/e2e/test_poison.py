"""Items that somebody wrote into the events table by hand are set aside; everything else goes on."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.deployed import Api, Aws, make, unique, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver


class Poisoner:
    """Writes into the events table behind the API's back, and takes it all out again."""

    def __init__(self, aws: Aws, stack: dict[str, Any]) -> None:
        self._dynamodb = aws("dynamodb")
        self._sqs = aws("sqs")
        self._table = stack["outputs"]["EventsTableName"]
        self._aside = stack["outputs"]["RelayAsideUrl"]
        self._aws = aws
        self._keys: list[tuple[str, str]] = []

    def put(self, item: dict[str, Any]) -> None:
        self._dynamodb.put_item(TableName=self._table, Item=item)
        self._keys.append((item["pk"]["S"], item["sk"]["S"]))

    def item(self, tenant: str, event_id: str, source: str) -> dict[str, Any]:
        key = {"pk": {"S": f"{tenant}#{event_id}"}, "sk": {"S": source}}
        found: dict[str, Any] = self._dynamodb.get_item(TableName=self._table, Key=key)["Item"]
        return found

    def remove(self, item: dict[str, Any]) -> None:
        key = {name: item[name] for name in ("pk", "sk")}
        self._dynamodb.delete_item(TableName=self._table, Key=key)

    def is_aside(self, item: dict[str, Any]) -> bool:
        return (item["pk"]["S"], item["sk"]["S"]) in [k for k, _ in self._set_aside()]

    def clean_up(self) -> None:
        for pk, sk in self._keys:
            self.remove({"pk": {"S": pk}, "sk": {"S": sk}})
        for key, handle in self._set_aside():
            if key in self._keys:
                self._sqs.delete_message(QueueUrl=self._aside, ReceiptHandle=handle)

    def _set_aside(self) -> list[tuple[tuple[str, str], str]]:
        found = []
        for message in self._aws.messages(self._aside):
            body = json.loads(message["Body"])
            found.append(((body.get("pk", ""), body.get("sk", "")), message["ReceiptHandle"]))
        return found


@pytest.fixture
def poison(aws: Aws, stack: dict[str, Any]) -> Iterator[Poisoner]:
    poisoner = Poisoner(aws, stack)
    yield poisoner
    poisoner.clean_up()


# What each differs in from an event that the API stored; None: the attribute is missing.
BROKEN: dict[str, dict[str, Any]] = {
    "nothing but a key": dict.fromkeys(
        ("at", "timeline", "by_type", "by_severity", "event_type", "severity", "payload")
    ),
    "no payload": {"payload": None},
    "a payload that is no JSON": {"payload": {"S": "{"}},
    "a payload that is no object": {"payload": {"S": "[1]"}},
    "a payload of another type": {"payload": {"B": b"\x00\xff"}},
    "a wrong severity": {"severity": {"S": "loud"}},
    "a severity of another type": {"severity": {"L": [{"N": "1"}]}},
    "no position": {"at": None},
    "a position that is none": {"at": {"S": "yesterday"}},
    "a position without an offset": {"at": {"S": "2026-11-23T08:30:00#2026-11-23T08:30:00#x"}},
    "the year 1": {"at": {"S": "0001-01-01T00:00:00Z#0001-01-01T00:00:00Z#x"}},
    "no type": {"event_type": None},
    "a number as type": {"event_type": {"N": "7"}},
}


# Stored without a clock's offset, a position reaches the all-tenant timeline and breaks its readers.
NAIVE = "a position without an offset"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_item_is_set_aside_and_later_events_still_raise(
    api: Api,
    poison: Poisoner,
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
    kind: str,
) -> None:
    make_rule(tenant, source, threshold=3)
    item = _broken(api, poison, tenant, source, BROKEN[kind])
    for _ in range(2):
        api.publish(tenant, source)
    wait_for(lambda: receiver.with_text(source), 15, "the alert of the events around it")
    wait_for(lambda: poison.is_aside(item), 15, "its key is set aside")
    # Lists go on without it, whichever index it is in.
    for query in ({}, {"event_type": "service.health.failed"}, {"severity": "error"}):
        shown = [event["event_id"] for event in api.recent(tenant, source=source, **query)]
        assert len(shown) == 3
    api.call("GET", "/events/recent", query={"limit": 200}).ok()


def test_a_broken_item_is_not_found(api: Api, poison: Poisoner, tenant: str, source: str) -> None:
    item = _broken(api, poison, tenant, source, {"payload": None})
    wait_for(lambda: poison.is_aside(item), 15, "its key is set aside")
    api.event(tenant, item["pk"]["S"].partition("#")[2]).problem(404)


def test_a_key_that_is_not_one_of_ours_is_set_aside(
    api: Api,
    poison: Poisoner,
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
) -> None:
    good = poison.item(tenant, api.publish(tenant, source)["event_id"], source)
    make_rule(tenant, source, threshold=2)
    foreign = {**good, "pk": {"S": unique("no hash sign")}}
    poison.put(foreign)
    api.publish(tenant, source)
    wait_for(lambda: receiver.with_text(source), 15, "the alert of the events around it")
    wait_for(lambda: poison.is_aside(foreign), 15, "its key is set aside")


def test_redrive_keeps_it_until_it_is_repaired(
    api: Api,
    poison: Poisoner,
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
) -> None:
    rule = make_rule(tenant, source, threshold=2)
    item = _broken(api, poison, tenant, source, {"severity": {"S": "loud"}})
    wait_for(lambda: poison.is_aside(item), 15, "its key is set aside")

    still_broken = make("redrive")
    assert still_broken.returncode != 0, still_broken.stdout
    assert "set aside again: " in still_broken.stdout
    assert poison.is_aside(item)
    assert api.alerts(tenant, rule["id"]) == []

    # At the same position: the stream takes it for a mere change, so that only the redrive counts it.
    poison.put({**item, "severity": {"S": "error"}})
    repaired = make("redrive")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    wait_for(lambda: receiver.with_text(source), 15, "the alert that it was missing for")
    assert not poison.is_aside(item)


def test_redrive_lets_go_of_one_that_was_removed(
    api: Api, poison: Poisoner, tenant: str, source: str
) -> None:
    item = _broken(api, poison, tenant, source, {"payload": None})
    wait_for(lambda: poison.is_aside(item), 15, "its key is set aside")
    poison.remove(item)
    gone = make("redrive")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert not poison.is_aside(item)


def _broken(
    api: Api, poison: Poisoner, tenant: str, source: str, changes: dict[str, Any]
) -> dict[str, Any]:
    """An item like that of an event that was just published, but for `changes`."""
    kept = api.publish(tenant, source)
    good = poison.item(tenant, kept["event_id"], source)
    at = {"S": good["at"]["S"][:-12] + uuid.uuid4().hex[:12]}
    broken = {**good, "pk": {"S": f"{tenant}#{unique('poison')}"}, "at": at, **changes}
    item = {name: value for name, value in broken.items() if value is not None}
    poison.put(item)
    return item
