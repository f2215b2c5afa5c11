"""What the archive holds, and when an hour goes into it. Pure.

An hour is its first 13 characters in UTC, as in `2026-11-23T08`: text order is time order.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from aetherlink.events.model import Event, flat
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.time import from_text, parse_instant, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aetherlink.kernel.tenancy import TenantId

# Producers' clocks and queues: most of what belongs to an hour has come this long after its end.
CLOSING = timedelta(minutes=10)
# What was received is in the table's indexes by then, and its mark is made.
SETTLING = timedelta(minutes=2)
# An hour that never comes to rest (a producer whose clock stands still) is archived all the same.
PATIENCE = timedelta(hours=3)
# Events have a floor of 48 h: from here on an unarchived one is in danger.
BEHIND = timedelta(hours=24)
# How long what waits for the archive is kept, each time that it is in danger.
PROLONGED = timedelta(hours=48)

MAX_EVENTS = 20_000
MAX_RAW_BYTES = 32 * 1024 * 1024
_HOUR = len("2026-11-23T08")


def hour_of(instant: datetime) -> str:
    return to_text(instant)[:_HOUR]


def start_of(hour: str) -> datetime:
    return from_text(f"{hour}:00:00+00:00")


def end_of(hour: str) -> datetime:
    return start_of(hour) + timedelta(hours=1)


@dataclass(frozen=True)
class Mark:
    """Events of this hour came that the archive does not have yet: the first one at `waiting_since`,
    the newest at `touched_at`."""

    tenant_id: TenantId
    hour: str
    touched_at: datetime
    waiting_since: datetime

    def is_settled(self, now: datetime) -> bool:
        """Everything that it stands for can be read by now."""
        return self.touched_at + SETTLING < now

    def is_due(self, now: datetime) -> bool:
        """The hour is over, and has come to rest or been waited for long enough."""
        if end_of(self.hour) + CLOSING >= now:
            return False
        return self.is_settled(now) or self.waiting_since + PATIENCE < now

    def is_behind(self, now: datetime) -> bool:
        return self.waiting_since + BEHIND < now

    def hours_waiting(self, now: datetime) -> int:
        return max(0, (now - self.waiting_since) // timedelta(hours=1))


def marks_of(events: Iterable[Event]) -> list[Mark]:
    """The marks that a batch of events makes, one for each tenant and hour."""
    made: dict[tuple[TenantId, str], Mark] = {}
    for event in events:
        key, at = (event.tenant_id, hour_of(event.timestamp)), event.received_at
        mark = made.get(key, Mark(*key, touched_at=at, waiting_since=at))
        made[key] = replace(
            mark,
            touched_at=max(mark.touched_at, at),
            waiting_since=min(mark.waiting_since, at),
        )
    return list(made.values())


class DamagedError(Exception):
    """A part that is not what its manifest says; the message is a clause, such as "is missing"."""


@dataclass(frozen=True)
class Part:
    """An object of events. `sha256` and `bytes` are of the object as it is, compressed."""

    key: str
    count: int
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What the archive has of one tenant's hour."""

    tenant_id: TenantId
    hour: str
    parts: tuple[Part, ...] = ()
    archived_at: datetime | None = None

    @property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

    @property
    def key(self) -> str:
        return f"{folder(self.tenant_id, self.hour)}/manifest.json"

    def body(self) -> dict[str, Any]:
        """As it is kept beside its parts."""
        return {
            "tenant_id": self.tenant_id,
            "hour": self.hour,
            "parts": [vars(part) for part in self.parts],
            "count": self.count,
            "archived_at": to_text(self.archived_at) if self.archived_at else None,
        }

    def with_part(self, part: Part, now: datetime) -> Manifest:
        return replace(self, parts=(*self.parts, part), archived_at=now)


def folder(tenant_id: TenantId, hour: str) -> str:
    date, _, clock = hour.partition("T")
    return f"events/tenant={tenant_id}/date={date}/hour={clock}"


