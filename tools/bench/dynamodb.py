"""DynamoDB in this process: keeps items sorted by key, and counts what each call reads and writes.

It stands in for the service in two places. `in_process` replaces botocore's whole call: fast, to load
hundreds of thousands of events. `on_the_wire` answers where the HTTP request would be sent: botocore
serialises, signs and parses as ever, so that CPU time is a function's real one.

Only what AetherLink asks for is known; anything else raises rather than be counted wrongly. Nothing
expires and every read sees every write.
"""

from __future__ import annotations

import base64
import json
import marshal
from bisect import bisect_left, insort
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import process_time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from tools.bench.expressions import (
    Between,
    Comparison,
    Condition,
    Item,
    Scope,
    UnsupportedError,
    Word,
    condition,
    members,
    update,
)
from tools.bench.metering import Usage, size_of, units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_ITEM = 400 * 1024
MAX_PAGE = 1024 * 1024
_TOP = chr(0x10FFFF)
Key = tuple[str, str]


class Refusal(Exception):  # noqa: N818 - an answer of the service, as it words it
    """What the service answers with an error."""

    def __init__(self, code: str, message: str = "", **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.more = more


@dataclass(frozen=True)
class Change:
    """An entry of a table's stream, packed."""

    key: Key
    names: tuple[str, str]
    old: bytes | None
    new: bytes | None

    def record(self) -> dict[str, Any]:
        """As Lambda hands it over (NEW_AND_OLD_IMAGES)."""
        change: Item = {"Keys": {n: {"S": v} for n, v in zip(self.names, self.key, strict=True)}}
        if self.old is not None:
            change["OldImage"] = _unpack(self.old)
        if self.new is not None:
            change["NewImage"] = _unpack(self.new)
        name = "REMOVE" if self.new is None else "MODIFY" if self.old is not None else "INSERT"
        return {"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": change}


# A place in an index: its sort key, and the item's own key.
Place = tuple[str, str, str]


@dataclass
class Index:
    """The table itself, or a global secondary index: places by partition, sorted.

    `kept` names the attributes that it holds; None, all of them.
    """

    hash_name: str
    range_name: str
    kept: frozenset[str] | None = None
    partitions: dict[str, list[Place]] = field(default_factory=dict)

    def entry(self, item: Item | None) -> Item | None:
        """What the index holds of an item; None if the item lacks one of its keys."""
        if item is None or not {self.hash_name, self.range_name} <= item.keys():
            return None
        if self.kept is None:
            return item
        return {name: value for name, value in item.items() if name in self.kept}

    def replace(self, key: Key, old: Item | None, new: Item | None) -> int:
        """Enter what became of an item; the write units that it costs an index."""
        before, after = self.entry(old), self.entry(new)
        if before == after:
            return 0
        sizes = [size_of(entry) for entry in (before, after) if entry is not None]
        was, now = self._place(key, before), self._place(key, after)
        if was == now:
            return units(max(sizes))
        if was is not None:
            self.leave(*was)
        if now is not None:
            self.enter(*now)
        return sum(map(units, sizes))

    def enter(self, partition: str, place: Place) -> None:
        insort(self.partitions.setdefault(partition, []), place)

    def leave(self, partition: str, place: Place) -> None:
        places = self.partitions[partition]
        del places[bisect_left(places, place)]

    def _place(self, key: Key, entry: Item | None) -> tuple[str, Place] | None:
        if entry is None:
            return None
        return entry[self.hash_name]["S"], (entry[self.range_name]["S"], *key)

    def walk(self, partition: str, low: Place, high: Place, *, forward: bool) -> Iterator[Key]:
        """The keys of the items from place to place."""
        places = self.partitions.get(partition, [])
        start, end = bisect_left(places, low), bisect_left(places, high)
        for n in range(start, end) if forward else range(end - 1, start - 1, -1):
            yield places[n][1:]


class Store:
    """A table, from the template's own definition."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        wrong = [a for a in properties["AttributeDefinitions"] if a["AttributeType"] != "S"]
        if wrong:
            raise UnsupportedError(f"keys that are no strings: {wrong}")
        own = _names(properties)
        self.primary = Index(*own)
        self.indexes: dict[str, Index] = {}
        for given in properties.get("GlobalSecondaryIndexes", []):
            names, projection = _names(given), given["Projection"]
            kept = frozenset({*own, *names, *projection.get("NonKeyAttributes", [])})
            is_all = projection["ProjectionType"] == "ALL"
            self.indexes[given["IndexName"]] = Index(*names, None if is_all else kept)
        self.stream: list[Change] | None = [] if "StreamSpecification" in properties else None
        # Each packed, with its size.
        self._items: dict[Key, tuple[bytes, int]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def key_of(self, given: Mapping[str, Any]) -> Key:
        try:
            pk, sk = given[self.primary.hash_name]["S"], given[self.primary.range_name]["S"]
        except KeyError as error:
            raise Refusal("ValidationException", f"the key lacks {error}") from error
        if not pk or not sk:
            raise Refusal("ValidationException", "a key is empty")
        return str(pk), str(sk)

    def get(self, key: Key) -> Item | None:
        found = self._items.get(key)
        return _unpack(found[0]) if found else None

    def replace(self, key: Key, new: Item | None) -> int:
        """Write an item, or remove it (None); the write units."""
        there = self._items.get(key)
        old_packed, old_size = there or (None, 0)
        packed, size = (None, 0) if new is None else (_pack(new), size_of(new))
        if size > MAX_ITEM:
            raise Refusal("ValidationException", "Item size has exceeded the maximum allowed size")
        place = (key[1], *key)
        if packed is not None:
            self._items[key] = packed, size
            if there is None:
                self.primary.enter(key[0], place)
        elif there is not None:
            del self._items[key]
            self.primary.leave(key[0], place)
        if self.stream is not None and old_packed != packed:
            names = (self.primary.hash_name, self.primary.range_name)
            self.stream.append(Change(key, names, old_packed, packed))
        cost = units(max(old_size, size))
        if self.indexes:
            old = _unpack(old_packed) if old_packed is not None else None
            cost += sum(index.replace(key, old, new) for index in self.indexes.values())
        return cost


@dataclass
class Bounds:
    """From which place to which a query goes: the first that is in, and the first that is not."""

    low: Place = ("", "", "")
    high: Place = (_TOP, "", "")

    @classmethod
    def of(cls, conditions: list[Condition], scope: Scope) -> Bounds:
        if not conditions:
            return cls()
        (given,) = conditions
        if isinstance(given, Between):
            low, high = _text(given.low, scope), _text(given.high, scope)
            if low > high:
                raise Refusal("ValidationException", "BETWEEN: the lower bound is the higher one")
            return cls(_before(low), _behind(high))
        if not isinstance(given, Comparison):
            raise UnsupportedError(f"{given} is no key condition")
        value = _text(given.right, scope)
        if given.operator == "begins_with":
            return cls(_before(value), _before(value + _TOP))
        return {
            "=": cls(_before(value), _behind(value)),
            ">": cls(low=_behind(value)),
            ">=": cls(low=_before(value)),
            "<": cls(high=_before(value)),
            "<=": cls(high=_behind(value)),
        }[given.operator]

    def from_start(self, last: Place, *, forward: bool) -> Bounds:
        """What follows an exclusive start key."""
        if forward:
            return Bounds(max(self.low, (*last[:2], last[2] + chr(0))), self.high)
        return Bounds(self.low, min(self.high, last))


def _before(value: str) -> Place:
    return (value, "", "")


def _behind(value: str) -> Place:
    return (value, _TOP, "")


class Double:
    """The service: tables by name. `usage` is what was done since it was last reset."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self.tables = {name: Store(properties) for name, properties in tables.items()}
        self.usage = Usage()
        # CPU time spent in here, which is no function's.
        self.own_seconds = 0.0
        # What went to other services: (operation, parameters).
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def reset(self) -> Usage:
        """Begin counting anew; what was counted so far."""
        counted, self.usage, self.own_seconds = self.usage, Usage(), 0.0
        return counted

    def take_stream(self, table: str) -> list[Change]:
        """What was written to a table since the last time."""
        taken = self.tables[table].stream
        if taken is None:
            raise UnsupportedError(f"{table} has no stream")
        self.tables[table].stream = []
        return taken

    @contextmanager
    def in_process(self) -> Iterator[None]:
        """Every client's calls come here instead of to botocore."""

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if client.meta.service_model.service_name != "dynamodb":
                self.sent.append((operation, parameters))
                return {"MessageId": "1"}
            try:
                return self.handle(operation, parameters)
            except Refusal as refusal:
                error: Any = {
                    "Error": {"Code": refusal.code, "Message": refusal.message},
                    "ResponseMetadata": {"HTTPStatusCode": 400},
                    **refusal.more,
                }
                raise ClientError(error, operation) from refusal

        with patch.object(BaseClient, "_make_api_call", call):
            yield

    @contextmanager
    def on_the_wire(self, client: DynamoDBClient) -> Iterator[None]:
        """A client's requests are answered where they would be sent."""
        answer: Any = self._answer  # the stubs expect handlers that answer nothing
        client.meta.events.register("before-send.dynamodb", answer)
        try:
            yield
        finally:
            client.meta.events.unregister("before-send.dynamodb", answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        started = process_time()
        operation = _header(request, "X-Amz-Target").rpartition(".")[2]
        try:
            parameters = json.loads(request.body, object_hook=_bytes_in)
            status, body = 200, self.handle(operation, parameters)
        except Refusal as refusal:
            kind = f"com.amazonaws.dynamodb.v20120810#{refusal.code}"
            status, body = 400, {"__type": kind, "message": refusal.message, **refusal.more}
        answer = answered(json.dumps(body, default=_bytes_out).encode(), status)
        self.own_seconds += process_time() - started
        return answer

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """One call, parameters and answer as botocore has them. Raises Refusal."""
        self.usage.calls[operation] += 1
        return {
            "PutItem": self._put,
            "GetItem": self._get,
            "DeleteItem": self._delete,
            "UpdateItem": self._update,
            "BatchGetItem": self._batch_get,
            "BatchWriteItem": self._batch_write,
            "Query": self._query,
            "TransactWriteItems": self._transact,
        }[operation](request)

    def _table(self, request: Mapping[str, Any]) -> Store:
        return self._named(request["TableName"])

    def _named(self, name: str) -> Store:
        if name not in self.tables:
            raise Refusal("ResourceNotFoundException", f"there is no table {name}")
        return self.tables[name]

    def _put(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.usage.write_units += self._write("Put", request)
        return {}

    def _delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.usage.write_units += self._write("Delete", request)
        return {}

    def _update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.usage.write_units += self._write("Update", request)
        return {}

    def _write(self, kind: str, request: Mapping[str, Any]) -> int:
        """Do one conditional write; its units. Raises Refusal if the condition does not hold."""
        store, scope = self._table(request), Scope.of(request)
        key = store.key_of(request["Item"] if kind == "Put" else request["Key"])
        failed = self._failed(kind, request)
        if failed is not None:
            # A write that is refused costs what it would have cost in the table alone.
            given = request["Item"] if kind == "Put" else failed
            self.usage.write_units += units(max(size_of(failed), size_of(given)))
            raise Refusal(
                "ConditionalCheckFailedException",
                "The conditional request failed",
                **_found(request, failed),
            )
        if kind == "Delete":
            return store.replace(key, None)
        if kind == "Put":
            return store.replace(key, request["Item"])
        before = store.get(key) or dict(request["Key"])
        return store.replace(key, update(before, request["UpdateExpression"], scope))

    def _failed(self, kind: str, request: Mapping[str, Any]) -> Item | None:
        """What stands in the way of a write: the item there ({} for none); None if nothing does."""
        if "ConditionExpression" not in request:
            return None
        store = self._table(request)
        found = store.get(store.key_of(request["Item"] if kind == "Put" else request["Key"])) or {}
        holds = condition(request["ConditionExpression"]).holds(found, Scope.of(request))
        return None if holds else found

    def _get(self, request: Mapping[str, Any]) -> dict[str, Any]:
        store = self._table(request)
        item = store.get(store.key_of(request["Key"]))
        self.usage.read([size_of(item)] if item else [], returned=bool(item))
        return {"Item": item} if item else {}

    def _batch_get(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answers: dict[str, list[Item]] = {}
        for name, asked in request["RequestItems"].items():
            store = self._named(name)
            keys = [store.key_of(key) for key in asked["Keys"]]
            if len(keys) > 100 or len(set(keys)) < len(keys):
                raise Refusal("ValidationException", "over 100 keys, or one of them twice")
            found = [item for item in map(store.get, keys) if item]
            self.usage.read([size_of(item) for item in found], returned=len(found))
            answers[name] = found
        return {"Responses": answers, "UnprocessedKeys": {}}

    def _batch_write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        given = [(n, w) for n, writes in request["RequestItems"].items() for w in writes]
        puts = [(self._named(n), w["PutRequest"]["Item"]) for n, w in given if "PutRequest" in w]
        if len(puts) < len(given):
            raise UnsupportedError("deletes in BatchWriteItem")
        places = {(id(store), store.key_of(item)) for store, item in puts}
        if len(given) > 25 or len(places) < len(given):
            raise Refusal("ValidationException", "over 25 items, or one of them twice")
        for store, item in puts:
            self.usage.write_units += store.replace(store.key_of(item), item)
        return {"UnprocessedItems": {}}

    def _transact(self, request: Mapping[str, Any]) -> dict[str, Any]:
        writes = [next(iter(write.items())) for write in request["TransactItems"]]
        places = {
            (w["TableName"], self._table(w).key_of(w["Item"] if kind == "Put" else w["Key"]))
            for kind, w in writes
        }
        if len(writes) > 100 or len(places) < len(writes):
            raise Refusal("ValidationException", "over 100 items, or one of them twice")
        found = [self._failed(kind, write) for kind, write in writes]
        if any(item is not None for item in found):
            reasons = [
                {"Code": "None"}
                if item is None
                else {"Code": "ConditionalCheckFailed", **_found(write, item)}
                for (_, write), item in zip(writes, found, strict=True)
            ]
            codes = ", ".join(str(reason["Code"]) for reason in reasons)
            raise Refusal(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                CancellationReasons=reasons,
            )
        # Each write is prepared and then committed.
        self.usage.write_units += 2 * sum(self._write(kind, write) for kind, write in writes)
        return {}

    def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "FilterExpression" in request:
            raise UnsupportedError("FilterExpression")
        store, scope = self._table(request), Scope.of(request)
        name = request.get("IndexName")
        index = store.indexes[name] if name else store.primary
        if name and request.get("ConsistentRead"):
            raise Refusal("ValidationException", "an index has no consistent reads")
        partition, sorts = _key_conditions(request, index, scope)
        bounds, forward = Bounds.of(sorts, scope), request.get("ScanIndexForward", True)
        if start := request.get("ExclusiveStartKey"):
            last = (start[index.range_name]["S"], *store.key_of(start))
            bounds = bounds.from_start(last, forward=forward)
        keys = index.walk(partition, bounds.low, bounds.high, forward=forward)
        return self._page(request, store, index, keys)

    def _page(
        self, request: Mapping[str, Any], store: Store, index: Index, keys: Iterator[Key]
    ) -> dict[str, Any]:
        items: list[Item] = []
        sizes: list[int] = []
        read, limit, is_cut = 0, request.get("Limit"), False
        for key in keys:
            entry = index.entry(store.get(key)) or {}
            items.append(entry)
            sizes.append(size_of(entry))
            # DynamoDB stops at the limit without looking whether anything follows.
            read += sizes[-1]
            if len(items) == limit or read > MAX_PAGE:
                is_cut = True
                break
        is_count = request.get("Select") == "COUNT"
        self.usage.read(sizes, returned=0 if is_count else len(items))
        answer: dict[str, Any] = {"Count": len(items), "ScannedCount": len(items)}
        if not is_count:
            answer["Items"] = [_only(item, request) for item in items]
        if is_cut:
            names = {store.primary.hash_name, store.primary.range_name}
            names |= {index.hash_name, index.range_name}
            answer["LastEvaluatedKey"] = {name: items[-1][name] for name in sorted(names)}
        return answer


def _only(item: Item, request: Mapping[str, Any]) -> Item:
    """The attributes that a query wants; it reads, and pays for, whole items all the same."""
    if "ProjectionExpression" not in request:
        return item
    wanted = [name.strip() for name in request["ProjectionExpression"].split(",")]
    return {name: item[name] for name in wanted if name in item}


def answered(body: bytes, status: int = 200) -> AWSResponse:
    """An HTTP answer as botocore's own session gives it."""
    headers = HTTPHeaders()
    headers["Content-Type"] = "application/x-amz-json-1.0"
    return AWSResponse("https://dynamodb.test/", status, headers, _Raw(body))


class _Raw:
    """The part of a urllib3 response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


def _key_conditions(
    request: Mapping[str, Any], of: Index, scope: Scope
) -> tuple[str, list[Condition]]:
    """The partition that a query asks for, and the conditions on the sort key."""
    partition: str | None = None
    sorts: list[Condition] = []
    for given in members(condition(request["KeyConditionExpression"])):
        operand = given.left if isinstance(given, Comparison) else getattr(given, "operand", None)
        name = scope.name(operand.text) if isinstance(operand, Word) else None
        if name == of.hash_name and isinstance(given, Comparison) and given.operator == "=":
            partition = _text(given.right, scope)
        elif name == of.range_name:
            sorts.append(given)
        else:
            raise Refusal("ValidationException", f"{name} is no key of what is queried")
    if partition is None or len(sorts) > 1:
        raise Refusal("ValidationException", "a query names one partition and one range")
    return partition, sorts


def _names(of: Mapping[str, Any]) -> tuple[str, str]:
    by_kind = {part["KeyType"]: part["AttributeName"] for part in of["KeySchema"]}
    return by_kind["HASH"], by_kind["RANGE"]


def _text(operand: Any, scope: Scope) -> str:
    return str(operand.of({}, scope)["S"])


def _found(request: Mapping[str, Any], item: Item) -> dict[str, Any]:
    wants = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return {"Item": item} if wants and item else {}


def _header(request: Any, name: str) -> str:
    value = request.headers[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def _pack(item: Item) -> bytes:
    """An item in a fraction of the memory that its dicts take, and out of the collector's sight."""
    try:
        return marshal.dumps(item, 2)
    except ValueError:  # a StrEnum, which is text to botocore
        return marshal.dumps(_bare(item), 2)


def _unpack(packed: bytes) -> Item:
    item: Item = marshal.loads(packed)  # noqa: S302  # nosec B302
    return item


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _bare(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_bare(inner) for inner in value]
    if isinstance(value, str):
        return str(value)
    return value


def _bytes_in(given: dict[str, Any]) -> dict[str, Any]:
    if len(given) == 1 and isinstance(given.get("B"), str):
        return {"B": base64.b64decode(given["B"])}
    return given


def _bytes_out(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} goes over no wire")
