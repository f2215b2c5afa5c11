"""Episodes: an alert from its beginning to its end, as people see it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aetherlink.alerts.model import Group, Rule, RuleId, alert_tenant
from aetherlink.events.model import Event, Severity
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from aetherlink.alerts.machine import Transition


class State(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Acknowledgement(Shape):
    """Somebody has it in hand, until `until` (None: until it is resolved)."""

    by: str
    at: datetime
    until: datetime | None = None
    note: str = ""

    def holds_at(self, now: datetime) -> bool:
        return self.until is None or now < self.until


class Mute(Shape):
    """Why nobody was told: the silence that covers it, or the alert that explains it."""

    kind: str
    by: str
    reason: str
    since: datetime


class Episode(Shape):
    """One alert of a rule and group. `notified_at` is when people were told that it began."""

    id: str
    tenant_id: TenantId
    rule_id: RuleId
    rule_name: str
    state: State
    severity: Severity
    group: Group
    labels: dict[str, str]
    annotations: dict[str, str]
    source: str | None
    event_type: str | None
    matched: float
    threshold: float
    window_seconds: int
    started_at: datetime
    raised_at: datetime | None = None
    resolved_at: datetime | None = None
    reason: str = ""
    acknowledged: Acknowledgement | None = None
    muted: Mute | None = None
    notified_at: datetime | None = None

    @property
    def service(self) -> str:
        """The service that it is about, where the rule or its group names one; else ""."""
        named = (
            self.labels.get("service"),
            self.group.get("payload.service"),
            self.group.get("source"),
            self.source,
        )
        return next((name for name in named if name), "")

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            **self.model_dump(mode="json", exclude=_TIMES),
            **{name: _text(getattr(self, name)) for name in sorted(_TIMES)},
            "acknowledged": self.acknowledged
            and {
                **self.acknowledged.model_dump(include={"by", "note"}),
                "at": to_text(self.acknowledged.at),
                "until": _text(self.acknowledged.until),
            },
            "muted": self.muted
            and {
                **self.muted.model_dump(include={"kind", "by", "reason"}),
                "since": to_text(self.muted.since),
            },
        }


@dataclass(frozen=True)
class Told:
    """A transition as it is stored: of which episode, and the event that says so, if people hear."""

    transition: Transition
    episode: Episode
    event: Event | None


_TIMES = {"started_at", "raised_at", "resolved_at", "notified_at"}


def begun(rule: Rule, group: Group, transition: Transition, matched: float) -> Episode:
    """The episode as its rule and one of its transitions describe it."""
    states = {"pending": State.PENDING, "raised": State.FIRING}
    is_over = transition.kind in ("resolved", "dropped")
    return Episode(
        id=transition.episode_id,
        tenant_id=alert_tenant(rule, group),
        rule_id=rule.id,
        rule_name=rule.name,
        state=states.get(transition.kind, State.RESOLVED),
        severity=rule.alert_severity,
        group=group,
        labels=rule.labels,
        annotations=rule.annotations,
        source=rule.source,
        event_type=rule.event_type,
        matched=matched,
        threshold=rule.threshold,
        window_seconds=rule.window_seconds,
        started_at=transition.at,
        raised_at=transition.at if transition.kind == "raised" else None,
        resolved_at=transition.at if is_over else None,
        reason=transition.reason,
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None
