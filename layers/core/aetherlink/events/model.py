"""What an event is, and the pure rules on it: normalising, keeping, ordering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from aetherlink.kernel.errors import Flaw, TooLargeError, UnprocessableError
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, parse_instant, to_text

# A producer's clock may be wrong; beyond this its time is not believed (contract, Events).
CLOCK_TOLERANCE = timedelta(minutes=5)
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_DEPTH = 100
# In characters, of 4 bytes at most: keys have room for a tenant, and for each of these.
MAX_ID = 128
MAX_TYPE = 128
MAX_SOURCE = 256
MAX_ATTRIBUTES_BYTES = 16 * 1024
# Event time may be past retention on arrival. The item is kept for a day all the same, so that the
# producer's retries are still recognised as the same event.
DEDUPE_FLOOR = timedelta(days=1)

# These ids would be shadowed by routes of the same shape: GET /events/<word>.
ROUTE_WORDS = frozenset(
    {"archive", "batch", "cloudevents", "prune", "publish", "recent", "retention", "schema",
     "stats", "stream"}
)  # fmt: skip

RULE_EVENTS = frozenset({"ops.alert.raised", "ops.alert.resolved"})
PLATFORM_PREFIXES = ("ops.", "security.")


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


# Severities that have an index of their own; info, the bulk, does not pay for one.
INDEXED_SEVERITIES = frozenset({Severity.WARNING, Severity.ERROR, Severity.CRITICAL})


class Envelope(Given):
    """What a producer sends: the envelope of spec v1.15, with its defaults."""

    event_type: str = Field(min_length=1, max_length=MAX_TYPE)
    source: str = Field(min_length=1, max_length=MAX_SOURCE)
    payload: dict[str, Any]
    timestamp: datetime | None = Field(
        default=None, description="Event time, RFC 3339; now when absent or empty"
    )
    event_id: str | None = Field(
        default=None, min_length=1, max_length=MAX_ID, description="A UUIDv7 when absent"
    )
    tenant_id: str | None = None
    severity: Severity = Severity.INFO
    schema_version: str | None = Field(default=None, max_length=32)
    attributes: dict[str, str | int | bool] | None = Field(
        default=None, description="A CloudEvent's other attributes and extensions"
    )

    @field_validator("timestamp", mode="before")
    @classmethod
    def _instant(cls, given: object) -> object:
        if given is None or given == "":
            return None
        if isinstance(given, datetime):
            return given
        if not isinstance(given, str):
            raise ValueError("must be an RFC 3339 time such as 2026-11-23T08:30:00Z")
        return parse_instant(given)

    @field_validator("severity", mode="before")
    @classmethod
    def _lower(cls, given: object) -> object:
        if given is None:
            return Severity.INFO
        return given.lower() if isinstance(given, str) else given

    @field_validator("schema_version", mode="before")
    @classmethod
    def _version_text(cls, given: object) -> object:
        # "1" and 1 are both in use among the spec's clients.
        is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
        return str(given) if is_number else given

    @field_validator("attributes")
    @classmethod
    def _not_too_many(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        size = len(json.dumps(given, ensure_ascii=False).encode("utf-8", "replace"))
        if given and size > MAX_ATTRIBUTES_BYTES:
            limit = f"{MAX_ATTRIBUTES_BYTES:,} bytes (16 KB)"
            raise ValueError(f"must have {limit} at most as JSON, got {size:,}")
        return given

    @field_validator("event_id")
    @classmethod
    def _no_route_word(cls, given: str | None) -> str | None:
        if given in ROUTE_WORDS:
            raise ValueError(f"'{given}' is the name of a route and cannot be an event id")
        return given


class Event(Shape):
    """An event as it is kept and read back."""

    event_id: str
    event_type: str
    source: str
    tenant_id: TenantId
    severity: Severity
    timestamp: datetime
    received_at: datetime
    payload: dict[str, Any]
    schema_version: str | None = None
    client_ip: str | None = None
    trace_id: str | None = None
    published_by: str | None = None
    original_timestamp: datetime | None = Field(
        default=None, description="What the producer sent, where its clock was ahead"
    )
    attributes: dict[str, Any] | None = None
    restored_until: datetime | None = Field(
        default=None, description="Of an event that came back from the archive: how long it stays"
    )

    @property
    def position(self) -> str:
        return position(self)

    @property
    def counted_at(self) -> datetime:
        """The instant at which rules count it: a clock that is ahead must not count in the future."""
        return min(self.timestamp, self.received_at)


def position(event: Event) -> str:
    """Where the event stands in any list: by event time, then arrival, then a digest of its name.

    The digest makes positions unique, so that a cursor can be a position. It has 27+1+27+1+12
    characters however long the ids are (a sort key may have 1,024 bytes).
    """
    name = digest(event.tenant_id, event.event_id, event.source, length=12)
    return f"{to_text(event.timestamp)}#{to_text(event.received_at)}#{name}"


def accept(
    envelope: Envelope,
    *,
    tenant_id: TenantId,
    event_id: str,
    received_at: datetime,
    client_ip: str | None = None,
    trace_id: str | None = None,
    published_by: str | None = None,
) -> Event:
    """The event that an envelope becomes on arrival."""
    stated = envelope.timestamp or received_at
    is_ahead = stated > received_at + CLOCK_TOLERANCE
    return Event(
        event_id=event_id,
        event_type=envelope.event_type,
        source=envelope.source,
        tenant_id=tenant_id,
        severity=envelope.severity,
        timestamp=received_at if is_ahead else stated,
        received_at=received_at,
        payload=envelope.payload,
        schema_version=envelope.schema_version,
        client_ip=client_ip or None,
        trace_id=trace_id or None,
        published_by=published_by or None,
        original_timestamp=stated if is_ahead else None,
        attributes=envelope.attributes or None,
    )


def announce(
    event_type: str,
    *,
    source: str,
    tenant_id: TenantId,
    payload: dict[str, Any],
    now: datetime,
    event_id: str,
    severity: Severity = Severity.INFO,
    trace_id: str | None = None,
) -> Event:
    """An event that the platform itself emits."""
    return Event(
        event_id=event_id,
        event_type=event_type,
        source=source,
        tenant_id=tenant_id,
        severity=severity,
        timestamp=now,
        received_at=now,
        payload=payload,
        schema_version="1",
        trace_id=trace_id or None,
        published_by=source,
    )


def check_depth(payload: dict[str, Any]) -> None:
    """Raises UnprocessableError for a payload that could be stored but not shown: pydantic
    serialises no more than some 250 levels."""
    level: list[Any] = [payload]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise UnprocessableError((Flaw("/payload", f"may be nested {MAX_DEPTH} levels deep"),))


def payload_text(payload: dict[str, Any]) -> str:
    """The payload as compact JSON. Raises TooLargeError over 256 KB."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        flaw = Flaw("/payload", "has half a surrogate pair, which is no text")
        raise UnprocessableError((flaw,)) from error
    if size > MAX_PAYLOAD_BYTES:
        raise TooLargeError(
            f"payload must have {MAX_PAYLOAD_BYTES:,} bytes (256 KB) at most as JSON, got {size:,}"
        )
    return text


