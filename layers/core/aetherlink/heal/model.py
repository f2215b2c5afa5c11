"""What is known of a service that is watched: its health, what was done about it, and who said what of it.
Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from aetherlink.heal.health import Health, Probe, State, Thresholds, observed
from aetherlink.heal.policy import Attempt, Limits, Outcome, forgotten
from aetherlink.registry.plan import MAX_ATTEMPTS

if TYPE_CHECKING:
    from aetherlink.heal.health import Change
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.registry.model import Service
    from aetherlink.registry.plan import HealPlan, ProbePlan

Alert = Literal["gave_up", "approval"]

# A service that went up or down so often within so long flaps.
FLAPS, FLAPS_WITHIN = 4, timedelta(hours=1)
_CHANGES_KEPT = 12
# An approval that nobody used is not one for the next outage.
APPROVED_FOR = timedelta(minutes=15)


@dataclass(frozen=True)
class Target:
    """A service to be looked at. `service` is None for one that only parameter MonitoredServices names."""

    tenant_id: TenantId
    name: str
    url: str
    service: Service | None = None
    plan: HealPlan | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant_id, self.name

    @property
    def probe(self) -> ProbePlan | None:
        return self.plan.probe if self.plan else None

    @property
    def thresholds(self) -> Thresholds:
        probe = self.probe
        if probe is None:
            return Thresholds()
        # A lease has run out or it has not: there is nothing to count.
        failures = 1 if probe.kind == "heartbeat" else probe.failures
        return Thresholds(failures, probe.successes if probe.kind == "http" else 1)

    @property
    def limits(self) -> Limits:
        if self.plan is None:
            return Limits()
        return Limits(
            self.plan.attempts,
            timedelta(seconds=self.plan.window_seconds),
            needs_approval=self.plan.approval,
        )

    @property
    def is_healable(self) -> bool:
        return self.plan is not None and self.plan.action is not None


@dataclass(frozen=True)
class Pending:
    """An attempt that is going on. `until`: when it has failed, if the service is not well by then.
    `said` is what the action itself answered, `reason` why it was made."""

    id: str
    at: datetime
    action: str
    until: datetime
    said: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Pause:
    """`until` None: until somebody ends it."""

    reason: str
    by: str
    until: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True)
class Tally:
    """Over all time. `down` is how long it was, over the outages that have ended."""

    attempts: int = 0
    succeeded: int = 0
    outages: int = 0
    recovered: int = 0
    by_itself: int = 0
    down: timedelta = timedelta(0)
    actions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """`version` counts what was stored. `alert` is why people were called, while they are; `is_blast`
    that it is left alone since too many are down at once."""

    tenant_id: TenantId
    name: str
    health: Health = field(default_factory=Health)
    attempts: tuple[Attempt, ...] = ()
    pending: Pending | None = None
    pause: Pause | None = None
    changes: tuple[datetime, ...] = ()
    alert: Alert | None = None
    is_blast: bool = False
    approval_id: str | None = None
    approved_until: datetime | None = None
    tally: Tally = field(default_factory=Tally)
    version: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant_id, self.name

    def is_approved(self, now: datetime) -> bool:
        return self.approved_until is not None and now < self.approved_until

    def is_flapping(self, now: datetime) -> bool:
        return sum(now - at < FLAPS_WITHIN for at in self.changes) >= FLAPS


def looked_at(
    watched: Watched, probe: Probe, thresholds: Thresholds
) -> tuple[Watched, Change | None]:
    """After a look at it."""
    health, change = observed(watched.health, probe, thresholds)
    if change is None:
        return replace(watched, health=health), None
    changes = (*watched.changes, probe.at)[-_CHANGES_KEPT:]
    tally = watched.tally
    if change == "failed":
        tally = replace(tally, outages=tally.outages + 1)
    else:
        began = watched.health.since or probe.at
        is_helped = any(attempt.at >= began for attempt in watched.attempts)
        tally = replace(
            tally,
            recovered=tally.recovered + 1,
            by_itself=tally.by_itself + (not is_helped),
            down=tally.down + (probe.at - began),
        )
    return replace(watched, health=health, changes=changes, tally=tally), change


def begun(watched: Watched, pending: Pending) -> Watched:
    """With an attempt that is about to be made. An approval is for one."""
    attempt = Attempt(pending.at, Outcome.PENDING)
    return replace(
        watched,
        pending=pending,
        attempts=(*watched.attempts, attempt)[-MAX_ATTEMPTS:],
        approved_until=None,
        approval_id=None,
        alert=None if watched.alert == "approval" else watched.alert,
    )


def ended(watched: Watched, outcome: Outcome) -> Watched:
    """With its attempt over."""
    if watched.pending is None:
        return watched
    *before, last = watched.attempts
    tally, action = watched.tally, watched.pending.action
    return replace(
        watched,
        pending=None,
        attempts=(*before, replace(last, outcome=outcome)),
        tally=replace(
            tally,
            attempts=tally.attempts + 1,
            succeeded=tally.succeeded + (outcome is Outcome.SUCCEEDED),
            actions={**tally.actions, action: tally.actions.get(action, 0) + 1},
        ),
    )


def settled_down(watched: Watched, now: datetime) -> Watched:
    """Well for long enough: what was tried does not count any more, and nobody need look at it."""
    health = watched.health
    well_since = health.since if health.state is State.UP else None
    if well_since is None or not forgotten(watched.attempts or watched.alert, well_since, now):
        return watched
    return replace(watched, attempts=(), alert=None)


def is_news(stored: Watched, now: Watched, thresholds: Thresholds) -> bool:
    """Whether it is worth a write: not that it is as well, or as far down, as it was."""

    def gist(watched: Watched) -> Any:
        health = watched.health
        counted = (
            min(health.failures, thresholds.failures) if health.state is not State.DOWN else 0,
            health.successes if health.state is State.DOWN else 0,
        )
        blank = replace(watched, health=Health(), version=0)
        return health.state, health.since, counted, blank

    return bool(gist(stored) != gist(now))
