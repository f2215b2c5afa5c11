"""What follows from events that were stored: counting, alerts, announcements.

Runs on the events table's stream. Records come more than once, late and in pieces; everything here
may be done again. A record that cannot be read, or that nothing can be made of, is set aside with its
key, and the rest go on: one bad record never holds up a shard.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import RULE_EVENTS, Event
from aetherlink.kernel.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


# What mends itself: then the whole batch comes again. Anything else is one record's own trouble.
TRY_AGAIN = (UnavailableError,)


@dataclass(frozen=True)
class Record:
    """A stream record: the item's key, and how to read the event in it."""

    pk: str
    sk: str
    read: Callable[[], Event]


class Overview(Protocol):
    def add(self, events: Iterable[Event]) -> None: ...


class Book(Protocol):
    def enter(self, events: Sequence[Event]) -> list[Event]: ...


class Due(Protocol):
    """What is to be archived."""

    def mark(self, events: Iterable[Event]) -> None: ...


class Observer(Protocol):
    def observe(self, events: Sequence[Event]) -> None: ...


class Aside(Protocol):
    def send(self, message: str) -> None: ...


class Relay:
    def __init__(
        self,
        *,
        overview: Overview,
        journal: Book,
        due: Due | None,
        judge: Observer,
        tell: Callable[[Event], None],
        subscribed: Callable[[Event], bool],
        publish: Callable[[Event], None],
        aside: Aside,
    ) -> None:
        self._overview = overview
        self._journal = journal
        self._due = due
        self._judge = judge
        self._tell = tell
        self._subscribed = subscribed
        self._publish = publish
        self._aside = aside

    def handle(self, records: Sequence[Record]) -> list[Record]:
        """Process a batch; the records that were set aside come back.

        Raises only what trying the whole batch again can mend (storage that does not answer).
        """
        failed: list[Record] = []
        readable: list[tuple[Record, Event]] = []
        for record in records:
            try:
                readable.append((record, record.read()))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one record is its own
                failed.append(self._set_aside(record, error))
        try:
            self._process([event for _, event in readable])
        except TRY_AGAIN:
            raise
        except Exception:  # noqa: BLE001 - one of them is bad; find it, and save the others
            failed += [bad for bad in map(self._one, readable) if bad]
        return failed

    def _one(self, pair: tuple[Record, Event]) -> Record | None:
        record, event = pair
        try:
            self._process([event])
        except TRY_AGAIN:
            raise
        except Exception as error:  # noqa: BLE001 - recorded, and the shard goes on
            return self._set_aside(record, error)
        return None

    def _process(self, events: Sequence[Event]) -> None:
        if not events:
            return
        # First, so that an alert which is raised already waits for none of this batch's counting.
        for event in events:
            if event.restored_until is not None:
                continue
            if event.event_type in RULE_EVENTS:
                self._tell(event)
            elif self._subscribed(event):
                self._publish(event)
        if self._due:
            # First of all: what is not marked could expire unarchived.
            self._due.mark([event for event in events if event.restored_until is None])
        self._overview.add(events)
        self._journal.enter(events)
        # What came back from the archive happened long ago.
        self._judge.observe([event for event in events if event.restored_until is None])

    def _set_aside(self, record: Record, error: Exception) -> Record:
        reason = f"{type(error).__name__}: {error}"[:500]
        self._aside.send(json.dumps({"pk": record.pk, "sk": record.sk, "reason": reason}))
        return record
