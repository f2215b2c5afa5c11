"""The hourly run: what passed its retention is removed and reported, tenant by tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.retention.pruning import Pruning

# The function has 300 s, of which the archive may take 200.
TIME = timedelta(seconds=80)


@dataclass(frozen=True)
class Kept:
    """What a run came to. `unfinished` scopes go on in the next run."""

    scopes: int
    pruned: int
    unfinished: int


class Keeper:
    def __init__(self, pruning: Pruning, now: Callable[[], datetime]) -> None:
        self._pruning = pruning
        self._now = now

    def run(self) -> Kept:
        """Raises the first scope's failure, after the others have had their turn: the run is then
        tried again, and in the end seen in the dead-letter queue."""
        deadline = self._now() + TIME
        failures: list[Exception] = []
        pruned = unfinished = 0
        scopes = self._pruning.scopes(None)
        for tenant in scopes:
            try:
                scope = self._pruning.keep(tenant, deadline)
            except Exception as error:  # noqa: BLE001 - one scope of many; raised below
                logger.exception("scope not kept", scope=tenant)
                failures.append(error)
                continue
            pruned += scope.pruned_count if scope else 0
            unfinished += scope is None
        logger.info("kept", scopes=len(scopes), pruned=pruned, unfinished=unfinished)
        if failures:
            raise failures[0]
        return Kept(len(scopes), pruned, unfinished)
