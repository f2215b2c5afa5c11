"""Breakers as all instances share them.

    control    pk  system#ai-providers    sk  <provider>
               total_calls, failed_calls, in_a_row, last_error, last_checked, open_until, openings,
               probing_until, c<half>, f<half> (calls and failures of a half window)

Counting is an ADD, so that calls which end at once do not fail each other; opening, probing and closing
are conditional, so that each happens once.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.ai.breaker import Breaker, State, half, open_until, should_open
from aetherlink.ai.model import COUNTED, ProviderError
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from aetherlink.ai.descriptor import BreakerPolicy
    from aetherlink.platform.dynamo import Item, Table

_PK = "system#ai-providers"
_COUNT = re.compile(r"([cf])(\d+)")
# A probe that came to no end (its function died) is anybody's again after its time and this.
_SLACK = timedelta(seconds=2)
_ERROR = 200


class Breakers:
    def __init__(self, table: Table, policy: BreakerPolicy, now: Callable[[], datetime]) -> None:
        self._table = table
        self._policy = policy
        self._now = now

    def read(self, names: Iterable[str]) -> dict[str, Breaker]:
        """Those of `names`, one that was never called included; strongly consistent, in one call."""
        kept = {item["sk"]: item for item in self._table.query_all("pk = :pk", pk=_PK)}
        return {name: _breaker(name, kept.get(name, {})) for name in names}

    def claim_probe(self, breaker: Breaker, seconds: float) -> bool:
        """Whether the caller is the one that tries a half-open provider, for `seconds` at most."""
        now = self._now()
        try:
            self._table.set(
                _PK,
                breaker.name,
                {"probing_until": to_text(now + timedelta(seconds=seconds) + _SLACK)},
                only_if="open_until = :seen AND "
                "(attribute_not_exists(probing_until) OR probing_until <= :now)",
                seen=to_text(breaker.open_until) if breaker.open_until else "",
                now=to_text(now),
            )
        except ConditionFailedError:
            return False
        return True

    def release(self, breaker: Breaker) -> None:
        """Give a probe back that was not made."""
        self._table.set(_PK, breaker.name, {"probing_until": None})

    def succeeded(self, breaker: Breaker, *, was_probe: bool) -> None:
        """Count an answer; a probe's closes the breaker, and its past is forgotten."""
        now = self._now()
        current = half(now, self._policy)
        setting: Item = {"in_a_row": 0, "last_checked": to_text(now)}
        gone = _counts(breaker, keep=() if was_probe else (current, current - 1))
        counting = {"total_calls": 1}
        if was_probe:
            setting |= {f"c{current}": 1, f"f{current}": 0}
            gone = [name for name in gone if name not in setting]
            gone += ["open_until", "openings", "probing_until"]
        else:
            counting[f"c{current}"] = 1
        self._table.add(_PK, breaker.name, counting, setting=setting, removing=gone)

    def failed(self, breaker: Breaker, error: ProviderError, *, was_probe: bool) -> datetime | None:
        """Count a failure; the time until which the breaker is open, if it is now."""
        now = self._now()
        if error.trouble not in COUNTED:
            # It answers, whatever it says.
            self.succeeded(breaker, was_probe=was_probe)
            return None
        current = half(now, self._policy)
        item = self._table.add(
            _PK,
            breaker.name,
            {
                "total_calls": 1,
                "failed_calls": 1,
                "in_a_row": 1,
                f"c{current}": 1,
                f"f{current}": 1,
            },
            setting={"last_checked": to_text(now), "last_error": str(error)[:_ERROR]},
            removing=_counts(breaker, keep=(current, current - 1)),
            whole=True,
        )
        counted = _breaker(breaker.name, item)
        if was_probe:
            return self._open(counted, breaker.open_until, error, now)
        if counted.state(now) is State.CLOSED and should_open(
            counted, error.trouble, now, self._policy
        ):
            return self._open(counted, None, error, now)
        return None

    def reset(self, name: str) -> Breaker:
        """Close a breaker by hand; what it has counted in all stays."""
        kept = self.read([name])[name]
        self._table.add(
            _PK,
            name,
            {"total_calls": 0},
            setting={"in_a_row": 0},
            removing=[
                *_counts(kept, keep=()), "open_until", "openings", "probing_until", "last_error",
            ],
        )  # fmt: skip
        return self.read([name])[name]

    def _open(
        self, counted: Breaker, seen: datetime | None, error: ProviderError, now: datetime
    ) -> datetime | None:
        until = open_until(counted.openings, error.retry_after_seconds, now, self._policy)
        condition = "open_until = :seen" if seen else "attribute_not_exists(open_until)"
        try:
            self._table.set(
                _PK,
                counted.name,
                {
                    "open_until": to_text(until),
                    "openings": counted.openings + 1,
                    "probing_until": None,
                },
                only_if=condition,
                **({"seen": to_text(seen)} if seen else {}),
            )
        except ConditionFailedError:
            # Somebody else opened it, or closed it by hand, meanwhile.
            return None
        return until


def _counts(breaker: Breaker, keep: tuple[int, ...]) -> list[str]:
    """The attributes of half windows that are over."""
    halves = (breaker.calls.keys() | breaker.failures.keys()) - set(keep)
    return [f"{letter}{n}" for n in sorted(halves) for letter in "cf"]


def _breaker(name: str, item: Item) -> Breaker:
    counted: dict[str, dict[int, int]] = {"c": {}, "f": {}}
    for attribute, value in item.items():
        found = _COUNT.fullmatch(attribute)
        if found:
            counted[found.group(1)][int(found.group(2))] = value
    return Breaker(
        name=name,
        calls=counted["c"],
        failures=counted["f"],
        in_a_row=item.get("in_a_row", 0),
        open_until=_instant(item.get("open_until")),
        openings=item.get("openings", 0),
        probing_until=_instant(item.get("probing_until")),
        total_calls=item.get("total_calls", 0),
        failed_calls=item.get("failed_calls", 0),
        last_error=item.get("last_error"),
        last_checked=_instant(item.get("last_checked")),
    )


def _instant(text: Any) -> datetime | None:
    return from_text(text) if text else None
