"""The chain over a tenant's audit records of a day: what a seal covers, and what follows from it. Pure.

A seal names up to a hundred records by key and SHA-256, and carries the hash of the seal before it.
The first one of a day carries that of the tenant's last day before. The head of a day's chain says how
many seals and records there are, and stands in another table.

    record  record  record      record  record
       \\      |      /             \\      /
       seal 1 ---- hash ----->    seal 2 ---- hash -----> head (control table), log
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId

# An item as DynamoDB has it: {"name": {"S": "text"}}. Its types are part of what is sealed.
Raw = dict[str, Any]

MAX_ENTRIES = 100
# Seals and heads outlive the records, so that a record which TTL took too early is missed.
GRACE = timedelta(days=30)
# DynamoDB's numbers have 38 digits.
_EXACT = Context(prec=64)


def canonical(item: Mapping[str, Any]) -> str:
    """The same text for the same item, whatever order its attributes and sets are in."""
    given = {name: _typed(value) for name, value in item.items()}
    return json.dumps(given, sort_keys=True, separators=(",", ":"))


def digest_of(item: Mapping[str, Any]) -> str:
    """SHA-256 over every attribute of the item, those included that we know nothing of."""
    return hashlib.sha256(canonical(item).encode()).hexdigest()


def _typed(value: Mapping[str, Any]) -> Any:
    kind, held = next(iter(value.items()))
    alike = _ALIKE.get(kind)
    return {kind: alike(held) if alike else held}


def _number(text: str) -> str:
    """`1`, `1.0` and `1E0` are one number, and emulators do not write them alike."""
    try:
        plain = _EXACT.normalize(Decimal(text))
    except InvalidOperation:
        return text
    return "0" if plain == 0 else f"{plain:E}"


def _octets(given: Any) -> str:
    return given if isinstance(given, str) else base64.b64encode(bytes(given)).decode()


# How each type is spelt alike, however it came; text, truth and NULL have one spelling.
_ALIKE: dict[str, Callable[[Any], Any]] = {
    "N": _number,
    "B": _octets,
    "M": lambda held: {name: _typed(inner) for name, inner in held.items()},
    "L": lambda held: [_typed(inner) for inner in held],
    "SS": sorted,
    "NS": lambda held: sorted(map(_number, held)),
    "BS": lambda held: sorted(map(_octets, held)),
}


@dataclass(frozen=True)
class Entry:
    """A record in a seal: its sort key and the digest of its item."""

    sk: str
    digest: str


@dataclass(frozen=True)
class Link:
    """Where a day's chain hangs: on this seal of the tenant's last sealed day before. That may be
    gone, by TTL, from `gone_at` on (epoch seconds)."""

    day: str
    seals: int
    hash: str
    gone_at: int


@dataclass(frozen=True)
class Seal:
    """`first` is the position of its first record in the day's chain, from 1. `records_until` is when
    TTL may take the last of the records sealed so far (epoch seconds)."""

    tenant: TenantId
    day: str
    seq: int
    first: int
    entries: tuple[Entry, ...]
    prev: str
    link: Link | None
    sealed_at: str
    records_until: int

    @property
    def last(self) -> int:
        """The position of its last record, which is how many are sealed with it."""
        return self.first + len(self.entries) - 1

    @property
    def expires_at(self) -> int:
        return self.records_until + int(GRACE.total_seconds())

    @property
    def hash(self) -> str:
        covered = [
            self.prev, self.tenant, self.day, self.seq, self.first,
            [[entry.sk, entry.digest] for entry in self.entries],
            self.link and [self.link.day, self.link.seals, self.link.hash, self.link.gone_at],
            self.sealed_at, self.records_until,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(covered, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Head:
    """What the last seal of a day makes of it."""

    tenant: TenantId
    day: str
    seals: int
    count: int
    hash: str
    expires_at: int


def head_after(seal: Seal) -> Head:
    return Head(seal.tenant, seal.day, seal.seq, seal.last, seal.hash, seal.expires_at)


def link_to(head: Head | None) -> Link | None:
    return Link(head.day, head.seals, head.hash, head.expires_at) if head else None


def next_seal(
    tenant: TenantId,
    day: str,
    records: Sequence[Raw],
    *,
    head: Head | None,
    link: Link | None,
    now: datetime,
) -> Seal:
    """The seal over `records` (at most MAX_ENTRIES) that follows `head`; for the first of a day
    `link` is where it hangs, None for the tenant's first day."""
    records_until = max(map(_expiry, records))
    seal = Seal(
        tenant=tenant,
        day=day,
        seq=1,
        first=1,
        entries=tuple(Entry(record["sk"]["S"], digest_of(record)) for record in records),
        prev=link.hash if link else "",
        link=link,
        sealed_at=to_text(now),
        records_until=records_until,
    )
    if head is None:
        return seal
    return replace(
        seal,
        seq=head.seals + 1,
        first=head.count + 1,
        prev=head.hash,
        link=None,
        records_until=max(records_until, head.expires_at - int(GRACE.total_seconds())),
    )


def _expiry(record: Raw) -> int:
    """When TTL may take it; 0 for what has no such time, or none that is a number."""
    try:
        return int(Decimal(record["expires_at"]["N"]))
    except (KeyError, TypeError, InvalidOperation, OverflowError, ValueError):
        return 0
