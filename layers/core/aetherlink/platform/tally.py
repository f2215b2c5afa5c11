"""Counts of requests, shared by all instances and written behind them.

    control    pk  <tenant>#requests    sk  <service>#<route template>    s<status> (numbers)
               pk  system#requests          of requests without a verified caller
               pk  *#requests               of every request

A request costs one addition in memory here. These are statistics: what an instance counted in the
last two seconds of its life is lost. What must not be lost is the audit's (`auditing`).
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.platform import behind, boundary
from aetherlink.platform.config import config
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from aetherlink.kernel.tenancy import Caller

    class Kept(Protocol):
        def add(self, pk: str, sk: str, numbers: Mapping[str, int]) -> Any: ...


EVERYBODY = "*"
# How long a count may wait to be written.
INTERVAL_SECONDS = 2.0
# Different counts, and items, that wait at most: 10 MB or so. What a tenant has beyond is counted
# for everybody alone.
_MAX_WAITING = 20_000
# Items written in one go; the thread has other work, too.
_AT_ONCE = 100
# After so many failures in a row the database is left alone until the next time.
_MAX_FAILURES = 3


def partition(whose: str) -> str:
    return f"{whose}#requests"


class Tally:
    def __init__(self, table: Kept) -> None:
        self._table = table
        # Whose ("" for everybody's alone), sort key, status.
        self._counts: dict[tuple[str, str, int], int] = {}
        self._counting = Lock()
        # By partition and sort key: what an update will add.
        self._waiting: dict[tuple[str, str], Counter[str]] = {}
        self._writing = Lock()
        self._unnamed = 0

    def count(self, service: str, path: str, status: int, caller: Caller | None) -> None:
        whose: str = SYSTEM
        if caller and not caller.trail.is_leaving:
            whose = caller.tenant_id or ""
        key = (whose, f"{service}#{path}", status)
        with self._counting:
            if key not in self._counts and len(self._counts) >= _MAX_WAITING:
                self._unnamed += 1
                key = ("", *key[1:])
            self._counts[key] = self._counts.get(key, 0) + 1
        behind.soon(self.write, INTERVAL_SECONDS)

    def write(self) -> None:
        """Write a part of what waits, and see that the rest follows."""
        with self._writing:
            is_well = self._write(_AT_ONCE)
        if self._waiting:
            behind.soon(self.write, 0.0 if is_well else INTERVAL_SECONDS)

    def flush(self) -> None:
        """Write all that was counted up to now. What the database does not take waits on."""
        with self._writing:
            while self._write(_AT_ONCE) and self._waiting:
                pass
        if self._waiting:
            behind.soon(self.write, INTERVAL_SECONDS)

    def _write(self, most: int) -> bool:
        """Whether the database took what it was given.

        An update that failed is sent again, also where it is unclear whether it was done (a timeout,
        a process frozen while it waited): then it counts twice. The other choice would lose denials
        from the one place where a flood of them shows; and botocore repeats after a timeout as well.
        """
        self._take()
        failures = 0
        for place in list(self._waiting)[:most]:
            numbers = self._waiting.pop(place)
            try:
                self._table.add(*place, numbers)
            except UnavailableError as error:
                # Behind the others, so that one hot item does not hold them up.
                self._waiting[place] = numbers
                failures += 1
                if failures >= _MAX_FAILURES:
                    logger.warning("counts wait", items=len(self._waiting), reason=str(error))
                    return False
        return not failures

    def _take(self) -> None:
        with self._counting:
            counts, self._counts = self._counts, {}
            unnamed, self._unnamed = self._unnamed, 0
        for (whose, sk, status), number in counts.items():
            self._wait(EVERYBODY, sk, status, number)
            if whose and not self._wait(whose, sk, status, number):
                unnamed += number
        if unnamed:
            logger.warning("counted for everybody alone", requests=unnamed, limit=_MAX_WAITING)

    def _wait(self, whose: str, sk: str, status: int, number: int) -> bool:
        place = (partition(whose), sk)
        # Of everybody there are only as many items as routes.
        if place not in self._waiting and len(self._waiting) >= _MAX_WAITING and whose != EVERYBODY:
            return False
        self._waiting.setdefault(place, Counter())[f"s{status}"] += number
        return True

    def forget(self) -> None:
        """Drop what was counted and not written."""
        with self._counting, self._writing:
            self._counts.clear()
            self._waiting.clear()


@cache
def _tally() -> Tally:
    return Tally(_Control())


class _Control:
    """The control table, reached when there is something to write: the open routes start without
    boto3."""

    def add(self, pk: str, sk: str, numbers: Mapping[str, int]) -> None:
        from aetherlink.platform import rates  # noqa: PLC0415
        from aetherlink.platform.dynamo import Table  # noqa: PLC0415

        # A process that was frozen with what it had counted may write it hours later, when the tenant
        # has been removed: then it is to have no numbers any more. (They stand in everybody's.)
        whose = pk.partition("#")[0]
        if whose not in (SYSTEM, EVERYBODY) and rates.is_leaving(whose):
            return
        Table(config().control_table).add(pk, sk, numbers)


def count(service: str, path: str, status: int, caller: Caller | None) -> None:
    """Count one answered request. Costs no AWS call here: a thread writes what has gathered."""
    _tally().count(service, path, status, caller)


def flush() -> None:
    """Write what this process has counted up to now, of whomever."""
    with boundary.within(None):
        _tally().flush()


def forget() -> None:
    _tally().forget()
