"""A table in memory, for tests of what is written in transactions: conditions and all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aetherlink.platform.dynamo import ConditionFailedError, Item, Table


class MemoryTable(Table):
    """Behaves as `Table` does, as far as the journal goes."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.items: dict[tuple[str, str], Item] = {}

    def get(self, pk: str, sk: str) -> Item | None:
        return self.items.get((pk, sk))

    def get_many(self, keys: Iterable[tuple[str, str]]) -> Iterator[Item]:
        return iter([self.items[key] for key in keys if key in self.items])

    def put_many(self, items: Iterable[Item]) -> None:
        for item in items:
            self.items[item["pk"], item["sk"]] = dict(item)

    def query(
        self,
        condition: str,
        *,
        index: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        **values: Any,
    ) -> list[Item]:
        found = list(self.query_all(condition, **values))
        return (found[::-1] if newest_first else found)[:limit]

    def query_all(
        self, condition: str, *, index: str | None = None, **values: Any
    ) -> Iterator[Item]:
        low, high = "", "\uffff"
        if "BETWEEN" in condition:
            low, high = values["first"], values["last"]
        elif "sk >" in condition:
            low = values["first"] + "\0"
        keys = sorted(k for k in self.items if k[0] == values["pk"] and low <= k[1] <= high)
        return iter([self.items[key] for key in keys])

    def put_request(self, values: Item, *, only_if: str | None = None, **names: Any) -> Item:
        return {"key": (values["pk"], values["sk"]), "put": values, "if": only_if, "given": names}

    def add_request(
        self,
        pk: str,
        sk: str,
        numbers: Mapping[str, float | set[str]],
        *,
        setting: Mapping[str, Any] | None = None,
        only_if: str | None = None,
        **values: Any,
    ) -> Item:
        given = {"add": dict(numbers), "set": dict(setting or {})}
        return {"key": (pk, sk), **given, "if": only_if, "given": values}

    def transact(self, writes: list[Item]) -> None:
        keys = [write["key"] for write in writes]
        # As DynamoDB: one write for an item, and no more than the emulators take.
        assert len(set(keys)) == len(keys) <= 25
        if not all(self._holds(write) for write in writes):
            raise ConditionFailedError(None)
        for write in writes:
            item = dict(write.get("put") or self.items.get(write["key"], {}))
            item |= {"pk": write["key"][0], "sk": write["key"][1], **write.get("set", {})}
            # The journal adds numbers alone.
            for name, number in write.get("add", {}).items():
                item[name] = item.get(name, 0) + number
            self.items[write["key"]] = item

    def _holds(self, write: Item) -> bool:
        there, given = self.items.get(write["key"]), write["given"]
        match write["if"]:
            case None:
                return True
            case "attribute_not_exists(pk)":
                return there is None
            case "size(digests) = :earlier":
                return there is not None and len(there["digests"]) == given["earlier"]
            case "attribute_not_exists(#retention_days) OR #retention_days = :days":
                return there is None or there["retention_days"] == given["days"]
        raise AssertionError(write["if"])
