"""Walks the chains and says what does not fit, a bounded part at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.audit.model import day_after, day_of, parse_days
from aetherlink.audit.store import distinct
from aetherlink.audit.verification import (
    Bad,
    Chain,
    DayState,
    Report,
    check_chain,
    check_keys,
    check_link,
    check_records,
    name_truncation,
)
from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aetherlink.audit.sealing import Head, Raw, Seal
    from aetherlink.audit.store import Found, Indexed

# Records compared in one call, and days looked at: some seconds of work.
MAX_CHECKED = 5_000
MAX_CHAINS = 200
MAX_BAD = 50
# An answer has to be out within 29 s (API Gateway's limit).
MAX_TIME = timedelta(seconds=15)
_ATTEMPTS = 4
_TENANTS = 100
_STRAYS = 2_000
# The two passes over a day for who sees every tenant: who has a head, then who has only records.
_SEALED, _STRAY = "sealed", "stray"


class Chains(Protocol):
    """What verifying needs of the storage; every read is strongly consistent but for `indexed` and
    `sealed_tenants`, which only find what to read."""

    def seals(self, tenant: TenantId, day: str) -> list[Found]: ...
    def seal(self, tenant: TenantId, day: str, seq: int) -> Seal | None: ...
    def head(self, tenant: TenantId, day: str) -> tuple[Head | None, bool]: ...
    def keys(self, tenant: TenantId, day: str) -> list[str]: ...
    def fetch(self, tenant: TenantId, day: str, keys: Sequence[str]) -> dict[str, Raw]: ...
    def sealed_tenants(self, day: str, after: str, *, limit: int) -> list[TenantId]: ...
    def indexed(self, day: str, since: str, *, limit: int) -> tuple[list[Indexed], str | None]: ...


@dataclass
class _Place:
    """Where a walk has come. `after` is the last tenant that is through (in the second pass: the last
    place in the index); `tenant`, whose day is not yet, has been compared up to `seals`."""

    day: str
    step: str = _SEALED
    after: str = ""
    tenant: str = ""
    seals: int = 0
    was_bad: bool = False

    def text(self) -> str:
        return json.dumps(list(vars(self).values()), separators=(",", ":"))

    def next_day(self) -> None:
        self.day, self.step, self.after = day_after(self.day), _SEALED, ""


@dataclass
class _Walk:
    now: datetime
    checked: int = 0
    chains: int = 0
    unsealed: int = 0
    is_valid: bool = True
    bad: list[Bad] = field(default_factory=list)
    days: list[DayState] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return self.checked < MAX_CHECKED and self.chains < MAX_CHAINS

    def note(self, found: Sequence[Bad]) -> None:
        self.is_valid = self.is_valid and not found
        self.bad += found[: MAX_BAD - len(self.bad)]


class Verifier:
    def __init__(self, chains: Chains, now: Callable[[], datetime]) -> None:
        self._chains = chains
        self._now = now

    def verify(
        self, view: TenantId | None, first: str | None, last: str | None, cursor: str | None
    ) -> Report:
        """Compare a view's days with their chains, as far as one call goes; `view` None is every
        tenant's. `valid` is about this call's part: the cursor leads to the rest."""
        now = self._now()
        since, until = parse_days(first, last, day_of(now))
        question = ("audit-verify", view or "*", since, until)
        place = _read(decode_cursor(cursor, *question)) if cursor else _Place(since)
        walk = _Walk(now)
        while place.day <= until and walk.has_room and self._now() < now + MAX_TIME:
            if view is not None:
                if self._check(walk, place, view):
                    place.next_day()
            else:
                self._go_on(walk, place)
        following = encode_cursor(place.text(), *question) if place.day <= until else None
        return Report(
            valid=walk.is_valid,
            checked=walk.checked,
            unsealed=walk.unsealed,
            first_bad=walk.bad[0] if walk.bad else None,
            bad=walk.bad,
            days=walk.days,
            next_cursor=following,
        )

    def _go_on(self, walk: _Walk, place: _Place) -> None:
        """The next tenants of a day; then those of which there are records, but no head."""
        if place.tenant:
            under_way = TenantId(place.tenant)
            if self._check(walk, place, under_way):
                place.after = under_way
            return
        if place.step == _SEALED:
            tenants = self._chains.sealed_tenants(place.day, place.after, limit=_TENANTS)
            for tenant in tenants:
                if not walk.has_room or not self._check(walk, place, tenant):
                    return
                place.after = tenant
            if len(tenants) < _TENANTS:
                place.step, place.after = _STRAY, ""
            return
        self._strays(walk, place)

    def _strays(self, walk: _Walk, place: _Place) -> None:
        page, following = self._chains.indexed(place.day, place.after or "0", limit=_STRAYS)
        # Reading is work as well, if less than comparing.
        walk.chains += 1 + len(page) // 100
        for tenant, sk in distinct(page).items():
            head, is_readable = self._chains.head(tenant, place.day)
            if head or not is_readable:
                # Its head was found by name, or will be: an index is never behind for long.
                continue
            keys = self._chains.keys(tenant, place.day)
            if keys and sk == keys[0]:
                # Where its first record is, it is checked: once, whatever the page.
                self._check(walk, place, tenant, whole=True)
        if following:
            place.after = following
        else:
            place.next_day()

    def _check(self, walk: _Walk, place: _Place, tenant: TenantId, *, whole: bool = False) -> bool:
        """Check a tenant's day from where the walk has come in it; whether it is through."""
        walk.chains += 1
        chain = self._chain(tenant, place.day)
        if chain.is_forgotten(walk.now):
            _begin_anew(place)
            return True
        found = self._first_look(chain, walk.now) if place.seals == 0 else []
        if chain.is_expired(walk.now):
            walk.note(found)
            walk.days.append(_state(chain, 0, is_valid=not found))
            _begin_anew(place)
            return True
        due = [seal for seal in chain.whole if seal.seq > place.seals]
        part = due if whole else _part(due, MAX_CHECKED - walk.checked)
        records = self._chains.fetch(tenant, place.day, [e.sk for s in part for e in s.entries])
        is_last = len(part) == len(due)
        # After the seals: what is sealed meanwhile is young, and what is not there then never was.
        keys = self._chains.keys(tenant, place.day)
        found += check_records(chain, part, records, keys)
        walk.checked += sum(len(seal.entries) for seal in part)
        if not is_last:
            walk.note(found)
            place.tenant, place.seals = tenant, part[-1].seq
            place.was_bad = place.was_bad or bool(found)
            return False
        strays, young = check_keys(chain, keys, walk.now)
        found = name_truncation(chain, found) + strays
        walk.note(found)
        walk.unsealed += young
        if keys or chain.seals or chain.head or found:
            is_valid = not found and not place.was_bad
            walk.days.append(_state(chain, len(keys), is_valid=is_valid))
        _begin_anew(place)
        return True

    def _chain(self, tenant: TenantId, day: str) -> Chain:
        """The chain as it stood at one moment: the head is the same before and after the seals."""
        head = self._chains.head(tenant, day)
        for _ in range(_ATTEMPTS):
            seals, before = self._chains.seals(tenant, day), head
            head = self._chains.head(tenant, day)
            if head == before:
                return Chain(tenant, day, seals, *head)
        # It never stands still: what was there when the head was read last but one is whole.
        last = before[0].seals if before[0] else 0
        return Chain(tenant, day, [found for found in seals if found.seq <= last], *before)

    def _first_look(self, chain: Chain, now: datetime) -> list[Bad]:
        found = check_chain(chain)
        first = chain.seals[0].seal if chain.seals else None
        if first and first.link:
            link = first.link
            linked = self._chains.seal(first.tenant, link.day, link.seals)
            found += check_link(chain, linked, now)
        return found


def _part(seals: Sequence[Seal], room: int) -> list[Seal]:
    """The seals whose records fit; one at least, so that a walk always goes on."""
    part: list[Seal] = []
    for seal in seals:
        if part and len(seal.entries) > room:
            break
        room -= len(seal.entries)
        part.append(seal)
    return part


def _begin_anew(place: _Place) -> None:
    place.tenant, place.seals, place.was_bad = "", 0, False


def _state(chain: Chain, records: int, *, is_valid: bool) -> DayState:
    return DayState(
        tenant_id=chain.tenant,
        day=chain.day,
        records=records,
        sealed=chain.sealed,
        valid=is_valid,
    )


def _read(text: str) -> _Place:
    wrong = "This cursor was changed; start without one"
    try:
        place = _Place(*json.loads(text))
        day_after(place.day, 0)
    except (ValueError, TypeError) as error:
        raise InvalidError(wrong) from error
    kinds = [type(value) for value in vars(place).values()]
    if kinds != [str, str, str, str, int, bool]:
        raise InvalidError(wrong)
    return place
