"""The benchmark's DynamoDB answers as moto does, and counts as AWS says it charges."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.models import botocore_stubber
from moto.dynamodb.models import dynamodb_backends

from tools.bench.dynamodb import Double
from tools.bench.expressions import Scope, UnsupportedError, condition, update
from tools.bench.metering import size_of

EVENTS: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "line", "at")
    ],
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "line",
            "KeySchema": [
                {"AttributeName": "line", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kind"]},
        }
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
KEY = {"pk": {"S": "a"}, "sk": {"S": "1"}}


class Pair:
    """The same calls to moto and, over the wire and in process, to the double."""

    def __init__(self) -> None:
        self.wired = Double({"t": EVENTS})
        self.inner = Double({"t": EVENTS})
        self.moto = boto3.client("dynamodb")
        self.moto.create_table(TableName="t", **EVENTS)
        self.client = boto3.client("dynamodb")

    def __call__(self, operation: str, **request: Any) -> Any:
        expected = _outcome(self.moto, operation, request)
        # moto answers every request that is sent, beside whoever else does.
        with patch.object(botocore_stubber, "enabled", False), self.wired.on_the_wire(self.client):
            assert _outcome(self.client, operation, request) == expected
        with self.inner.in_process():
            assert _outcome(self.client, operation, request) == expected
        return expected


def _outcome(client: Any, operation: str, request: dict[str, Any]) -> Any:
    try:
        answer = getattr(client, operation)(**request)
    except ClientError as error:
        reasons = error.response.get("CancellationReasons", [])
        codes = [reason.get("Code") for reason in reasons]
        return error.response["Error"]["Code"], codes, error.response.get("Item")
    kept = ("Item", "Items", "Count", "LastEvaluatedKey", "Responses")
    answer = {name: answer[name] for name in kept if name in answer}
    for items in answer.get("Responses", {}).values():
        items.sort(key=lambda item: item["sk"]["S"])
    # A set has no order.
    for value in answer.get("Item", {}).values():
        if "SS" in value:
            value["SS"].sort()
    return answer


@pytest.fixture
def both() -> Iterator[Pair]:
    with mock_aws():
        # A stack of other tests may stand in this process; that is made anew where it is missed.
        dynamodb_backends["123456789012"]["us-east-1"].reset()
        yield Pair()


def _item(n: int, **more: Any) -> dict[str, Any]:
    return {
        "pk": {"S": "a"},
        "sk": {"S": f"{n:03d}"},
        "line": {"S": f"l{n % 2}"},
        "at": {"S": f"{n * 7 % 50:03d}"},
        "kind": {"S": "k" * n},
        "payload": {"M": {"x": {"L": [{"N": "1"}, {"BOOL": True}, {"B": b"\x00\x01"}]}}},
        **more,
    }


def test_a_condition_on_what_is_there_is_answered_with_it(both: Pair) -> None:
    put = {"TableName": "t", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    only_new = "attribute_not_exists(pk) OR expires_at < :now"
    for item, now in (
        (_item(1, expires_at={"N": "100"}), "5"),
        (_item(1, expires_at={"N": "200"}), "99"),
        (_item(1, expires_at={"N": "200"}), "101"),
        (_item(1), "101"),
        (_item(2), "0"),
    ):
        values = {":now": {"N": now}}
        both("put_item", Item=item, ConditionExpression=only_new,
             ExpressionAttributeValues=values, **put)  # fmt: skip
        both("get_item", TableName="t", Key={"pk": item["pk"], "sk": item["sk"]})
    with_size = {"ExpressionAttributeValues": {":n": {"N": "2"}}}
    both("put_item", Item=_item(1), ConditionExpression="size(kind) = :n", **with_size, **put)
    both("delete_item", TableName="t", Key=KEY, ConditionExpression="attribute_exists(pk)")


def test_queries_page_and_sort_and_project_alike(both: Pair) -> None:
    numbers = list(range(40))
    random.Random(7).shuffle(numbers)
    for n in numbers:
        both("put_item", TableName="t", Item=_item(n))
    for n in (3, 9):
        both("delete_item", TableName="t", Key={"pk": {"S": "a"}, "sk": {"S": f"{n:03d}"}})
    both("put_item", TableName="t", Item=_item(5, line={"S": "l0"}))
    both("put_item", TableName="t", Item={**KEY, "kind": {"S": "in no index"}})
    values = {":k": {"S": "a"}, ":x": {"S": "010"}, ":y": {"S": "020"}}
    for text in ("sk BETWEEN :x AND :y", "sk > :x", "sk >= :x", "sk < :y", "sk <= :y", "sk = :x",
                 "begins_with(sk, :x)", ""):  # fmt: skip
        used = {name: value for name, value in values.items() if name in f"pk = :k AND {text}"}
        for forward in (True, False):
            both("query", TableName="t", ScanIndexForward=forward, ExpressionAttributeValues=used,
                 KeyConditionExpression=f"pk = :k{' AND ' if text else ''}{text}")  # fmt: skip
    for forward in (True, False):
        start: dict[str, Any] = {}
        while True:
            page = both(
                "query",
                TableName="t",
                IndexName="line",
                KeyConditionExpression="#line = :l AND #at BETWEEN :x AND :y",
                ExpressionAttributeNames={"#line": "line", "#at": "at"},
                ExpressionAttributeValues={
                    ":l": {"S": "l1"},
                    ":x": {"S": "005"},
                    ":y": {"S": "045~"},
                },
                ScanIndexForward=forward,
                Limit=4,
                **start,
            )
            if "LastEvaluatedKey" not in page or not page["Items"]:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    counted = {"Select": "COUNT", "ExpressionAttributeValues": {":k": {"S": "a"}}}
    assert both("query", TableName="t", KeyConditionExpression="pk = :k", **counted)["Count"] == 39


def test_updates_add_set_and_fall_back(both: Pair) -> None:
    for _ in range(2):
        both("update_item", TableName="t", Key=KEY,
             UpdateExpression="ADD #n0 :n0, #n1 :n1 SET #s0 = :s0",
             ExpressionAttributeNames={"#n0": "info|a.b", "#n1": "error|c", "#s0": "expires_at"},
             ExpressionAttributeValues={
                 ":n0": {"N": "2"}, ":n1": {"N": "-1"}, ":s0": {"N": "9"},
             })  # fmt: skip
        both("update_item", TableName="t", Key=KEY,
             UpdateExpression="SET since = if_not_exists(since, :s) REMOVE expires_at",
             ExpressionAttributeValues={":s": {"S": "now"}})  # fmt: skip
        both("get_item", TableName="t", Key=KEY)


def test_sets_of_texts_grow_alike(both: Pair) -> None:
    for values in (["b", "a"], ["b", "c"], ["c"]):
        both("update_item", TableName="t", Key=KEY, UpdateExpression="ADD #n0 :n0, #n1 :n1",
             ExpressionAttributeNames={"#n0": "distinct", "#n1": "n"},
             ExpressionAttributeValues={":n0": {"SS": values}, ":n1": {"N": "0.3"}})  # fmt: skip
        both("get_item", TableName="t", Key=KEY)
    write = {"Update": {
        "TableName": "t", "Key": KEY, "UpdateExpression": "ADD #n0 :n0",
        "ExpressionAttributeNames": {"#n0": "distinct"},
        "ExpressionAttributeValues": {":n0": {"SS": ["z"]}},
    }}  # fmt: skip
    both("transact_write_items", TransactItems=[write])
    both("get_item", TableName="t", Key=KEY)


def test_a_set_has_the_size_of_its_texts() -> None:
    assert size_of({"pk": {"S": "a"}, "d": {"SS": ["b", "ä"]}}) == 3 + 1 + 3 + 1 + 2


def test_what_is_added_to_something_else_is_refused() -> None:
    scope = Scope({}, {":n": {"SS": ["a"]}})

    with pytest.raises(UnsupportedError):
        update({"d": {"N": "1"}}, "ADD d :n", scope)
    with pytest.raises(UnsupportedError):
        update({}, "ADD d :n", Scope({}, {":n": {"NS": ["1"]}}))


def test_a_transaction_is_all_or_nothing(both: Pair) -> None:
    def write(*only_if: str) -> None:
        both("transact_write_items", TransactItems=[
            {"Put": {"TableName": "t", "Item": _item(n), "ConditionExpression": text}}
            for n, text in enumerate(only_if)
        ])  # fmt: skip
        both("query", TableName="t", KeyConditionExpression="pk = :k",
             ExpressionAttributeValues={":k": {"S": "a"}})  # fmt: skip

    write("attribute_not_exists(pk)")
    write("attribute_not_exists(pk)", "attribute_not_exists(pk)")
    write("attribute_exists(pk)", "attribute_not_exists(pk)")


def test_batches_read_and_write_alike(both: Pair) -> None:
    writes = [{"PutRequest": {"Item": _item(n)}} for n in range(25)]
    both("batch_write_item", RequestItems={"t": writes})
    keys = [{"pk": {"S": "a"}, "sk": {"S": f"{n:03d}"}} for n in range(20, 30)]
    both("batch_get_item", RequestItems={"t": {"Keys": keys}})
    both("batch_write_item", RequestItems={"t": writes[:1] * 2})


def test_write_units_are_those_of_the_item_and_of_each_index_entry() -> None:
    double = Double({"t": EVENTS})
    small = {**KEY, "line": {"S": "l"}, "at": {"S": "1"}}

    def cost(operation: str, **request: Any) -> int:
        double.handle(operation, {"TableName": "t", **request})
        return double.reset().write_units

    assert cost("PutItem", Item={**KEY, "x": {"S": "y" * 1000}}) == 1
    assert cost("PutItem", Item={**KEY, "x": {"S": "y" * 1024}}) == 2
    # An index entry appears; it does not carry the payload.
    assert cost("PutItem", Item={**small, "x": {"S": "y" * 1024}}) == 3
    # Nothing changes that the index holds.
    assert cost("PutItem", Item=small) == 2
    assert cost("PutItem", Item={**small, "kind": {"S": "k"}}) == 2
    # The entry moves: one is removed, one is written.
    assert cost("PutItem", Item={**small, "at": {"S": "2"}}) == 3
    put = {"Put": {"TableName": "t", "Item": small}}
    assert cost("TransactWriteItems", TransactItems=[put]) == 6
    assert cost("DeleteItem", Key=KEY) == 2


def test_reads_count_what_they_looked_at() -> None:
    double = Double({"t": EVENTS})
    for n in range(30):
        double.handle("PutItem", {"TableName": "t", "Item": _item(n)})
    double.reset()

    double.handle("Query", {
        "TableName": "t", "IndexName": "line", "Limit": 10,
        "KeyConditionExpression": "line = :l", "ExpressionAttributeValues": {":l": {"S": "l0"}},
    })  # fmt: skip

    used = double.reset()
    assert (used.calls.total(), used.examined, used.returned) == (1, 10, 10)
    # pk1+sk3+line2+at3 with their names, and "kind" with its n letters for the ten entries.
    entries = sorted((n for n in range(0, 30, 2)), key=lambda n: n * 7 % 50)[:10]
    assert used.bytes_read == sum(3 + 5 + 6 + 5 + 4 + n for n in entries)


def test_a_page_ends_at_one_megabyte() -> None:
    double = Double({"t": EVENTS})
    for n in range(4):
        item = {"pk": {"S": "a"}, "sk": {"S": str(n)}, "x": {"S": "y" * 390_000}}
        double.handle("PutItem", {"TableName": "t", "Item": item})

    page = double.handle("Query", {
        "TableName": "t", "KeyConditionExpression": "pk = :k",
        "ExpressionAttributeValues": {":k": {"S": "a"}},
    })  # fmt: skip

    assert (page["Count"], page["LastEvaluatedKey"]["sk"]) == (3, {"S": "2"})


def test_the_stream_tells_what_was_before_and_after() -> None:
    double = Double({"t": {**EVENTS, "StreamSpecification": {}}})
    double.handle("PutItem", {"TableName": "t", "Item": _item(1)})
    double.handle("PutItem", {"TableName": "t", "Item": _item(1)})
    double.handle("DeleteItem", {"TableName": "t", "Key": {"pk": {"S": "a"}, "sk": {"S": "001"}}})

    records = [change.record() for change in double.take_stream("t")]

    assert [r["eventName"] for r in records] == ["INSERT", "REMOVE"]
    assert records[0]["dynamodb"]["NewImage"] == records[1]["dynamodb"]["OldImage"] == _item(1)


@pytest.mark.parametrize("text", ["a <> :b", "NOT a = :b", "contains(a, :b)", "a.b = :c", "a ="])
def test_what_the_double_does_not_know_it_refuses(text: str) -> None:
    with pytest.raises(UnsupportedError):
        condition(text)
