"""Publish events and read them back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from aetherlink.events import schemas
from aetherlink.events.compatibility import escaped
from aetherlink.events.model import (
    MAX_ID,
    Entry,
    Envelope,
    Event,
    Filters,
    Page,
    Published,
    accept,
    check_depth,
    flat,
    is_from_platform,
    is_shown,
    payload_text,
)
from aetherlink.events.stops import stop_in
from aetherlink.events.timeline import MAX_EXAMINED, Merge, Reader
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import DEFAULT, SYSTEM, Caller, TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from aetherlink.events.keeping import Keeping, Term, Terms
    from aetherlink.events.types import Catalogue

# An answer may have 4 MB in all; the rest is for the envelope around the payloads.
MAX_ANSWER_BYTES = 3_500_000
_AROUND_PAYLOAD = 500
_FETCH = 50
_SPARSE = 250
_OVERVIEW_PAGES = 40
# So many sources of one id are named to who has to choose.
_NAMED_SOURCES = 20
TOP = "~"
# Where a page can stop: at the top, or at a position, which may be cut off behind the seconds.
_STOP = re.compile(rf"{TOP}|\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d[ -~]{{0,80}}", re.ASCII)


class Events(Protocol):
    """What publishing and reading need of the events table."""

    @property
    def shards(self) -> int: ...
    def add(self, event: Event) -> Event | None: ...
    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None: ...
    def by_id(self, tenant_id: TenantId, event_id: str) -> Iterable[Event]: ...
    def entries(
        self, tenant_id: TenantId, shard: int, filters: Filters, *, below: str, limit: int
    ) -> tuple[list[Entry], str | None]: ...
    def fetch(self, entries: Iterable[Entry]) -> dict[str, Event]: ...


class Overview(Protocol):
    """What reading needs of the all-tenant timeline."""

    @property
    def shards(self) -> int: ...
    def entries(
        self, shard: int, filters: Filters, *, below: str, limit: int
    ) -> tuple[list[Entry], str | None]: ...


class Publisher:
    """Admits events from callers."""

    def __init__(
        self,
        events: Events,
        catalogue: Catalogue,
        keeping: Keeping,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._catalogue = catalogue
        self._keeping = keeping
        self._now = now

    def publish(self, caller: Caller, body: Any) -> Published:
        """Validate and store one event. It is durable when this returns."""
        return self.store(self.prepare(caller, body))

    def prepare(self, caller: Caller, body: Any) -> Event:
        """The event that a request body becomes. Raises the contract's error for a wrong one."""
        event_type = stated_type(body)
        if event_type not in schemas.BUILT_IN:
            # Whether a type is known depends on the tenant, and is answered before any other field.
            named = body.get("tenant_id")
            tenant = caller.writes(named if isinstance(named, str) else None)
            self._catalogue.known(tenant, event_type)
        envelope = parse_envelope(body)
        if not caller.scopes.allow_source(envelope.source):
            raise ForbiddenError(
                f"This key may publish as {', '.join(caller.scopes.sources)}; "
                f"'{envelope.source}' is not among them"
            )
        check_depth(envelope.payload)
        tenant = caller.writes(envelope.tenant_id)
        self._catalogue.check(
            tenant, envelope.event_type, envelope.payload, envelope.schema_version
        )
        payload_text(envelope.payload)
        now = self._now()
        return accept(
            envelope,
            tenant_id=tenant,
            event_id=envelope.event_id or uuid7(now),
            received_at=now,
            client_ip=caller.ip,
            trace_id=caller.trace_id,
            published_by=caller.subject,
        )

    def store(
        self, event: Event, *, check: Callable[[Event, Event], None] | None = None
    ) -> Published:
        """Store it. It is durable when this returns; what was there already is left as it is.

        `check` is asked about what was there, with the event beside it; it raises to refuse.
        """
        earlier = self._events.add(event)
        if earlier and check:
            check(earlier, event)
        kept = earlier or event
        retention = self._keeping.of_event(kept)
        return Published(
            event_type=kept.event_type,
            event_id=kept.event_id,
            received_at=to_text(kept.received_at),
            duplicate=earlier is not None,
            expired=not is_shown(kept, retention, self._now()) or None,
        )


