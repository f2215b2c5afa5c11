"""Requests a minute: a sliding window over this minute and the last. Pure.

The last minute counts by the share of it that is still inside the window, as if it had been evenly
spread. So no minute of the clock has more than the limit from one process; 60 seconds that straddle
two minutes can have more, if the first was all at its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTE_SECONDS = 60


def seconds_to_wait(previous: int, current: int, elapsed: float, limit: int) -> int:
    """0 if there is room for one more request `elapsed` seconds into the minute; else when there
    will be, if nobody else comes. At least 1 and at most 120."""
    if previous * (MINUTE_SECONDS - elapsed) < (limit - current) * MINUTE_SECONDS:
        return 0
    if current < limit:
        # Room comes as the last minute leaves the window.
        wait = MINUTE_SECONDS - elapsed - MINUTE_SECONDS * (limit - current) / previous
    else:
        # Only in the next minute, where this one is the last; sooner or later by how far it is over.
        wait = MINUTE_SECONDS - elapsed + max(0.0, MINUTE_SECONDS * (1 - limit / current))
    return int(wait) + 1


@dataclass
class Count:
    """What was admitted in one minute, as far as this process knows."""

    # By all processes, when the database was last told.
    shared: int = 0
    # Here since: being told at this moment, and yet to tell.
    in_flight: int = 0
    pending: int = 0
    # The database was asked when the minute was over.
    is_final: bool = False

    @property
    def total(self) -> int:
        return self.shared + self.in_flight + self.pending

    def send(self) -> int:
        """Take what is yet to tell."""
        sent, self.pending = self.pending, 0
        self.in_flight += sent
        return sent

    def learn(self, shared: int) -> None:
        """What was sent is in, and this is the sum."""
        self.shared, self.in_flight = max(self.shared, shared), 0

    def fail(self) -> None:
        """What was sent may not be in; told again, it errs on the strict side."""
        self.pending, self.in_flight = self.pending + self.in_flight, 0


@dataclass
class Meter:
    """One limit's window in one process. Times are epoch seconds."""

    minute: int
    current: Count = field(default_factory=Count)
    previous: Count = field(default_factory=Count)
    # When the first of what is pending was admitted, and under which limit.
    pending_since: float = 0.0
    limit: int = 0

    def turn(self, now: float) -> None:
        """Go on to the minute of `now`; never back, should the clock be."""
        minute = minute_of(now)
        if minute <= self.minute:
            return
        self.previous = self.current if minute == self.minute + 1 else Count()
        self.current, self.minute = Count(), minute

    def seconds_to_wait(self, now: float, limit: int) -> int:
        elapsed = min(max(now - self.minute * MINUTE_SECONDS, 0.0), float(MINUTE_SECONDS))
        return seconds_to_wait(self.previous.total, self.current.total, elapsed, limit)

    def admit(self, now: float, limit: int) -> None:
        if not self.current.pending:
            self.pending_since = now
        self.current.pending += 1
        self.limit = limit

    @property
    def is_pressing(self) -> bool:
        """Whether others should know soon: a hundredth of the limit is untold. What a process holds
        back beyond is held back by every other one, too."""
        return self.current.pending * 100 >= self.limit


def minute_of(now: float) -> int:
    return int(now // MINUTE_SECONDS)
