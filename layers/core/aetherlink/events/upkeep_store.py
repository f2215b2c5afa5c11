"""Stored events as the keeper sees them: by age, past their retention or not. Keys are in store.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from aetherlink.events.store import TOP, entry_of, is_entry
from aetherlink.kernel.time import to_text
from aetherlink.platform.boundary import spread
from aetherlink.platform.dynamo import ConditionFailedError, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aetherlink.events.model import Entry
    from aetherlink.kernel.tenancy import TenantId

T = TypeVar("T")

# Conditional writes come one to a call; this many calls at a time.
_WRITERS = 8


@dataclass(frozen=True)
class Stored:
    """An index entry, and when storage deletes what it stands for (epoch seconds)."""

    entry: Entry
    expires_at: int


class UpkeepStore:
    def __init__(self, table: Table, *, shards: int) -> None:
        self._table = table
        self._shards = shards

    @property
    def shards(self) -> int:
        return self._shards

    def oldest(
        self, tenant_id: TenantId, shard: int, *, above: str, until: datetime, limit: int
    ) -> tuple[list[Stored], str | None]:
        """Index entries above a position, to the instant `until` itself, oldest first; and the
        position to go on from (None: there is nothing further)."""
        floor, ceiling = above + "!" if above else "0", to_text(until) + TOP
        if ceiling < floor:
            return [], None
        items, more = self._table.query_up(
            "#timeline = :key AND #at BETWEEN :floor AND :ceiling",
            index="timeline",
            limit=limit,
            key=f"{tenant_id}#{shard}",
            floor=floor,
            ceiling=ceiling,
        )
        found = [
            Stored(entry_of(item), int(item["expires_at"])) for item in items if is_entry(item)
        ]
        return found, str(items[-1]["at"]) if more and items else None

    def remove(self, entries: Sequence[Entry], now: datetime) -> int:
        """Delete events; how many there were. One that took another's place meanwhile stays, and so
        does one that is back from the archive for a while."""
        return sum(_at_once(partial(self._remove, now=now), entries))

    def restamp(self, stored: Sequence[tuple[Entry, int]]) -> int:
        """Give events a later time of expiry; how many had an earlier one."""
        return sum(_at_once(self._restamp, stored))

    def _remove(self, entry: Entry, now: datetime) -> bool:
        try:
            self._table.delete(
                f"{entry.tenant_id}#{entry.event_id}",
                entry.source,
                only_if="#at = :at AND "
                "(attribute_not_exists(restored_until) OR restored_until <= :now)",
                at=entry.position,
                now=to_text(now),
            )
        except ConditionFailedError:
            return False
        return True

    def _restamp(self, change: tuple[Entry, int]) -> bool:
        entry, until = change
        try:
            self._table.set(
                f"{entry.tenant_id}#{entry.event_id}",
                entry.source,
                {"expires_at": until},
                only_if="#at = :at AND expires_at < :until",
                at=entry.position,
                until=until,
            )
        except ConditionFailedError:
            return False
        return True


def _at_once(write: Callable[[T], bool], wanted: Sequence[T]) -> list[bool]:
    return spread(write, wanted, workers=_WRITERS)
