"""The hourly run: what passed its retention is removed and reported, tenant by tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.kernel.tenancy import Caller, Role
from aetherlink.kernel.time import to_text
from aetherlink.platform.telemetry import logger
from aetherlink.retention.service import APPLY

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.events.keeping import Keeping
    from aetherlink.jobs.service import Starter
    from aetherlink.retention.pruning import Pruning

_SELF = Caller("aetherlink", frozenset({Role.ADMIN}), tenant_id=None, cross_tenant=True)
# The function has 300 s, of which the archive may take 200.
TIME = timedelta(seconds=80)


@dataclass(frozen=True)
class Kept:
    """What a run came to. `unfinished` scopes go on in the next run."""

    scopes: int
    pruned: int
    unfinished: int


class Defaults(Protocol):
    def default_days(self) -> int | None: ...
    def put_default_days(self, days: int) -> None: ...


class Keeper:
    def __init__(
        self,
        pruning: Pruning,
        keeping: Keeping,
        reported: Defaults,
        jobs: Starter,
        now: Callable[[], datetime],
    ) -> None:
        self._pruning = pruning
        self._keeping = keeping
        self._reported = reported
        self._jobs = jobs
        self._now = now

    def run(self) -> Kept:
        """Raises the first scope's failure, after the others have had their turn: the run is then
        tried again, and in the end seen in the dead-letter queue."""
        self._apply_default()
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

    def _apply_default(self) -> None:
        """Where the parameter EventRetentionDays was changed: apply it to everybody without a policy
        of its own, as a changed policy is."""
        days, earlier = self._keeping.default.days, self._reported.default_days()
        if earlier is not None and earlier != days:
            own = self._keeping.terms().special
            params = {"earlier_days": earlier, "changed_at": to_text(self._now())}
            for tenant in self._pruning.scopes(None):
                if tenant not in own:
                    self._jobs.start(_SELF, APPLY, tenant, params, total=0)
        if earlier != days:
            self._reported.put_default_days(days)
