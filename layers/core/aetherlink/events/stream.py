"""Following events as they arrive: a long poll over pages of arrivals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import Entry, Event, Filters, flat, is_shown
from aetherlink.events.place import Place, Position, Scope, scopes, walk
from aetherlink.kernel.time import from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aetherlink.events.keeping import Terms
    from aetherlink.events.place import Pages, Step
    from aetherlink.kernel.tenancy import TenantId

DEFAULT_WAIT_SECONDS = 20
MAX_WAIT_SECONDS = 25
MAX_EVENTS = 100
MAX_ANSWER_BYTES = 3_500_000
_POLL_SECONDS = 0.5
# Pages of a scope that one look takes.
_LOOK = 10
_FETCH = 50
_AROUND_DATA = 500
# A read of many items may lag behind the stream that told of them; never by this much.
_SETTLED = timedelta(minutes=1)

GAP = "gap"
_GAP_DETAIL = (
    "Events between the position asked for and this one may be missing here: the stream keeps a "
    "day. It goes on from here; GET /events/recent has the others"
)


class Arrivals(Protocol):
    def last(self, scope: str) -> int: ...
    def after(self, scope: str, page: int, limit: int) -> Pages: ...


class Events(Protocol):
    def fetch(self, entries: Iterable[Entry]) -> dict[str, Event]: ...
    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None: ...


class Retention(Protocol):
    def terms_of(self, view: TenantId | None) -> Terms: ...


@dataclass(frozen=True)
class Message:
    """One event for the client. `id` is the position just after it, `data` one line of JSON."""

    id: str
    event: str
    data: str


@dataclass(frozen=True)
class Answer:
    """What there was, in order of arrival, and the position after all of it. No messages: nothing
    came in time, or nothing that fits."""

    messages: tuple[Message, ...]
    position: str


@dataclass
class _Round:
    """What one look found. `is_partial`: there may be more at once."""

    position: Position
    messages: list[Message]
    is_partial: bool


class Stream:
    def __init__(
        self,
        arrivals: Arrivals,
        events: Events,
        keeping: Retention,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._arrivals = arrivals
        self._events = events
        self._keeping = keeping
        self._now = now
        self._sleep = sleep

    def follow(
        self,
        view: TenantId | None,
        position: Position | None,
        filters: Filters,
        *,
        wait: timedelta,
    ) -> Answer:
        """What arrived after `position` (None: from now on), as soon as there is some of it."""
        until = self._now() + wait
        position = position or self._end(view)
        while True:
            found = self._look(position, filters)
            position = found.position
            left = (until - self._now()).total_seconds()
            if found.messages or left <= 0:
                return Answer(tuple(found.messages), position.cursor())
            if not found.is_partial:
                self._sleep(min(_POLL_SECONDS, left))

    def _end(self, view: TenantId | None) -> Position:
        now = int(self._now().timestamp())
        return Position(
            view,
            {s: Place(self._arrivals.last(s) + 1, idle_at=now) for s in scopes(view)},
        )

    def _look(self, position: Position, filters: Filters) -> _Round:
        # The time first: a place is idle as of before it was looked at.
        now = self._now()
        found = {
            scope: self._arrivals.after(scope, place.page, _LOOK)
            for scope, place in position.places.items()
        }
        result = _Round(position, [], any(len(pages) >= _LOOK for pages in found.values()))
        for scope, pages in found.items():
            if not pages:
                self._rest(result, scope, now)
        self._collect(result, walk(result.position, found, now), filters)
        return result

    def _rest(self, result: _Round, scope: Scope, now: datetime) -> None:
        """Nothing was found from the scope's place on: it is the end, or it is gone."""
        place = result.position.places[scope]
        is_end = place.is_end(now)
        end = place.page - 1 if is_end else self._arrivals.last(scope)
        if end >= place.page:
            # A page was written this very moment; the next look finds it.
            return
        idle = Place(end + 1, idle_at=int(now.timestamp()))
        result.position = result.position.moved(scope, idle)
        # Neither its page nor the one before is left: nobody can know what came between.
        if not is_end and (end == 0 or end + 1 != place.page or place.index):
            result.messages.append(_gap(result.position))

    def _collect(self, result: _Round, steps: Iterator[Step], filters: Filters) -> None:
        """Take what fits the filters and still exists, as much as one answer holds."""
        size, terms = 0, None
        while batch := list(islice(steps, _FETCH)):
            wanted = [s.entry for s in batch if s.entry and s.entry.fits(filters)]
            terms = terms or (self._keeping.terms_of(result.position.view) if wanted else None)
            found = self._fetch(wanted) if wanted else {}
            for step in batch:
                message = None
                if step.entry is None:
                    message = _gap(step.position)
                elif terms and (event := found.get(step.entry.position)):
                    message = self._message(event, step.position, terms)
                if message:
                    # A quote or a backslash costs one byte more where Lambda hands the answer on.
                    size += len(message.data.encode()) + _AROUND_DATA
                    size += message.data.count('"') + message.data.count("\\")
                    if result.messages and (
                        size > MAX_ANSWER_BYTES or len(result.messages) >= MAX_EVENTS
                    ):
                        return
                    result.messages.append(message)
                # Also past what does not fit or is gone.
                result.position = step.position

    def _fetch(self, entries: list[Entry]) -> dict[str, Event]:
        wanted = {entry.position for entry in entries}
        found = {p: e for p, e in self._events.fetch(entries).items() if p in wanted}
        # That read may be a moment behind, and what it lacks would be passed over for good.
        settled = self._now() - _SETTLED
        for entry in entries:
            if entry.position not in found and _received_at(entry) > settled:
                event = self._events.find(entry.tenant_id, entry.event_id, entry.source)
                if event and event.position == entry.position:
                    found[event.position] = event
        return found

    def _message(self, event: Event, position: Position, terms: Terms) -> Message | None:
        if not is_shown(event, terms[event.tenant_id].retention, self._now()):
            return None
        return Message(position.cursor(), event.event_type, _to_json(flat(event)))


def _gap(position: Position) -> Message:
    return Message(position.cursor(), GAP, _to_json({"detail": _GAP_DETAIL}))


def _received_at(entry: Entry) -> datetime:
    return from_text(entry.position.split("#")[1])


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
