"""DynamoDB: one client per process, items as plain Python values, failures told apart once.

A client rather than a resource: it imports in half the time and shows what goes over the wire.
`boundary` stands on it: a request touches its tenants' partitions alone.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import boto3
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from aetherlink.kernel.errors import UnavailableError
from aetherlink.platform import boundary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb.client import DynamoDBClient

Item = dict[str, Any]


class StorageError(UnavailableError):
    """AWS did not answer, or not in time. Trying again may help."""


class ContendedError(StorageError):
    """Somebody else writes the same items at this moment. Trying again helps."""


class ConditionFailedError(Exception):
    """A conditional write found something else; `found` is that, where it was asked for."""

    def __init__(self, found: Item | None) -> None:
        super().__init__("condition failed")
        self.found = found


# A thread behind the requests may want it at the same moment; botocore's session cannot make two
# clients at once.
_making = Lock()


@cache
def client() -> DynamoDBClient:
    # Standard retries with jitter; short timeouts, so that a caller gets a 503 rather than a 504.
    settings = BotoConfig(
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 3},
        # As many as a batch of events writes at a time, and some.
        max_pool_connections=20,
    )
    with _making:
        made = boto3.client("dynamodb", config=settings)
    boundary.guard(made.meta.events)
    return made


_OUR_MISTAKES = frozenset(
    {"ValidationException", "ValidationError", "InvalidParameter", "InvalidParameterValue",
     "InvalidParameterException", "InvalidMessageContents"}
)  # fmt: skip

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def to_item(values: Item) -> Item:
    """Python values as DynamoDB attributes; None and empty collections are left out."""
    kept = {name: value for name, value in values.items() if value is not None}
    return {name: _serializer.serialize(_storable(value)) for name, value in kept.items()}


def _storable(value: Any) -> Any:
    # boto3 takes no floats, since most have no exact decimal; their shortest decimal is what we mean.
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value


def from_item(item: Item) -> Item:
    """DynamoDB attributes as Python values; numbers come back as int where they are whole."""
    return {name: _plain(_deserializer.deserialize(value)) for name, value in item.items()}


class Table:
    """One table. Every method raises StorageError when DynamoDB cannot be reached."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, values: Item, *, only_if: str | None = None, **names: Any) -> None:
        """Write an item. `only_if` is a condition that must hold; ConditionFailedError if it does not.

        `names` are the condition's values, without their colons.
        """
        request: Item = {"TableName": self.name, "Item": to_item(values)}
        _conditional(request, only_if, names)
        call(lambda: client().put_item(**request))

    def put_request(self, values: Item, *, only_if: str | None = None, **names: Any) -> Item:
        """The same as a member of a transaction."""
        request: Item = {"TableName": self.name, "Item": to_item(values)}
        _conditional(request, only_if, names)
        return {"Put": request}

    def add_request(
        self,
        pk: str,
        sk: str,
        numbers: Mapping[str, float | set[str]],
        *,
        setting: Mapping[str, Any] | None = None,
        removing: Sequence[str] = (),
        only_if: str | None = None,
        **values: Any,
    ) -> Item:
        """Add to numbers and sets of texts, set others and remove some, as a member of a transaction.
        What is not there counts as 0 or as empty."""
        names = {f"#n{i}": name for i, name in enumerate(numbers)}
        given: Item = {f":n{i}": number for i, number in enumerate(numbers.values())}
        sets = {f"#s{i}": name for i, name in enumerate(setting or {})}
        given |= {f":s{i}": value for i, value in enumerate((setting or {}).values())}
        update = "ADD " + ", ".join(f"{name} :{name[1:]}" for name in names)
        if sets:
            update += " SET " + ", ".join(f"{name} = :{name[1:]}" for name in sets)
        gone = {f"#r{i}": name for i, name in enumerate(removing)}
        if gone:
            update += " REMOVE " + ", ".join(gone)
        request: Item = {
            "TableName": self.name,
            "Key": to_item({"pk": pk, "sk": sk}),
            "UpdateExpression": update,
            "ExpressionAttributeNames": {**names, **sets, **gone},
        }
        _conditional(request, only_if, values)
        _give(request, given)
        return {"Update": request}

    def add(
        self,
        pk: str,
        sk: str,
        numbers: Mapping[str, int],
        *,
        setting: Mapping[str, Any] | None = None,
        removing: Sequence[str] = (),
        only_if: str | None = None,
        whole: bool = False,
        **values: Any,
    ) -> Item:
        """Add to number attributes, set others and remove some; what they are then, or with `whole`
        what the item is. ConditionFailedError if a condition does not hold."""
        request = self.add_request(
            pk, sk, numbers, setting=setting, removing=removing, only_if=only_if, **values
        )["Update"]
        returned: Any = "ALL_NEW" if whole else "UPDATED_NEW"
        answer = call(lambda: client().update_item(**request, ReturnValues=returned))
        return from_item(answer.get("Attributes", {}))

    def set(
        self, pk: str, sk: str, values: Item, *, only_if: str | None = None, **names: Any
    ) -> None:
        """Change attributes of an item. ConditionFailedError if a condition does not hold."""
        request = self.set_request(pk, sk, values, only_if=only_if, **names)["Update"]
        call(lambda: client().update_item(**request))

    def set_request(
        self, pk: str, sk: str, values: Item, *, only_if: str | None = None, **names: Any
    ) -> Item:
        """The same as a member of a transaction. The item is made if it is not there; what is set to
        None is removed."""
        given = {name: value for name, value in values.items() if value is not None}
        gone = [name for name, value in values.items() if value is None]
        update = "SET " + ", ".join(f"#s{i} = :s{i}" for i in range(len(given))) if given else ""
        if gone:
            update += " REMOVE " + ", ".join(f"#r{i}" for i in range(len(gone)))
        request: Item = {
            "TableName": self.name,
            "Key": to_item({"pk": pk, "sk": sk}),
            "UpdateExpression": update.strip(),
        }
        _conditional(request, only_if, names)
        _name(request, {f"#s{i}": name for i, name in enumerate(given)})
        _name(request, {f"#r{i}": name for i, name in enumerate(gone)})
        _give(request, {f":s{i}": value for i, value in enumerate(given.values())})
        return {"Update": request}

    def delete(self, pk: str, sk: str, *, only_if: str | None = None, **names: Any) -> None:
        """Remove an item, if it is there. ConditionFailedError if a condition does not hold."""
        request = self.delete_request(pk, sk, only_if=only_if, **names)["Delete"]
        call(lambda: client().delete_item(**request))

    def delete_request(self, pk: str, sk: str, *, only_if: str | None = None, **names: Any) -> Item:
        request: Item = {"TableName": self.name, "Key": to_item({"pk": pk, "sk": sk})}
        _conditional(request, only_if, names)
        return {"Delete": request}

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, strongly consistent; None if there is none."""
        key = to_item({"pk": pk, "sk": sk})
        answer = call(lambda: client().get_item(TableName=self.name, Key=key, ConsistentRead=True))
        return from_item(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Iterable[tuple[str, str]]) -> Iterator[Item]:
        """The items of at most 100 keys that exist, in no order."""
        wanted: Any = [to_item({"pk": pk, "sk": sk}) for pk, sk in keys]
        pending: Any = {self.name: {"Keys": wanted}} if wanted else {}
        while pending:
            answer = call(partial(client().batch_get_item, RequestItems=pending))
            for item in answer["Responses"].get(self.name, []):
                yield from_item(item)
            pending = answer.get("UnprocessedKeys")

    def put_many(self, items: Iterable[Item]) -> None:
        """Write items without conditions, 25 a call, until each of them is in."""
        waiting = [{"PutRequest": {"Item": to_item(item)}} for item in items]
        while waiting:
            batch: Any = {self.name: waiting[:25]}
            answer = call(partial(client().batch_write_item, RequestItems=batch))
            waiting = [*answer.get("UnprocessedItems", {}).get(self.name, []), *waiting[25:]]

    def delete_many(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove items without conditions, 25 a call, until each of them is gone."""
        waiting = [{"DeleteRequest": {"Key": to_item({"pk": pk, "sk": sk})}} for pk, sk in keys]
        while waiting:
            batch: Any = {self.name: waiting[:25]}
            answer = call(partial(client().batch_write_item, RequestItems=batch))
            waiting = [*answer.get("UnprocessedItems", {}).get(self.name, []), *waiting[25:]]

    def query(
        self,
        condition: str,
        *,
        index: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        only: tuple[str, ...] = (),
        **values: Any,
    ) -> list[Item]:
        """One page: at most `limit` items (or 1 MB). `values` are the condition's, without colons;
        `only` names the attributes that are wanted, where that is not all of them."""
        return self._page(condition, index, limit, values, newest_first=newest_first, only=only)[0]

    def query_down(
        self, condition: str, *, limit: int, index: str | None = None, **values: Any
    ) -> tuple[list[Item], bool]:
        """One page from the top, and whether there is more below it."""
        items, last = self._page(condition, index, limit, values, newest_first=True)
        return items, last is not None

    def query_up(
        self, condition: str, *, limit: int, index: str | None = None, **values: Any
    ) -> tuple[list[Item], bool]:
        """One page from the bottom, and whether there is more above it."""
        items, last = self._page(condition, index, limit, values)
        return items, last is not None

    def query_all(
        self, condition: str, *, index: str | None = None, **values: Any
    ) -> Iterator[Item]:
        """Every item, over all pages."""
        start: Item | None = None
        while True:
            items, start = self._page(condition, index, None, values, start=start)
            yield from items
            if start is None:
                return

    def page(self, start: Item | None, limit: int) -> tuple[list[Item], Item | None]:
        """A page of the whole table, and where the next begins. A scan: for seeing a tenant off, and
        for nothing that a request waits for."""
        request: Item = {"TableName": self.name, "Limit": limit, "ConsistentRead": True}
        if start:
            request["ExclusiveStartKey"] = to_item(start)
        answer = call(lambda: client().scan(**request))
        last = answer.get("LastEvaluatedKey")
        return [from_item(item) for item in answer["Items"]], from_item(last) if last else None

    def count(self, condition: str, **values: Any) -> int:
        """How many items there are, over all pages."""
        request: Item = {"KeyConditionExpression": condition, "Select": "COUNT"}
        total = 0
        start: Item | None = None
        while True:
            answer = self._query(request, values, start)
            total += int(answer["Count"])
            start = answer.get("LastEvaluatedKey")
            if start is None:
                return total

    def _page(
        self,
        condition: str,
        index: str | None,
        limit: int | None,
        values: Item,
        *,
        newest_first: bool = False,
        start: Item | None = None,
        only: tuple[str, ...] = (),
    ) -> tuple[list[Item], Item | None]:
        request: Item = {
            "KeyConditionExpression": condition,
            "ScanIndexForward": not newest_first,
            # A global index has no consistent reads.
            "ConsistentRead": index is None,
        }
        if index:
            request["IndexName"] = index
        if limit:
            request["Limit"] = limit
        if only:
            request["ProjectionExpression"] = ", ".join(only)
        answer = self._query(request, values, start)
        return [from_item(item) for item in answer["Items"]], answer.get("LastEvaluatedKey")

    def _query(self, request: Item, values: Item, start: Item | None) -> Item:
        # "#at" in a condition is the attribute `at`: some of our names are reserved words there.
        words = re.findall(r"#(\w+)", request["KeyConditionExpression"])
        names = {f"#{word}": word for word in words}
        given: Item = {
            "TableName": self.name,
            "ExpressionAttributeValues": to_item({f":{k}": v for k, v in values.items()}),
            **request,
        }
        if names:
            given["ExpressionAttributeNames"] = names
        if start:
            given["ExclusiveStartKey"] = start
        return cast("Item", call(lambda: client().query(**given)))