def is_past(timestamp: datetime, retention: timedelta, now: datetime) -> bool:
    """Past its retention: shown in no list from this instant on, whenever it is deleted."""
    return timestamp + retention <= now


def is_shown(event: Event, retention: timedelta, now: datetime) -> bool:
    """Within its retention, or back from the archive for a while."""
    if event.restored_until and now < event.restored_until:
        return True
    return not is_past(event.timestamp, retention, now)


def expires_at(event: Event, retention: timedelta, floor: timedelta = DEDUPE_FLOOR) -> int:
    """When storage may delete it, in epoch seconds (DynamoDB's TTL)."""
    until = max(event.timestamp + retention, event.received_at + floor)
    return int(max(until, event.restored_until or until).timestamp())


def kept_until(position_: str, retention: timedelta, floor: timedelta) -> int:
    """The same of an event of which only the position is known."""
    timestamp, received_at, _name = position_.split("#")
    until = max(from_text(timestamp) + retention, from_text(received_at) + floor)
    return int(until.timestamp())


def is_from_platform(event_type: str) -> bool:
    """Types that only the platform itself may emit (contract, Events)."""
    return event_type.startswith(PLATFORM_PREFIXES)


@dataclass(frozen=True)
class Filters:
    """What a list asks for. Unknown values match nothing; that is an empty list, not an error."""

    event_type: str | None = None
    source: str | None = None
    severity: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_indexed(self) -> bool:
        """Whether an index serves the narrowest of them: the type, a severity that has one, or, with
        neither source nor severity, the timeline itself."""
        if self.event_type or self.severity in INDEXED_SEVERITIES:
            return True
        return not self.source and not self.severity

    @property
    def can_fit(self) -> bool:
        """Not if the type or the source is longer than any event's: such a key would be refused."""
        return len(self.event_type or "") <= MAX_TYPE and len(self.source or "") <= MAX_SOURCE

    def question(self) -> tuple[str, ...]:
        """The filters as text, to bind cursors to."""
        bounds = (to_text(bound) if bound else "" for bound in (self.since, self.until))
        return (self.event_type or "", self.source or "", self.severity or "", *bounds)


@dataclass(frozen=True)
class Entry:
    """An event in an index: what filters need, and where the rest is."""

    position: str
    tenant_id: TenantId
    event_id: str
    source: str
    event_type: str
    severity: str

    @property
    def timestamp_text(self) -> str:
        return self.position.partition("#")[0]

    @property
    def hour(self) -> str:
        """The hour of its event time, as in `2026-11-23T08`."""
        return self.position[: len("2026-11-23T08")]

    @property
    def received_text(self) -> str:
        return self.position.split("#")[1]

    def fits(self, filters: Filters) -> bool:
        return (
            filters.event_type in (None, self.event_type)
            and filters.source in (None, self.source)
            and filters.severity in (None, self.severity)
        )


class Published(Shape):
    """The answer to a publish."""

    status: Literal["ok"] = "ok"
    stored: Literal[True] = True
    event_type: str
    event_id: str
    received_at: str
    duplicate: bool
    expired: bool | None = None

    @model_serializer(mode="wrap")
    def _only_if_expired(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = handler(self)
        return {name: value for name, value in shown.items() if value is not None}


class Page(Shape):
    """A page of events, newest first."""

    status: Literal["ok"] = "ok"
    count: int
    events: list[dict[str, Any]]
    next_cursor: str | None


def flat(event: Event) -> dict[str, Any]:
    """The event as clients read it: the envelope's fields and ours side by side."""
    given = event.model_dump(mode="python", exclude_none=True, exclude={"payload"})
    instants = {name: to_text(v) for name, v in given.items() if isinstance(v, datetime)}
    always: dict[str, Any] = {"schema_version": None, "client_ip": None, "trace_id": None,
                              "published_by": None}  # fmt: skip
    return {
        **always,
        **given,
        **instants,
        "severity": str(event.severity),
        "payload": event.payload,
    }
