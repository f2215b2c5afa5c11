"""What is wrong with a day's chain, given what stands in the tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from aetherlink.audit.sealing import Head, Raw, digest_of, head_after
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.time import from_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aetherlink.audit.sealing import Seal
    from aetherlink.audit.store import Found

# Until then a record is not called unsealed: the schedule comes by the minute.
YOUNG = timedelta(minutes=2)
_INSTANT = len("2026-11-23T08:30:00.000000Z")


class Problem(StrEnum):
    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    UNSEALED = "unsealed"
    DOUBLED = "doubled"
    FORGED_SEAL = "forged_seal"
    MISSING_SEAL = "missing_seal"
    FORGED_HEAD = "forged_head"
    MISSING_HEAD = "missing_head"
    BROKEN_LINK = "broken_link"


class Bad(Shape):
    """One thing that is wrong. `position` is the record's place in the day's chain, from 1; null for
    what has none. `id` is null for what is no record."""

    tenant_id: str
    day: str
    position: int | None
    id: str | None
    problem: Problem
    detail: str


class DayState(Shape):
    tenant_id: str
    day: str
    records: int
    sealed: int
    valid: bool


class Report(Shape):
    status: Literal["ok"] = "ok"
    valid: bool
    checked: int
    unsealed: int
    first_bad: Bad | None
    bad: list[Bad]
    days: list[DayState]
    next_cursor: str | None


@dataclass(frozen=True)
class Chain:
    """A day's chain as it was found. `head_is_exact` False: the head's item is not what a head is."""

    tenant: str
    day: str
    seals: Sequence[Found]
    head: Head | None
    head_is_exact: bool

    def bad(
        self, problem: Problem, detail: str, *, position: int | None = None, sk: str | None = None
    ) -> Bad:
        return Bad(
            tenant_id=self.tenant,
            day=self.day,
            position=position,
            id=id_of(sk) if sk else None,
            problem=problem,
            detail=detail,
        )

    @property
    def whole(self) -> list[Seal]:
        """The seals that can be read, in their order."""
        return [found.seal for found in self.seals if found.seal]

    @property
    def sealed(self) -> int:
        """How many records are sealed, as far as anything says so."""
        counted = sum(len(seal.entries) for seal in self.whole)
        return max(counted, self.head.count if self.head else 0)

    def is_expired(self, now: datetime) -> bool:
        """Whether TTL may have taken records: then nobody can say which of them."""
        until = [seal.records_until for seal in self.whole]
        return bool(until) and max(until) <= now.timestamp()

    def is_forgotten(self, now: datetime) -> bool:
        """Whether TTL may have taken seals and head as well."""
        until = [seal.expires_at for seal in self.whole]
        until += [self.head.expires_at] if self.head else []
        return bool(until) and max(until) <= now.timestamp()


def id_of(sk: str) -> str:
    return sk.partition("#")[2] or sk


def check_chain(chain: Chain) -> list[Bad]:
    """What is wrong with the seals and the head, whatever the records are."""
    found, expected, previous = [], 1, None
    for one in chain.seals:
        if one.seq > expected:
            numbers = f"{expected}" if one.seq == expected + 1 else f"{expected} to {one.seq - 1}"
            found.append(chain.bad(Problem.MISSING_SEAL, f"Seal {numbers} is not there"))
        found += _check_seal(chain, one, previous)
        # A seal after one that is missing or unreadable cannot be compared with it.
        previous, expected = one.seal, one.seq + 1
    return found + _check_head(chain, expected - 1)


def _check_seal(chain: Chain, one: Found, previous: Seal | None) -> list[Bad]:
    seal = one.seal
    if seal is None:
        return [chain.bad(Problem.FORGED_SEAL, f"Seal {one.seq} cannot be read")]
    if not one.exact:
        detail = f"Seal {one.seq} is not what its hash says"
        return [chain.bad(Problem.FORGED_SEAL, detail, position=seal.first)]
    if previous and seal.seq == previous.seq + 1:
        is_next = (seal.prev, seal.first, seal.link) == (previous.hash, previous.last + 1, None)
    else:
        is_next = seal.seq > 1 or _begins(seal)
    if not is_next:
        detail = f"Seal {one.seq} does not follow the one before it"
        return [chain.bad(Problem.FORGED_SEAL, detail, position=seal.first)]
    return []


def _begins(seal: Seal) -> bool:
    return seal.first == 1 and seal.prev == (seal.link.hash if seal.link else "")


def _check_head(chain: Chain, last: int) -> list[Bad]:
    """`last` is the number of the last seal that is there."""
    head = chain.head
    if head is None:
        if not chain.head_is_exact:
            return [chain.bad(Problem.FORGED_HEAD, "The head of the chain cannot be read")]
        if chain.seals:
            return [chain.bad(Problem.MISSING_HEAD, "The head of the chain is not there")]
        return []
    if last < head.seals:
        detail = (
            f"The head knows {head.seals:,} seals over {head.count:,} records; "
            f"those after {last:,} are not there"
        )
        return [chain.bad(Problem.TRUNCATED, detail)]
    seal = chain.seals[-1].seal if chain.seals else None
    if not chain.head_is_exact or (seal and head_after(seal) != head):
        return [chain.bad(Problem.FORGED_HEAD, "The head is not what the last seal makes it")]
    return []


def check_link(chain: Chain, linked: Seal | None, now: datetime) -> list[Bad]:
    """Whether the day hangs where its first seal says. `linked` is the seal there, None for none."""
    first = chain.seals[0].seal if chain.seals else None
    link = first.link if first else None
    if link is None or link.gone_at <= now.timestamp():
        return []
    if linked is None:
        detail = f"The day hangs on seal {link.seals:,} of {link.day}, which is not there"
        return [chain.bad(Problem.BROKEN_LINK, detail)]
    if linked.hash != link.hash:
        detail = f"The day hangs on seal {link.seals:,} of {link.day}, which is another now"
        return [chain.bad(Problem.BROKEN_LINK, detail)]
    return []


def check_records(
    chain: Chain, seals: Sequence[Seal], records: Mapping[str, Raw], keys: Sequence[str] | None
) -> list[Bad]:
    """Compare the records of some seals with what those say.

    `keys` are those of all records of the day, where they are at hand: they tell a record that was
    moved to another time from one that is gone.
    """
    found: list[Bad] = []
    moved = {id_of(sk): sk for sk in keys or ()}
    for seal in seals:
        for position, entry in enumerate(seal.entries, start=seal.first):
            record = records.get(entry.sk)
            if record is None:
                new = moved.get(id_of(entry.sk))
                problem = Problem.REORDERED if new else Problem.MISSING
                detail = (
                    f"It was sealed at {entry.sk[:_INSTANT]} and stands at {new[:_INSTANT]} now"
                    if new
                    else "It was sealed and is not there"
                )
                found.append(chain.bad(problem, detail, position=position, sk=entry.sk))
            elif digest_of(record) != entry.digest:
                found.append(_changed(chain, position, entry.sk, record))
    return found


def _changed(chain: Chain, position: int, sk: str, record: Raw) -> Bad:
    said = "#".join(str(record.get(name, {}).get("S", "")) for name in ("at", "id"))
    if said != sk:
        detail = f"What stands there is of another record, {said[:100]}"
        return chain.bad(Problem.REORDERED, detail, position=position, sk=sk)
    detail = "It is not what was sealed"
    return chain.bad(Problem.ALTERED, detail, position=position, sk=sk)


def name_truncation(chain: Chain, found: Sequence[Bad]) -> list[Bad]:
    """The same, where missing records at the very end of the chain are called a truncation."""
    end, named = chain.sealed, list(found)
    missing = {bad.position: i for i, bad in enumerate(found) if bad.problem is Problem.MISSING}
    while end in missing:
        number = missing[end]
        detail = f"{named[number].detail}; it was among the last ones of the chain"
        named[number] = named[number].model_copy(
            update={"problem": Problem.TRUNCATED, "detail": detail}
        )
        end -= 1
    return named


def check_keys(chain: Chain, keys: Sequence[str], now: datetime) -> tuple[list[Bad], int]:
    """What stands among the records but in no seal, or in two; and how many are only too young."""
    found: list[Bad] = []
    sealed: dict[str, int] = {}
    for seal in chain.whole:
        for position, entry in enumerate(seal.entries, start=seal.first):
            if entry.sk in sealed:
                detail = f"It was sealed before, at position {sealed[entry.sk]:,}"
                found.append(chain.bad(Problem.DOUBLED, detail, position=position, sk=entry.sk))
            sealed.setdefault(entry.sk, position)
    young = 0
    for sk in keys:
        if sk in sealed:
            continue
        if _is_young(sk, now):
            young += 1
        else:
            found.append(chain.bad(Problem.UNSEALED, "It stands in no seal", sk=sk))
    return found, young


def _is_young(sk: str, now: datetime) -> bool:
    try:
        at = from_text(sk[:_INSTANT])
    except ValueError:
        return False
    # One of the future is nobody's honest record.
    return at.tzinfo is not None and now - YOUNG < at <= now + YOUNG
