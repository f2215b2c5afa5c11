"""When a provider is left alone, and who tries it again. Pure; `breakers` keeps what it says.

closed     calls go through; failures are counted over a window, in two halves
open       nobody calls, until `open_until`
half-open  its time is over: one call goes through (whoever claims it), and what comes of it decides
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aetherlink.ai.model import COUNTED, TELLING, Trouble
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aetherlink.ai.descriptor import BreakerPolicy

# A provider that asks for longer is asked again after this all the same.
MAX_RETRY_AFTER = timedelta(minutes=10)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Breaker:
    """A provider's state as it is kept. `calls` and `failures` by half window; `openings` counts those
    since it was last well."""

    name: str
    calls: Mapping[int, int] = field(default_factory=dict)
    failures: Mapping[int, int] = field(default_factory=dict)
    in_a_row: int = 0
    open_until: datetime | None = None
    openings: int = 0
    probing_until: datetime | None = None
    total_calls: int = 0
    failed_calls: int = 0
    last_error: str | None = None
    last_checked: datetime | None = None

    def state(self, now: datetime) -> State:
        if self.open_until is None:
            return State.CLOSED
        return State.OPEN if now < self.open_until else State.HALF_OPEN

    def may_be_probed(self, now: datetime) -> bool:
        is_taken = self.probing_until is not None and now < self.probing_until
        return self.state(now) is State.HALF_OPEN and not is_taken

    def retry_at(self, now: datetime) -> datetime | None:
        """When asking again makes sense; None, now."""
        if self.open_until is None:
            return None
        later = [t for t in (self.open_until, self.probing_until) if t and t > now]
        return max(later, default=None)

    def shown(self, now: datetime) -> dict[str, Any]:
        at = self.retry_at(now)
        return {
            "healthy": self.state(now) is State.CLOSED and self.in_a_row == 0,
            "state": str(self.state(now)),
            "last_error": self.last_error,
            "last_checked": to_text(self.last_checked) if self.last_checked else None,
            "total_calls": self.total_calls,
            "failed_calls": self.failed_calls,
            "failures_in_a_row": self.in_a_row,
            "retry_at": to_text(at) if at else None,
        }


def half(now: datetime, policy: BreakerPolicy) -> int:
    """The number of the half window that `now` is in."""
    return int(now.timestamp() // (policy.window_seconds / 2))


def should_open(breaker: Breaker, trouble: Trouble, now: datetime, policy: BreakerPolicy) -> bool:
    """Whether a closed breaker opens with this failure, which is counted in it already."""
    if trouble not in COUNTED:
        return False
    if trouble in TELLING or breaker.in_a_row >= policy.in_a_row:
        return True
    halves = (half(now, policy), half(now, policy) - 1)
    calls = sum(breaker.calls.get(n, 0) for n in halves)
    failures = sum(breaker.failures.get(n, 0) for n in halves)
    return calls >= policy.min_calls and failures >= policy.failure_rate * calls


def open_until(
    openings: int, retry_after_seconds: int | None, now: datetime, policy: BreakerPolicy
) -> datetime:
    """The end of the opening that follows `openings` others: twice as long each time, up to a limit,
    and no sooner than the provider said."""
    # Beyond 2^20 no limit is unreached, and a float would overflow.
    seconds = min(policy.open_seconds * 2 ** min(openings, 20), policy.max_open_seconds)
    asked = min(timedelta(seconds=retry_after_seconds or 0), MAX_RETRY_AFTER)
    return now + max(timedelta(seconds=seconds), asked)
