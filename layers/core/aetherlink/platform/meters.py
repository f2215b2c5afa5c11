"""Limits followed in one process, and told to the others: a meter for each tenant and key in use."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from aetherlink.kernel.errors import TooManyRequestsError, UnavailableError
from aetherlink.platform import behind
from aetherlink.platform.telemetry import logger
from aetherlink.platform.window import Count, Meter, minute_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Protocol

    class Shared(Protocol):
        """The sums over all processes. Both raise UnavailableError."""

        def add(self, place: Place, minute: int, number: int) -> int: ...
        def get(self, place: Place, minute: int) -> int: ...


# When others are told of what was admitted here: of much soon, of little later (window.Meter).
SOON_SECONDS, LATER_SECONDS = 1.0, 10.0
# Limits that are followed at once in one process: a few MB. Beyond, the one unused for longest is
# forgotten, and begins anew.
MAX_METERS = 20_000
_AT_ONCE = 100
_MAX_FAILURES = 3

# Partition and scope.
Place = tuple[str, str]


@dataclass(frozen=True)
class Limit:
    """`whose` begins the sentence that a refused caller reads."""

    whose: str
    place: Place
    per_minute: int


class Meters:
    """Every limit that is followed in this process."""

    def __init__(self, shared: Shared, now: Callable[[], datetime]) -> None:
        self._shared = shared
        self._now = now
        # Least recently used first.
        self._meters: dict[Place, Meter] = {}
        # Those with something to tell.
        self._untold: dict[Place, Meter] = {}
        self._lock = Lock()
        self._writing = Lock()

    def admit(self, limits: tuple[Limit, ...]) -> None:
        """Count one request under each limit; under none, and TooManyRequestsError, if one is
        reached."""
        if not limits:
            return
        now = self._now().timestamp()
        with self._lock:
            meters = [self._meter(limit.place, now) for limit in limits]
            for limit, meter in zip(limits, meters, strict=True):
                wait = meter.seconds_to_wait(now, limit.per_minute)
                if wait:
                    raise TooManyRequestsError(
                        f"{limit.whose} may make {limit.per_minute:,} requests a minute; "
                        f"try again in {wait} s",
                        wait,
                    )
            for limit, meter in zip(limits, meters, strict=True):
                meter.admit(now, limit.per_minute)
                self._untold[limit.place] = meter
            is_pressing = any(meter.is_pressing for meter in meters)
        behind.soon(self.write, SOON_SECONDS if is_pressing else LATER_SECONDS)

    def _meter(self, place: Place, now: float) -> Meter:
        meter = self._meters.pop(place, None)
        if meter is None:
            meter = Meter(minute_of(now))
            if len(self._meters) >= MAX_METERS:
                forgotten = next(iter(self._meters))
                del self._meters[forgotten]
                self._untold.pop(forgotten, None)
        self._meters[place] = meter
        meter.turn(now)
        return meter

    def write(self) -> None:
        """Tell what is due, and learn what others did."""
        with self._writing:
            now = self._now().timestamp()
            with self._lock:
                untold = list(self._untold.items())
            due = [(p, meter) for p, meter in untold if _is_due(meter, now)]
            failures = 0
            for place, meter in due[:_AT_ONCE]:
                try:
                    self._tell(place, meter)
                except UnavailableError as error:
                    failures += 1
                    if failures >= _MAX_FAILURES:
                        logger.warning("rates are not shared", reason=str(error))
                        break
        if self._untold:
            rest = 0.0 if len(due) > _AT_ONCE else LATER_SECONDS
            behind.soon(self.write, SOON_SECONDS if failures else rest)

    def _tell(self, place: Place, meter: Meter) -> None:
        with self._lock:
            minute, current, previous = meter.minute, meter.current, meter.previous
            # Back with the next request; first, so that one that comes meanwhile is not missed.
            self._untold.pop(place, None)
        try:
            self._send(place, minute - 1, previous, is_over=True)
            self._send(place, minute, current)
        except UnavailableError:
            with self._lock:
                self._untold[place] = meter
            raise

    def _send(self, place: Place, minute: int, count: Count, *, is_over: bool = False) -> None:
        with self._lock:
            number = count.send()
        try:
            if number:
                shared = self._shared.add(place, minute, number)
            elif is_over and not count.is_final:
                shared = self._shared.get(place, minute)
            else:
                return
        except UnavailableError:
            with self._lock:
                count.fail()
            raise
        with self._lock:
            count.learn(shared)
            count.is_final = is_over

    def forget(self) -> None:
        with self._lock:
            self._meters.clear()
            self._untold.clear()


def _is_due(meter: Meter, now: float) -> bool:
    is_old = now - meter.pending_since >= LATER_SECONDS / 2
    return meter.is_pressing or is_old or bool(meter.previous.pending)
