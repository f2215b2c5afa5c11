"""Heartbeat monitors: what has to report in, how often, and what its silence means. Pure.

As Healthchecks does it (https://healthchecks.io/docs/http_api/): a job calls a URL of its own when it
is done; one that does not call in time, or says that it failed, alerts. Beyond it, a monitor that was
never called alerts too: a job that never ran is not a job that is well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from aetherlink.events.model import Severity
from aetherlink.ingest.incident import Sender, Signal
from aetherlink.kernel.errors import NotFoundError
from aetherlink.kernel.ids import digest, tenant_bound, tenant_of, token_of
from aetherlink.kernel.shape import Given
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import TenantId

LONGEST = 366 * 86_400
# What a job printed may come with its ping; so much of it is shown in the alert.
MAX_OUTPUT = 1_000
MAX_EXIT_CODE = 255
_EXIT_CODES = frozenset(str(code) for code in range(1, MAX_EXIT_CODE + 1))


class MonitorDraft(Given):
    """The body of POST and PUT /ingest/monitors."""

    name: str = Field(min_length=1, max_length=100)
    period_seconds: int = Field(ge=1, le=LONGEST, description="How often it reports in")
    grace_seconds: int = Field(
        default=60,
        ge=0,
        le=LONGEST,
        description="How much later it may be; also how long a job may run after its start ping",
    )
    severity: Severity = Severity.CRITICAL
    labels: dict[str, str] = Field(default={}, max_length=15)
    enabled: bool = Field(default=True, description="False: pings count, silence does not alert")
    tenant_id: str | None = Field(default=None, description="Whose, for who may name another")

    @field_validator("severity", mode="before")
    @classmethod
    def _lower(cls, given: Any) -> Any:
        return given.lower() if isinstance(given, str) else given

    @field_validator("labels")
    @classmethod
    def _are_short(cls, given: dict[str, str]) -> dict[str, str]:
        for name, value in given.items():
            if not 0 < len(name) <= 64 or len(value) > 256:  # noqa: PLR2004 - as a rule's labels
                raise ValueError("a label's name has 1 to 64 characters, its value at most 256")
        return given


class State(StrEnum):
    # Not called yet.
    NEW = "new"
    UP = "up"
    # Its start was reported, its end is awaited.
    STARTED = "started"
    DOWN = "down"


class Word(StrEnum):
    """What a ping says."""

    SUCCESS = "success"
    START = "start"
    FAIL = "fail"


@dataclass(frozen=True)
class Monitor:
    """`since` is what its next due is counted from: its last ping, its start, or when it was made."""

    id: str
    tenant_id: TenantId
    name: str
    period: timedelta
    grace: timedelta
    severity: Severity
    labels: dict[str, str]
    enabled: bool
    state: State
    since: datetime
    created_at: datetime
    pings: int = 0
    last_ping_at: datetime | None = None
    started_at: datetime | None = None
    last_ms: int | None = None
    reason: str = ""
    version: int = 0

    @property
    def due(self) -> datetime | None:
        """When its silence means something; None while it means nothing more."""
        if not self.enabled or self.state is State.DOWN:
            return None
        waits = self.grace if self.state is State.STARTED else self.period + self.grace
        return self.since + waits

    def shown(self) -> dict[str, Any]:
        due = self.due
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "period_seconds": int(self.period.total_seconds()),
            "grace_seconds": int(self.grace.total_seconds()),
            "severity": str(self.severity),
            "labels": self.labels,
            "enabled": self.enabled,
            "state": str(self.state),
            "reason": self.reason or None,
            "pings": self.pings,
            "last_ping_at": _text(self.last_ping_at),
            "last_duration_ms": self.last_ms,
            "alerts_at": _text(due),
            "created_at": to_text(self.created_at),
        }


def made(wanted: MonitorDraft, key: str, tenant: TenantId, now: datetime) -> Monitor:
    return Monitor(
        id=id_of(key) or "",
        tenant_id=tenant,
        name=wanted.name,
        period=timedelta(seconds=wanted.period_seconds),
        grace=timedelta(seconds=wanted.grace_seconds),
        severity=wanted.severity,
        labels=wanted.labels,
        enabled=wanted.enabled,
        state=State.NEW,
        since=now,
        created_at=now,
    )


def changed(earlier: Monitor, wanted: MonitorDraft, now: datetime) -> Monitor:
    """What it is doing stays; one that is switched on again has its whole time from then on."""
    is_back = wanted.enabled and not earlier.enabled
    return replace(
        earlier,
        name=wanted.name,
        period=timedelta(seconds=wanted.period_seconds),
        grace=timedelta(seconds=wanted.grace_seconds),
        severity=wanted.severity,
        labels=wanted.labels,
        enabled=wanted.enabled,
        since=now if is_back else earlier.since,
    )


def id_of(key: str) -> str | None:
    """The id of the monitor that a key reports to; None if it is no such key.

    A monitor's id shows in lists and in alerts; its key, which reports for it, cannot be had from it.
    """
    tenant = tenant_of(key)
    return tenant_bound(tenant, digest("monitor", token_of(key), length=24)) if tenant else None


def pinged(
    monitor: Monitor, word: Word, now: datetime, *, why: str = ""
) -> tuple[Monitor, Signal | None]:
    """The monitor after a ping, and what there is to say. `why` is what a failure came with."""
    counted = replace(monitor, pings=monitor.pings + 1, last_ping_at=now)
    if word is Word.START:
        if monitor.state is State.DOWN:
            # That it tries again is no proof; its success will be.
            return replace(counted, started_at=now), None
        return replace(counted, started_at=now, state=State.STARTED, since=now), None
    took = now - monitor.started_at if monitor.started_at else None
    ended = replace(
        counted,
        started_at=None,
        since=now,
        last_ms=int(took / timedelta(milliseconds=1)) if took is not None else monitor.last_ms,
    )
    if word is Word.FAIL:
        return _down(ended, why or "it reported a failure", now)
    well = replace(ended, state=State.UP, reason="")
    return well, _signal(well, "resolved", now, "") if monitor.state is State.DOWN else None


def overdue(monitor: Monitor, now: datetime) -> tuple[Monitor, Signal | None]:
    """The monitor as time leaves it."""
    due = monitor.due
    if due is None or now < due:
        return monitor, None
    awaited = {
        State.NEW: "it has never reported in",
        State.STARTED: f"it started at {to_text(monitor.since)} and did not end in time",
    }
    why = awaited.get(monitor.state, f"nothing heard since {to_text(monitor.since)}")
    return _down(monitor, why, now)


def _down(monitor: Monitor, why: str, now: datetime) -> tuple[Monitor, Signal | None]:
    down = replace(monitor, state=State.DOWN, reason=why)
    return down, _signal(down, "firing", now, why)


def _signal(monitor: Monitor, action: Any, now: datetime, why: str) -> Signal:
    return Signal(
        sender=Sender.PING,
        key=monitor.id,
        action=action,
        at=now,
        name=monitor.name,
        severity=monitor.severity,
        source=monitor.labels.get("service", monitor.name),
        group={"monitor": monitor.name, **monitor.labels},
        annotations={"monitor_id": monitor.id, **({"summary": why} if why else {})},
        reason=why,
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


def outcome_of(word: str, output: str) -> tuple[Word, str]:
    """What the last part of a ping's path says: nothing, `start`, `fail` or an exit code; and, of a
    failure, what it came with. Raises NotFoundError for anything else."""
    if word in ("", "0"):
        return Word.SUCCESS, ""
    if word == "start":
        return Word.START, ""
    if word == "fail":
        why = "it reported a failure"
    elif word in _EXIT_CODES:
        why = f"it ended with exit code {word}"
    else:
        raise NotFoundError(
            f"A ping ends in /start, /fail or an exit code from 0 to {MAX_EXIT_CODE}, not in "
            f"/{word[:40]}"
        )
    printed = output.strip()
    # The last of it says most.
    return Word.FAIL, f"{why}: {printed[-MAX_OUTPUT:]}" if printed else why