def stated_type(body: Any) -> str:
    """The type that an envelope names, if it is there and not the platform's."""
    if not isinstance(body, dict):
        raise UnprocessableError((Flaw("", "must be a JSON object, an event's envelope"),))
    event_type = body.get("event_type")
    if event_type is None or event_type == "":
        raise InvalidError("event_type is required")
    if not isinstance(event_type, str):
        raise UnprocessableError((Flaw("/event_type", "Input should be a valid string"),))
    if is_from_platform(event_type):
        raise ForbiddenError(
            f"{event_type[:128]} is emitted by the platform itself and cannot be published"
        )
    return event_type


def parse_envelope(body: dict[str, Any]) -> Envelope:
    """The envelope in a request body, with the contract's own errors for missing fields."""
    for name in schemas.ENVELOPE_REQUIRED:
        if body.get(name) is None or body[name] == "":
            raise InvalidError(f"Missing required field: {name}")
    try:
        return Envelope.model_validate(body)
    except ValidationError as error:
        # One finding for each kind that an attribute could have had: it is one flaw.
        flaws = dict.fromkeys(_flaw(finding) for finding in error.errors())
        raise UnprocessableError(tuple(flaws)) from error


def _flaw(finding: Any) -> Flaw:
    # Behind an attribute's name pydantic puts the kind that it tried.
    field, *inner = finding["loc"][:2]
    pointer = "".join(f"/{escaped(str(part))}" for part in (field, *inner))
    if finding["type"] == "extra_forbidden":
        return Flaw(pointer, "is not a field of the event envelope")
    if field == "attributes" and inner:
        return Flaw(pointer, "must be text, a whole number or a boolean")
    return Flaw(pointer, str(finding["msg"]).removeprefix("Value error, "))


