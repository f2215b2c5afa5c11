"""Reading the journal's counts, and putting them right. The keys are in journal.py."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from aetherlink.events.counts import Bucket, Level, Segment, begins, bucket, segments
from aetherlink.events.journal import Place, counting
from aetherlink.kernel.time import from_text
from aetherlink.platform.dynamo import (
    ConditionFailedError,
    ContendedError,
    Item,
    Table,
    transact,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId

# Each with its count over all tenants: a transaction takes 25.
_REMOVED_TOGETHER = 12
# A bucket is counted on once per batch of the relay, and a move takes a few milliseconds.
_TRIES = 5


class CountStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def of_tenant(self, tenant: TenantId, since: datetime, until: datetime) -> Counter[str]:
        """What a tenant has from the minute of `since` on."""
        return self._since(f"{tenant}#counts", since, until)

    def of_class(self, days: int, since: datetime, until: datetime) -> Counter[str]:
        """The same of all tenants whose retention is `days`."""
        return self._since(f"*#counts#{days}", since, until)

    def _since(self, scope: str, since: datetime, until: datetime) -> Counter[str]:
        total: Counter[str] = Counter()
        for segment in segments(since, until):
            for item in self._items(scope, segment):
                total.update(_counts(item))
        return total

    def minutes(
        self, tenant: TenantId, first: Bucket, last: Bucket
    ) -> Iterator[tuple[Bucket, Counter[str]]]:
        """A tenant's minutes that count something."""
        for item in self._items(f"{tenant}#counts", Segment(Level.MINUTE, first, last)):
            yield Bucket(str(item["sk"]).partition("#")[2]), _counts(item)

    def hours(self, tenant: TenantId) -> list[str]:
        """The hours in which a tenant has, or had, events."""
        found = self._items(f"{tenant}#counts", Segment(Level.HOUR, Bucket("0"), Bucket("9~")))
        return [str(item["sk"]).partition("#")[2] for item in found if _counts(item)]

    def classes(self) -> list[int]:
        """The retentions that tenants' events were counted under, in days."""
        return [int(i["sk"]) for i in self._table.query_all("pk = :pk", pk="*#counts")]

    def newest_arrivals(self) -> tuple[datetime, datetime] | None:
        """When the newest page of arrivals was written, and when its first event came in."""
        pages = self._table.query(
            "pk = :pk",
            pk="*#arrivals",
            limit=1,
            newest_first=True,
            # The page itself is a list of every tenant's events, and a tenant's request asks too.
            only=("written_at", "received_at"),
        )
        if not pages:
            return None
        return from_text(pages[0]["written_at"]), from_text(pages[0]["received_at"])

    def correct(self, tenant: TenantId, minute: Bucket, actual: Mapping[str, int]) -> bool:
        """Make a tenant's minute count what there is, and with it the hour, the day and the counts
        over all tenants. False if it was counted on meanwhile."""
        item = self._table.get(f"{tenant}#counts", f"{Level.MINUTE}#{minute}")
        counted = {name: n for name, n in (item or {}).items() if "|" in name}
        change = Counter(actual)
        change.subtract(counted)
        change = Counter({name: number for name, number in change.items() if number})
        if not change:
            return True
        places = []
        for level in Level:
            name = bucket(level, begins(minute))
            there = self._table.get(f"{tenant}#counts", f"{level}#{name}")
            places.append(Place(tenant, level, name, int(there["retention_days"]) if there else 0))
        days = max(place.days for place in places)
        requests = []
        for place in places:
            own = Place(tenant, place.level, place.bucket, place.days or days)
            requests += [counting(self._table, p, change) for p in (own, own.overall())]
        # What it counts is what was read: nobody has added to it since.
        update = requests[0]["Update"]
        if item is None:
            update["ConditionExpression"] = "attribute_not_exists(#retention_days)"
            del update["ExpressionAttributeValues"][":days"]
        else:
            unchanged = " AND ".join(f"#c{n} = :c{n}" for n in range(len(counted)))
            update["ConditionExpression"] = f"({update['ConditionExpression']}) AND {unchanged}"
            for n, (counter, number) in enumerate(counted.items()):
                update["ExpressionAttributeNames"][f"#c{n}"] = counter
                update["ExpressionAttributeValues"][f":c{n}"] = {"N": str(number)}
        try:
            transact(requests)
        except ConditionFailedError:
            return False
        return True

    def reclassify(
        self, tenant: TenantId, level: Level, first: Bucket, last: Bucket, days: int
    ) -> int:
        """Count a tenant's buckets, over all tenants, under another retention; how many moved.
        ContendedError if somebody counts on one faster than it can be moved."""
        self._table.put_many([{"pk": "*#counts", "sk": str(days)}])
        items = self._items(f"{tenant}#counts", Segment(level, first, last))
        return sum(self._moved(tenant, item, days) for item in items)

    def _moved(self, tenant: TenantId, item: Item, days: int) -> bool:
        found: Item | None = item
        for _ in range(_TRIES):
            if found is None or int(found["retention_days"]) == days:
                return False
            try:
                self._move(tenant, found, days)
            except ConditionFailedError:
                # Counted on meanwhile, or moved or removed by another job: as it is now.
                found = self._table.get(f"{tenant}#counts", str(item["sk"]))
            else:
                return True
        raise ContendedError("The counts change faster than they can be moved; try again")

    def _move(self, tenant: TenantId, item: Item, days: int) -> None:
        level, _, name = str(item["sk"]).partition("#")
        counts = _counts(item)
        old = Place(None, Level(level), Bucket(name), int(item["retention_days"]))
        new = Place(None, Level(level), Bucket(name), days)
        minus = {counted: -number for counted, number in counts.items()}
        names = {f"#c{n}": counted for n, counted in enumerate(counts)}
        values = {f":c{n}": {"N": str(number)} for n, number in enumerate(counts.values())}
        unchanged = "".join(f" AND #c{n} = :c{n}" for n in range(len(counts)))
        own = {
            "Update": {
                "TableName": self._table.name,
                "Key": {"pk": {"S": f"{tenant}#counts"}, "sk": {"S": item["sk"]}},
                "UpdateExpression": "SET #days = :new",
                "ConditionExpression": "#days = :old" + unchanged,
                "ExpressionAttributeNames": {"#days": "retention_days", **names},
                "ExpressionAttributeValues": {
                    ":old": {"N": str(old.days)},
                    ":new": {"N": str(days)},
                    **values,
                },
            }
        }
        transact([own, counting(self._table, old, minus), counting(self._table, new, counts)])

    def remove(self, tenant: TenantId, items: Sequence[Item]) -> None:
        """Remove buckets of a tenant, and what they count from the counts over all tenants. One that
        was counted on meanwhile stays as it is."""
        for start in range(0, len(items), _REMOVED_TOGETHER):
            some = items[start : start + _REMOVED_TOGETHER]
            try:
                transact([request for item in some for request in self._removal(tenant, item)])
            except (ConditionFailedError, ContendedError):
                for item in some:
                    with suppress(ConditionFailedError):
                        transact(self._removal(tenant, item))

    def _removal(self, tenant: TenantId, item: Item) -> list[Item]:
        level, _, name = str(item["sk"]).partition("#")
        counts = _counts(item)
        own: Item = {
            "TableName": self._table.name,
            "Key": {"pk": {"S": f"{tenant}#counts"}, "sk": {"S": item["sk"]}},
            # What is subtracted is what was read, and once.
            "ConditionExpression": " AND ".join(
                ["#days = :days", *(f"#c{n} = :c{n}" for n in range(len(counts)))]
            ),
            "ExpressionAttributeNames": {
                "#days": "retention_days",
                **{f"#c{n}": counted for n, counted in enumerate(counts)},
            },
            "ExpressionAttributeValues": {
                ":days": {"N": str(item["retention_days"])},
                **{f":c{n}": {"N": str(number)} for n, number in enumerate(counts.values())},
            },
        }
        if not counts:
            return [{"Delete": own}]
        overall = Place(None, Level(level), Bucket(name), int(item["retention_days"]))
        minus = {counted: -number for counted, number in counts.items()}
        return [{"Delete": own}, counting(self._table, overall, minus)]

    def _items(self, scope: str, segment: Segment) -> Iterator[Item]:
        return self._table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            pk=scope,
            first=f"{segment.level}#{segment.first}",
            last=f"{segment.level}#{segment.last}",
        )


def _counts(item: Item) -> Counter[str]:
    # No attribute of ours but a count has a "|" in its name.
    return Counter({name: number for name, number in item.items() if "|" in name and number})
