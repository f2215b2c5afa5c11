"""Whether to heal a service now, or why not. Pure, and the only place where that is decided.

Healing does harm when it is wrong: a restart of everything because the network was away, a restart
every ten seconds of what cannot start, a restart of what waits for its database. Each rule below is one
such harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherlink.heal.health import Health

# The wait before the second attempt, doubled for each one after it (spec v1.5: 10 s to 300 s).
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(seconds=300)
# A service that was well for so long has its attempts forgotten.
FORGOTTEN_AFTER = timedelta(minutes=10)
# More of a tenant's services down at once than this share: it is the network, or us.
BLAST_SHARE, BLAST_MINIMUM = 0.5, 3
# What has been down for longer did not go down at once with the others. Somebody has been told of it; it
# must not keep everything else from being healed for ever.
AT_ONCE = timedelta(minutes=10)
MAX_AT_ONCE = 3


class Outcome(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Attempt:
    at: datetime
    outcome: Outcome


@dataclass(frozen=True)
class Limits:
    """At most `attempts` within `window`; then somebody has to look."""

    attempts: int = 5
    window: timedelta = timedelta(hours=1)
    needs_approval: bool = False


@dataclass(frozen=True)
class Around:
    """What else is so in the service's tenant, at this moment. `failing` of its `services` went down at
    once; `upstream_down` are those that it depends on; `healing` is how many are being healed.
    `elsewhere`: most tenants are in trouble, which is ours. `gave_up`: people have been called, and
    nothing more is done until it has been well, or somebody says so."""

    services: int = 1
    failing: int = 1
    healing: int = 0
    upstream_down: tuple[str, ...] = ()
    paused_until: datetime | None = None
    is_paused: bool = False
    maintenance: str | None = None
    is_approved: bool = False
    elsewhere: bool = False
    gave_up: bool = False


class Verdict(StrEnum):
    HEAL = "heal"
    # Nothing is wrong.
    WELL = "well"
    # It may be healed later; nobody need do anything.
    WAIT = "wait"
    # Somebody has said so, or has to say something.
    HELD = "held"
    # It is not for us any more: alert.
    GIVE_UP = "give_up"
    # It would be healed, if somebody agreed: alert, once.
    ASK = "ask"
    # Too much at once: alert, once.
    BLAST = "blast"


@dataclass(frozen=True)
class Decision:
    """`because` is a sentence for the person who asks why. `not_before`: when waiting ends."""

    verdict: Verdict
    because: str
    not_before: datetime | None = None


def decide(
    health: Health, attempts: Sequence[Attempt], limits: Limits, around: Around, now: datetime
) -> Decision:
    """What to do about a service. `attempts` are in the order of time."""
    if not health.is_down:
        return Decision(Verdict.WELL, f"it is {health.state}")
    return _held(around, now) or _waiting(attempts, limits, around, now) or _healed(limits, around)


def forgotten(attempts: object, well_since: datetime | None, now: datetime) -> bool:
    """Whether what was tried, if anything was, does not count any more: the service has been well for
    long enough."""
    return bool(attempts) and well_since is not None and now - well_since >= FORGOTTEN_AFTER


def wait_after(tries: int) -> timedelta:
    """How long after the latest of `tries` attempts the next one may be."""
    if tries < 1:
        return timedelta(0)
    # Beyond 2^10 it is the longest anyhow; and a large power of two is no timedelta.
    doubled: int = 2 ** min(tries - 1, 10)
    return min(FIRST_WAIT * doubled, LONGEST_WAIT)


def _held(around: Around, now: datetime) -> Decision | None:
    if around.is_paused and (around.paused_until is None or now < around.paused_until):
        return Decision(Verdict.HELD, "healing is paused for it", around.paused_until)
    if around.maintenance:
        return Decision(Verdict.HELD, f"maintenance: {around.maintenance}")
    if around.elsewhere:
        return Decision(
            Verdict.BLAST,
            "services of most tenants are down at once: that is the network between us and them",
        )
    if is_blast(around.failing, around.services):
        return Decision(
            Verdict.BLAST,
            f"{around.failing} of {around.services} services are down at once: that is the network, or "
            "something that they share, and restarting them would not help",
        )
    if around.gave_up:
        return Decision(Verdict.GIVE_UP, "it was given up; resume it to have it tried again")
    return None


def is_blast(failing: int, services: int) -> bool:
    return failing >= BLAST_MINIMUM and failing > BLAST_SHARE * services


def _waiting(
    attempts: Sequence[Attempt], limits: Limits, around: Around, now: datetime
) -> Decision | None:
    if attempts and attempts[-1].outcome is Outcome.PENDING:
        return Decision(Verdict.WAIT, "an attempt is going on")
    recent = [attempt for attempt in attempts if now - attempt.at < limits.window]
    if len(recent) >= limits.attempts:
        return Decision(
            Verdict.GIVE_UP,
            f"{len(recent)} attempts within {limits.window} did not help",
        )
    if around.upstream_down:
        first = ", ".join(around.upstream_down)
        return Decision(Verdict.WAIT, f"it depends on {first}, which is down: that comes first")
    due = attempts[-1].at + wait_after(len(attempts)) if attempts else now
    if due > now:
        return Decision(Verdict.WAIT, f"attempt {len(attempts) + 1} comes later", due)
    if around.healing >= MAX_AT_ONCE:
        return Decision(Verdict.WAIT, f"{around.healing} others are being healed")
    return None


def _healed(limits: Limits, around: Around) -> Decision:
    if limits.needs_approval and not around.is_approved:
        return Decision(Verdict.ASK, "it is down, and somebody has to approve what would be done")
    return Decision(Verdict.HEAL, "it is down, and nothing speaks against it")