def transact(writes: list[Item]) -> None:
    """All of `writes` (at most 25, the emulators' limit) or none. ConditionFailedError if one's
    condition does not hold."""
    call(lambda: client().transact_write_items(TransactItems=cast("Any", writes)))


def call(request: Callable[[], Any]) -> Any:
    """Make one AWS call; its failure is either a failed condition or a StorageError."""
    try:
        return request()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "ConditionalCheckFailedException":
            found = cast("Item", error.response).get("Item")
            raise ConditionFailedError(from_item(found) if found else None) from error
        if code == "TransactionCanceledException" and _condition_failed(
            cast("Item", error.response)
        ):
            raise ConditionFailedError(None) from error
        if _contended(cast("Item", error.response)):
            raise ContendedError("Somebody else writes the same items; try again") from error
        if _is_ours(cast("Item", error.response)):
            # Trying again sends the same mistake: a bug, which an API answers 500 and the relay
            # sets aside with its record.
            raise
        raise StorageError("The database refused the request; try again") from error
    except BotoCoreError as error:
        raise StorageError("The database could not be reached; try again") from error


def _is_ours(response: Item) -> bool:
    """The request itself was wrong (too large, malformed), whenever it is sent."""
    reasons = response.get("CancellationReasons") or []
    codes = {response.get("Error", {}).get("Code"), *(reason.get("Code") for reason in reasons)}
    return not codes.isdisjoint(_OUR_MISTAKES)


