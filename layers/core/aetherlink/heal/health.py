"""Whether a service is well: what its probes say, with hysteresis. Pure.

One lost probe is no outage, and one good one no recovery: `failures` bad ones in a row take a service down,
`successes` good ones bring it up again (Kubernetes' failureThreshold and successThreshold; its defaults are
3 and 1, ours 3 and 2, since a service that flaps costs people more than one that is up a second later).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

Change = Literal["failed", "recovered"]


class State(StrEnum):
    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True)
class Thresholds:
    failures: int = 3
    successes: int = 2


@dataclass(frozen=True)
class Probe:
    """What one look at a service found. `ms` is how long it took, `error` why it is not well."""

    at: datetime
    is_well: bool
    ms: int
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Health:
    """`failures` and `successes` are in a row; one of them is 0. `since` is when the state began."""

    state: State = State.UNKNOWN
    failures: int = 0
    successes: int = 0
    since: datetime | None = None
    last: Probe | None = None

    @property
    def is_down(self) -> bool:
        return self.state is State.DOWN

    def is_wavering(self, thresholds: Thresholds) -> bool:
        """Whether another look, now, could settle it: it is worth one within the same run."""
        if self.is_down:
            return 0 < self.successes < thresholds.successes
        return 0 < self.failures < thresholds.failures


def observed(health: Health, probe: Probe, thresholds: Thresholds) -> tuple[Health, Change | None]:
    """The health after a probe, and what changed, if it did. A first probe that is good says nothing new:
    there was no failure that anybody was told of."""
    if probe.is_well:
        successes = health.successes + 1
        seen = replace(health, failures=0, successes=successes, last=probe)
        if health.is_down and successes < thresholds.successes:
            return seen, None
        if health.state is State.UP:
            return seen, None
        up = replace(seen, state=State.UP, since=probe.at)
        return up, "recovered" if health.is_down else None
    failures = health.failures + 1
    seen = replace(health, failures=failures, successes=0, last=probe)
    if health.is_down:
        return seen, None
    if failures < thresholds.failures:
        # Not well, and not down yet.
        since = health.since if health.state is State.DEGRADED else probe.at
        return replace(seen, state=State.DEGRADED, since=since), None
    return replace(seen, state=State.DOWN, since=probe.at), "failed"