class Reading:
    """Lists of events and single ones, each within what the caller may see."""

    def __init__(
        self,
        events: Events,
        overview: Overview,
        keeping: Keeping,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._overview = overview
        self._keeping = keeping
        self._now = now

    def recent(
        self, view: TenantId | None, filters: Filters, *, limit: int, cursor: str | None
    ) -> Page:
        """A page of events, newest first; `view` None is every tenant's."""
        question = (view or "*", *filters.question())
        top = stop_in(cursor, _STOP, *question) if cursor else TOP
        if filters.until:
            top = min(top, to_text(filters.until) + "~")
        shown, stopped_at = self._read(view, filters, top, limit)
        position = encode_cursor(stopped_at, *question) if stopped_at else None
        return Page(count=len(shown), events=[flat(e) for e in shown], next_cursor=position)

    def page(
        self, view: TenantId | None, filters: Filters, *, below: str | None, limit: int
    ) -> tuple[list[Event], str | None]:
        """Events below a position, newest first, and where to go on (None: there is nothing more)."""
        top = min(below or TOP, to_text(filters.until) + "~" if filters.until else TOP)
        return self._read(view, filters, top, limit)

    def within(self, view: TenantId | None, filters: Filters, *, limit: int) -> list[Event]:
        """The newest events of a view that fit, as far as one bounded read goes."""
        return self._read(view, filters, TOP, limit)[0]

    def one(self, view: TenantId | None, event_id: str, source: str | None) -> Event:
        """The event of that id. Raises ConflictError naming the sources if several used it.

        Of the same id and source the view's own comes before the platform's: nothing in a request
        could tell the two apart.
        """
        wanted = Filters(source=source or None)
        found: list[Event] = []
        if len(event_id) <= MAX_ID and wanted.can_fit:
            terms = self._keeping.terms_of(view)
            for tenant in dict.fromkeys((view or DEFAULT, SYSTEM)):
                found += self._shown(tenant, event_id, wanted, terms)
            if not found and view is None:
                found = self._anywhere(event_id, wanted, terms)
        if not found:
            raise NotFoundError(f"Event {event_id[:MAX_ID]} not found")
        sources = {event.source for event in found}
        if len(sources) > 1:
            raise ConflictError(
                f"Several sources used the id {event_id}: {_named(sources)}. Name one with ?source="
            )
        return found[0]

    def _shown(
        self, tenant: TenantId, event_id: str, wanted: Filters, terms: Terms
    ) -> Iterator[Event]:
        """A tenant's events of that id: of the source that is wanted, else more than are named."""
        if wanted.source:
            event = self._events.find(tenant, event_id, wanted.source)
            found: Iterable[Event] = [event] if event else []
        else:
            found = self._events.by_id(tenant, event_id)
        retention, now = terms[tenant].retention, self._now()
        return islice((e for e in found if is_shown(e, retention, now)), _NAMED_SOURCES + 1)

    def _read(
        self, view: TenantId | None, filters: Filters, top: str, limit: int
    ) -> tuple[list[Event], str | None]:
        if not filters.can_fit:
            return [], None
        terms = self._keeping.terms_of(view)
        # A filter that no index serves may fit hardly anything: fewer, larger pages then.
        page = limit + 1 if filters.is_indexed else _SPARSE
        merge = self._merge(view, filters, terms, top=top, page=page)
        return self._collect(merge, terms, limit)

    def _anywhere(self, event_id: str, wanted: Filters, terms: Terms) -> list[Event]:
        """An event of any tenant among the newest ones. Older ones need ?tenant_id=."""
        for entry in self._merge(None, wanted, terms, top=TOP, page=MAX_EXAMINED):
            if entry.event_id == event_id:
                return list(self._shown(entry.tenant_id, event_id, wanted, terms))
        return []

    def _merge(
        self, view: TenantId | None, filters: Filters, terms: Terms, *, top: str, page: int
    ) -> Merge:
        # A tenant sees its own events and the platform's. Who sees every tenant reads the relay's
        # timeline, which is about a second behind, and beside it, at once, what was published
        # without naming a tenant.
        tenants = dict.fromkeys((view or DEFAULT, SYSTEM))
        readers: list[Reader] = [
            partial(self._read_index, tenant, shard, self._bounded(filters, terms[tenant]))
            for tenant in tenants
            for shard in range(self._events.shards)
        ]
        if view is None:
            readers += [
                partial(self._read_overview, shard, self._bounded(filters, terms))
                for shard in range(self._overview.shards)
            ]
        return Merge(readers, filters, top, max(page, _FETCH))

    def _bounded(self, filters: Filters, term: Term | Terms) -> Filters:
        """Nothing older than what is shown is looked at."""
        oldest = term.oldest(self._now())
        return replace(filters, since=max(filters.since or oldest, oldest))

    def _read_index(
        self, tenant: TenantId, shard: int, filters: Filters, below: str, limit: int
    ) -> tuple[list[Entry], str | None]:
        return self._events.entries(tenant, shard, filters, below=below, limit=limit)

    def _read_overview(
        self, shard: int, filters: Filters, below: str, limit: int
    ) -> tuple[list[Entry], str | None]:
        pages = min(limit, _OVERVIEW_PAGES)
        return self._overview.entries(shard, filters, below=below, limit=pages)

    def _collect(self, merge: Merge, terms: Terms, limit: int) -> tuple[list[Event], str | None]:
        """At most `limit` events that still exist, and where to go on (None: the end)."""
        shown: list[Event] = []
        size, now = 0, self._now()
        stream = iter(merge)
        while len(shown) < limit:
            batch = list(islice(stream, min(_FETCH, limit - len(shown))))
            if not batch:
                return shown, merge.stopped_at
            found = self._events.fetch(batch)
            kept = [found[entry.position] for entry in batch if entry.position in found]
            for event in kept:
                size += _size(event)
                if shown and size > MAX_ANSWER_BYTES:
                    return shown, shown[-1].position
                if is_shown(event, terms[event.tenant_id].retention, now):
                    shown.append(event)
        # A full page is the last one if nothing follows it.
        going_on = merge.stopped_at
        follows = next(stream, None) is not None or merge.stopped_at is not None
        return shown, going_on if follows else None


def _size(event: Event) -> int:
    """What it takes of an answer, in bytes. Lambda hands an answer on as JSON text, in which a quote
    or a backslash costs one more, and takes 6 MB of that."""
    text = payload_text(event.payload)
    if event.attributes:
        text += json.dumps(event.attributes, ensure_ascii=False)
    return len(text.encode()) + text.count('"') + text.count("\\") + _AROUND_PAYLOAD


def _named(sources: Iterable[str]) -> str:
    names = sorted(sources)
    others = " and others" if len(names) > _NAMED_SOURCES else ""
    return ", ".join(names[:_NAMED_SOURCES]) + others