class Pack:
    """A part that is being filled: NDJSON, compressed on the way, so that it never stands whole in
    memory. The same events give the same bytes."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._buffer, mtime=0)
        self._raw_bytes = 0
        self.count = 0

    def add(self, event: Event) -> None:
        line = json.dumps(flat(event), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._gzip.write(line)
        self._raw_bytes += len(line)
        self.count += 1

    @property
    def is_full(self) -> bool:
        return self.count >= MAX_EVENTS or self._raw_bytes >= MAX_RAW_BYTES

    def close(self) -> bytes:
        self._gzip.close()
        return self._buffer.getvalue()


def part_of(manifest: Manifest, body: bytes, count: int) -> Part:
    """The part that a closed pack becomes; it is named by its content."""
    name = hashlib.sha256(body).hexdigest()
    key = f"{folder(manifest.tenant_id, manifest.hour)}/part-{name[:16]}.ndjson.gz"
    return Part(key=key, count=count, sha256=name, bytes=len(body))


def lines(part: Part, body: bytes | None) -> Iterator[dict[str, Any]]:
    """The events of a part as they were kept. Raises DamagedError, before the first one if the
    checksum tells."""
    if body is None:
        raise DamagedError("is missing")
    found = hashlib.sha256(body).hexdigest()
    if found != part.sha256:
        raise DamagedError(f"has the SHA-256 {found}, the manifest says {part.sha256}")
    count = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as text:
            for line in text:
                count += 1
                yield dict(json.loads(line))
    except (OSError, EOFError, zlib.error, ValueError, TypeError) as error:
        raise DamagedError(f"cannot be read at line {count}: {type(error).__name__}") from error
    if count != part.count:
        raise DamagedError(f"has {count} events, the manifest says {part.count}")


def event_in(line: dict[str, Any]) -> Event:
    """The event in a line. Raises ValueError if it is none."""
    return Event.model_validate(line)


class Known:
    """The positions that an hour's parts hold already. 16 bytes each: an hour may have a million."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()

    def add(self, position: str) -> None:
        self._names.add(self._name(position))

    def __contains__(self, position: object) -> bool:
        return bool(self._names) and self._name(str(position)) in self._names

    @staticmethod
    def _name(position: str) -> bytes:
        return hashlib.blake2b(position.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Failure:
    tenant_id: TenantId
    hour: str
    error: str


@dataclass(frozen=True)
class Report:
    """What a run came to. `waiting` hours were due and are still to be archived, `behind_hours` is
    how long the oldest of them waits."""

    hours: int = 0
    events: int = 0
    failures: tuple[Failure, ...] = ()
    waiting: int = 0
    behind_hours: int = 0
    prolonged: int = 0


def _instant(given: object) -> object:
    if not isinstance(given, str):
        raise ValueError("must be an RFC 3339 time such as 2026-11-23T08:30:00Z")
    return parse_instant(given)


Instant = Annotated[datetime, BeforeValidator(_instant)]


class Range(Given):
    """Events from `since` on and before `until`, by their event time."""

    tenant_id: str | None = None
    since: Instant
    until: Instant

    @field_validator("until")
    @classmethod
    def _later(cls, until: datetime, info: ValidationInfo) -> datetime:
        since = info.data.get("since")
        if since and until <= since:
            raise ValueError(f"must be later than since, {to_text(since)}")
        return until


class Restore(Range):
    keep_days: int = Field(default=7, ge=1, le=30, description="How long they stay, in days")

    @field_validator("keep_days", mode="before")
    @classmethod
    def _number(cls, given: object) -> object:
        # To Python, true is 1.
        if isinstance(given, bool):
            raise ValueError("must be a number of days, 1 to 30")
        return given


class Listed(Shape):
    """The answer of `GET /events/archive`, newest hour first."""

    status: Literal["ok"] = "ok"
    archive_enabled: bool
    archive_dir: str | None
    count: int
    objects: list[dict[str, Any]]
    next_cursor: str | None
