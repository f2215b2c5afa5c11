"""Monitors: kept, pinged, and missed when they fall silent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.ingest.monitor import (
    Monitor,
    MonitorDraft,
    Word,
    changed,
    id_of,
    made,
    overdue,
    pinged,
)
from aetherlink.kernel.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from aetherlink.kernel.ids import tenant_bound, tenant_of
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aetherlink.ingest.incident import Signal

MAX_MONITORS = 500
_ATTEMPTS = 8
# The sweep comes every minute by itself. What is due before the next but one is worth waking it for.
_SOON = timedelta(minutes=2)


class Kept(Protocol):
    def add(self, monitor: Monitor) -> None: ...
    def get(self, monitor_id: str) -> Monitor | None: ...
    def of(self, tenant: TenantId) -> list[Monitor]: ...
    def due(self, now: datetime) -> list[Monitor]: ...
    def save(self, earlier: Monitor, changed: Monitor) -> bool: ...
    def save_request(self, earlier: Monitor, changed: Monitor) -> dict[str, Any]: ...
    def delete(self, monitor: Monitor) -> None: ...


class Intake(Protocol):
    def take(self, tenant: TenantId, signal: Signal) -> str: ...
    def attempt(
        self, tenant: TenantId, signal: Signal, also: Sequence[dict[str, Any]] = ()
    ) -> str | None: ...


class Monitors:
    """`token` makes 128 random bits, in hexadecimal."""

    def __init__(
        self,
        kept: Kept,
        intake: Intake,
        *,
        alarm: Callable[[datetime], None],
        token: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._kept = kept
        self._intake = intake
        self._alarm = alarm
        self._token = token
        self._now = now

    # ---- kept

    def create(self, caller: Caller, wanted: MonitorDraft) -> dict[str, Any]:
        """The monitor, and its key: shown now and never again."""
        tenant = caller.writes(wanted.tenant_id)
        if len(self._kept.of(tenant)) >= MAX_MONITORS:
            raise ConflictError(f"A tenant has at most {MAX_MONITORS} monitors; delete one")
        key = tenant_bound(tenant, self._token())
        monitor = made(wanted, key, tenant, self._now())
        self._kept.add(monitor)
        self._wake(monitor)
        caller.trail.changed(f"monitors/{monitor.id}", after=monitor.shown())
        return {"monitor": monitor.shown(), "ping_key": key}

    def visible(self, view: TenantId) -> list[dict[str, Any]]:
        return [monitor.shown() for monitor in self._kept.of(view)]

    def get(self, caller: Caller, monitor_id: str) -> dict[str, Any]:
        return self._of(caller, monitor_id).shown()

    def change(self, caller: Caller, monitor_id: str, wanted: MonitorDraft) -> dict[str, Any]:
        earlier = self._of(caller, monitor_id)
        if wanted.tenant_id not in (None, earlier.tenant_id):
            raise InvalidError("tenant_id: a monitor stays its tenant's; add one there instead")
        later = changed(earlier, wanted, self._now())
        if not self._kept.save(earlier, later):
            raise ConflictError("The monitor was pinged or changed meanwhile; send it again")
        self._wake(later)
        caller.trail.tenant_id = earlier.tenant_id
        caller.trail.changed(f"monitors/{later.id}", before=earlier.shown(), after=later.shown())
        return later.shown()

    def delete(self, caller: Caller, monitor_id: str) -> str:
        """Its alert, if it has one open, is over: nobody could end it any more."""
        monitor = self._of(caller, monitor_id)
        _, signal = pinged(monitor, Word.SUCCESS, self._now())
        if signal:
            self._intake.take(monitor.tenant_id, signal)
        self._kept.delete(monitor)
        caller.trail.tenant_id = monitor.tenant_id
        caller.trail.changed(f"monitors/{monitor.id}", before=monitor.shown())
        return monitor.id

    # ---- pinged

    def caller(self, key: str, _headers: Mapping[str, str]) -> Caller:
        """Who pings: nobody but the monitor whose key it is. Raises NotFoundError for any other key."""
        tenant, monitor_id = tenant_of(key), id_of(key)
        if tenant is None or monitor_id is None:
            raise NotFoundError("No monitor has this key; POST /ingest/monitors makes one")
        return Caller(
            subject=f"monitor:{monitor_id}", roles=frozenset({Role.SERVICE}), tenant_id=tenant
        )

    def ping(self, key: str, word: Word, why: str = "") -> Monitor:
        """Note what a ping says, and alert or end the alert. Raises NotFoundError for a key that
        nobody has, UnavailableError if too many ping at once."""
        for _ in range(_ATTEMPTS):
            monitor = self._kept.get(id_of(key) or "")
            if monitor is None:
                raise NotFoundError("No monitor has this key; POST /ingest/monitors makes one")
            later, signal = pinged(monitor, word, self._now(), why=why)
            if self._settled(monitor, later, signal):
                self._wake(later)
                return later
        raise UnavailableError("Too many pings of the same monitor at once; try again")

    def sweep(self) -> int:
        """Alert for what should have reported in by now; how many it was."""
        missed = 0
        for found in self._kept.due(self._now()):
            try:
                # The index may be a moment behind a ping.
                monitor = self._kept.get(found.id)
                if monitor is None:
                    continue
                later, signal = overdue(monitor, self._now())
                missed += bool(signal and self._settled(monitor, later, signal))
            except Exception:  # noqa: BLE001 - logged; one is damaged, and the others go on
                # One that is damaged must not keep the others from being missed.
                logger.exception("a monitor could not be judged", monitor_id=found.id)
        return missed

    def _settled(self, earlier: Monitor, later: Monitor, signal: Signal | None) -> bool:
        """Store the monitor, and what there is to say together with it. False: read it again."""
        if signal is None:
            return self._kept.save(earlier, later)
        if earlier.state is later.state:
            # It is known to be down; that it failed again changes its numbers alone.
            return self._kept.save(earlier, later)
        together = [self._kept.save_request(earlier, later)]
        return self._intake.attempt(earlier.tenant_id, signal, together) is not None

    def _wake(self, monitor: Monitor) -> None:
        due = monitor.due
        if due and due - self._now() <= _SOON:
            self._alarm(due)

    def _of(self, caller: Caller, monitor_id: str) -> Monitor:
        owner = tenant_of(monitor_id)
        found = self._kept.get(monitor_id) if owner and caller.may_act_for(owner) else None
        if found is None:
            raise NotFoundError(f"Monitor {monitor_id} not found")
        return found