def _contended(response: Item) -> bool:
    reasons = response.get("CancellationReasons") or []
    codes = {response.get("Error", {}).get("Code"), *(reason.get("Code") for reason in reasons)}
    return not codes.isdisjoint({"TransactionConflict", "TransactionInProgressException"})


def _condition_failed(response: Item) -> bool:
    reasons = response.get("CancellationReasons") or []
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


def _conditional(request: Item, condition: str | None, values: Item) -> None:
    if condition is None:
        return
    request["ConditionExpression"] = condition
    request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    _name(request, {f"#{word}": word for word in re.findall(r"#(\w+)", condition)})
    _give(request, {f":{name}": value for name, value in values.items()})


def _name(request: Item, names: Item) -> None:
    if names:
        request.setdefault("ExpressionAttributeNames", {}).update(names)


def _give(request: Item, values: Item) -> None:
    if values:
        request.setdefault("ExpressionAttributeValues", {}).update(to_item(values))


def _plain(value: Any) -> Any:
    """boto3's Decimal as int or float and its Binary as bytes, all the way down."""
    if isinstance(value, Binary):
        return bytes(value.value)  # type: ignore[attr-defined]  # the stubs leave it out
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if hasattr(value, "as_tuple"):
        return int(value) if value == int(value) else float(value)
    return value
