"""How many streams may be open at once, over all instances.

control    pk  system#streams    sk  <slot>    lease_until, token, expires_at

A slot is leased, not owned: one whose holder died is free again when the lease has lapsed.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aetherlink.kernel.errors import TooManyRequestsError, UnavailableError
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.platform.dynamo import ConditionFailedError, Table
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Longer than a function may run.
LEASE = timedelta(seconds=40)
RETRY_AFTER_SECONDS = 5
_PARTITION = f"{SYSTEM}#streams"


class Slots:
    def __init__(
        self, table: Table, limit: int, now: Callable[[], datetime], token: Callable[[], str]
    ) -> None:
        """`token` makes a random hexadecimal text."""
        self._table = table
        self._limit = limit
        self._now = now
        self._token = token

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold a slot. Raises TooManyRequestsError if none is free."""
        token = self._token()
        slot = self._take(token)
        try:
            yield
        finally:
            self._release(slot, token)

    def _take(self, token: str) -> str:
        free = self._free()
        # Each starts elsewhere, so that those who ask at once seldom want the same one.
        start = int(token, 16) % len(free) if free else 0
        for slot in free[start:] + free[:start]:
            now = int(self._now().timestamp())
            until = now + int(LEASE.total_seconds())
            try:
                self._table.put(
                    {
                        "pk": _PARTITION,
                        "sk": slot,
                        "token": token,
                        "lease_until": until,
                        "expires_at": until,
                    },
                    # Nobody may have taken it since it was seen free.
                    only_if="attribute_not_exists(pk) OR lease_until < :now",
                    now=now,
                )
            except ConditionFailedError:
                continue
            return slot
        raise TooManyRequestsError(
            f"{self._limit} streams are open, which is the limit (MaxStreams); try again soon",
            RETRY_AFTER_SECONDS,
        )

    def _free(self) -> list[str]:
        now = int(self._now().timestamp())
        taken = {
            item["sk"]
            for item in self._table.query_all("pk = :pk", pk=_PARTITION)
            if item["lease_until"] >= now
        }
        return [slot for n in range(self._limit) if (slot := f"{n:04d}") not in taken]

    def _release(self, slot: str, token: str) -> None:
        try:
            # "token" is a reserved word there. After a lapsed lease the slot may be another's.
            self._table.delete(_PARTITION, slot, only_if="#token = :token", token=token)
        except ConditionFailedError:
            logger.info("stream slot was lost to another", slot=slot)
        except UnavailableError:
            # What was read is not to be lost for it: the lease lapses by itself.
            logger.warning("stream slot not released", slot=slot)
