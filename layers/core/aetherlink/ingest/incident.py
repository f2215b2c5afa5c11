"""Incidents: what another system says is wrong, from its trigger to its resolve. Pure.

An incident is known by its sender and the sender's own key. It is over when the sender says so; told
again after that, it is another one, with an episode of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from aetherlink.alerts.episode import Episode, State, Told
from aetherlink.alerts.machine import Transition
from aetherlink.alerts.model import RuleId
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.ids import digest, tenant_bound
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import TenantId

FIRING, RESOLVED = "ingest.alert.firing", "ingest.alert.resolved"
# Who announces alerts, whoever found them (alerts/announcing.py looks for them under this name).
ANNOUNCED_BY = "aether-command-center"
# Labels and annotations of a rule are of these sizes too (alerts/model.py): an event has 256 KB.
MAX_LABELS, MAX_NAME, MAX_VALUE, MAX_ANNOTATION = 32, 64, 256, 1_024
# A silence has 16 matchers, one of which names the alert.
_MAX_GROUP = 15
MAX_TITLE = 160


class Sender(StrEnum):
    ALERTMANAGER = "alertmanager"
    PAGERDUTY = "pagerduty"
    PING = "ping"
    # Our own healer, where it needs people.
    HEAL = "heal"


@dataclass(frozen=True)
class Signal:
    """What a sender says. `key` is the incident's own name at the sender, `at` when it began or ended.

    `settled_for`: a trigger that comes sooner after the end is one from before it that took long.
    """

    sender: Sender
    key: str
    action: Literal["firing", "acknowledged", "resolved"]
    at: datetime
    name: str = ""
    severity: Severity = Severity.ERROR
    source: str = ""
    group: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    by: str = ""
    settled_for: timedelta = timedelta(0)


@dataclass(frozen=True)
class Incident:
    """What is kept of it. `count` is how many there were under this key; `version` its changes."""

    tenant_id: TenantId
    sender: Sender
    key: str
    is_open: bool
    changed_at: datetime
    episode_id: str | None = None
    count: int = 0
    version: int = 0

    @property
    def name(self) -> str:
        return digest(self.sender, self.key, length=32)


def decide(
    earlier: Incident | None, tenant: TenantId, signal: Signal, now: datetime
) -> Incident | None:
    """The incident as the signal leaves it; None if the signal changes nothing.

    A resolve of what is not known is remembered: the trigger that it overtook must not open anything
    that nobody will close.
    """
    if signal.action == "acknowledged":
        return None
    is_open = earlier is not None and earlier.is_open
    known = earlier or Incident(tenant, signal.sender, signal.key, is_open=False, changed_at=now)
    if signal.action == "resolved":
        is_news = earlier is None or is_open
        return replace(known, is_open=False, changed_at=now) if is_news else None
    if is_open or (earlier and now - earlier.changed_at < signal.settled_for):
        return None
    count = known.count + 1
    return replace(
        known,
        is_open=True,
        changed_at=now,
        count=count,
        episode_id=_episode_id(tenant, signal, count, now),
    )


def told(incident: Incident, signal: Signal, open_one: Episode | None, now: datetime) -> list[Told]:
    """What becomes of its episode, with the events that say so. `open_one` is the episode that a
    resolve ends; None if it has none, or it was erased."""
    if signal.action == "resolved":
        if open_one is None:
            return []
        over = open_one.model_copy(update={"state": State.RESOLVED, "reason": signal.reason})
        end = Transition("resolved", now, over.id, signal.reason)
        return [Told(end, over, _alert(over, end, now))]
    episode = _episode(incident, signal, now)
    raised = Transition("raised", now, episode.id, signal.reason)
    return [
        Told(Transition("pending", episode.started_at, episode.id), episode, None),
        Told(raised, episode, _alert(episode, raised, now)),
    ]


def completed(signal: Signal, episode: Episode | None) -> Signal:
    """A resolve may bring no more than its key; what it ends says the rest."""
    if episode is None or signal.name:
        return signal
    return replace(
        signal,
        name=episode.rule_name,
        severity=episode.severity,
        source=episode.source or "",
        group=episode.labels,
        annotations=episode.annotations,
    )


def heard(incident: Incident, signal: Signal, now: datetime) -> Event:
    """The event that a rule may count, and that the timeline shows: what the sender said."""
    is_firing = signal.action == "firing"
    return announce(
        FIRING if is_firing else RESOLVED,
        source=str(signal.sender),
        tenant_id=incident.tenant_id,
        payload={
            "alert": signal.name,
            "key": signal.key[:MAX_VALUE],
            "severity": str(signal.severity),
            "about": signal.source,
            "labels": signal.group,
            "annotations": signal.annotations,
            "at": to_text(signal.at),
            "episode_id": incident.episode_id,
            **({"reason": signal.reason} if signal.reason else {}),
        },
        now=now,
        event_id=f"{incident.episode_id or incident.name}.{'firing' if is_firing else 'over'}",
        severity=signal.severity if is_firing else Severity.INFO,
    )


def bounded(given: dict[str, Any], longest: int = MAX_VALUE) -> dict[str, str]:
    """A sender's labels or annotations, as many and as long as an alert carries."""
    kept = list(given.items())[:MAX_LABELS]
    return {str(name)[:MAX_NAME]: str(value)[:longest] for name, value in kept if name}


def _episode_id(tenant: TenantId, signal: Signal, count: int, now: datetime) -> str:
    """Sorts by time within its tenant, as those of rules do (alerts/machine.py)."""
    name = digest(signal.sender, signal.key, str(count), length=12)
    return tenant_bound(tenant, f"{int(now.timestamp() * 1000):011x}{name}")


def _episode(incident: Incident, signal: Signal, now: datetime) -> Episode:
    return Episode(
        id=incident.episode_id or "",
        tenant_id=incident.tenant_id,
        # No rule of ours; what a silence of "all of these" names.
        rule_id=RuleId(f"{signal.sender}:{signal.name}"[:MAX_TITLE]),
        rule_name=signal.name,
        state=State.FIRING,
        severity=signal.severity,
        group=dict(list(signal.group.items())[:_MAX_GROUP]),
        labels=signal.group,
        annotations=signal.annotations,
        source=signal.source or None,
        event_type=FIRING,
        matched=1,
        threshold=1,
        window_seconds=0,
        # A sender's clock may be ahead of ours.
        started_at=min(signal.at, now),
        reason=signal.reason,
    )


def _alert(episode: Episode, transition: Transition, now: datetime) -> Event:
    is_raised = transition.kind == "raised"
    payload: dict[str, Any] = {
        "rule_name": episode.rule_name,
        "rule_id": episode.rule_id,
        "matched_count": 1,
        "window_seconds": 0,
        "threshold": 1,
        "filters": {"event_type": FIRING, "source": episode.source, "severity": None},
        "group": episode.group,
        "episode_id": episode.id,
        "labels": episode.labels,
        "annotations": episode.annotations,
    }
    return announce(
        f"ops.alert.{transition.kind}",
        source=ANNOUNCED_BY,
        tenant_id=episode.tenant_id,
        payload={**payload, "reason": transition.reason} if transition.reason else payload,
        now=now,
        event_id=f"{episode.id}.{transition.kind}",
        severity=episode.severity if is_raised else Severity.INFO,
    )
