"""Rules, and the one pure function that decides when an alert begins and ends.

A rule's condition is a fact about an instant: at least `threshold` matching events in the window that
ends there. It therefore holds over spans of time which follow from the events alone, whoever looks
and whenever: `holding` computes them. `advance` moves a watch (one rule, one group) along those spans
and says which transitions that makes. The stream, the sweep and the API all call it.

    inactive --holds--> pending --for_seconds--> firing --no longer, keep_firing_for--> inactive
                           |                                   |
                           +--no longer--> inactive            +--holds again--> firing (same episode)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

from pydantic import Field, field_validator

from aetherlink.events.model import RULE_EVENTS, Event, Severity
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import SYSTEM, TENANT_PATTERN, TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RuleId = NewType("RuleId", str)

# A judgement reads `threshold` hits; these bounds keep one read and one window's storage small.
MAX_THRESHOLD = 10_000
MAX_WINDOW_SECONDS = 30 * 86_400
GROUP_FIELDS = ("source", "event_type", "severity", "tenant_id")


# Labels and annotations travel in every alert of the rule, and an event has 256 KB.
Name = Annotated[str, Field(min_length=1, max_length=64)]


class RuleDraft(Given):
    """The body of POST /alerts/rules."""

    name: str = Field(min_length=1, max_length=128)
    window_seconds: int = Field(gt=0, le=MAX_WINDOW_SECONDS)
    threshold: int = Field(gt=0, le=MAX_THRESHOLD)
    event_type: str | None = Field(default=None, max_length=128)
    source: str | None = Field(default=None, max_length=256)
    severity: Severity | None = None
    enabled: bool = True
    group_by: list[Annotated[str, Field(max_length=128)]] = Field(default=[], max_length=8)
    alert_severity: Severity = Severity.CRITICAL
    for_seconds: int = Field(default=0, ge=0, le=86_400)
    keep_firing_for_seconds: int = Field(default=0, ge=0, le=86_400)
    no_data: Literal["ok"] | None = Field(
        default=None, description="A count without data is 0; other policies need absence rules"
    )
    labels: dict[Name, Annotated[str, Field(max_length=256)]] = Field(default={}, max_length=32)
    annotations: dict[Name, Annotated[str, Field(max_length=2048)]] = Field(
        default={}, max_length=16
    )
    tenant_id: str | None = None

    @field_validator("severity", "alert_severity", mode="before")
    @classmethod
    def _lower(cls, given: object) -> object:
        return given.lower() if isinstance(given, str) else given

    @field_validator("event_type", "source", mode="before")
    @classmethod
    def _empty_is_any(cls, given: object) -> object:
        return None if given == "" else given

    @field_validator("group_by")
    @classmethod
    def _known_fields(cls, given: list[str]) -> list[str]:
        for name in given:
            is_payload = name.startswith("payload.") and name != "payload."
            if name not in GROUP_FIELDS and not is_payload:
                raise ValueError(
                    f"may name {', '.join(GROUP_FIELDS)} or payload.<field>, got '{name[:64]}'"
                )
        return given

    @field_validator("tenant_id")
    @classmethod
    def _tenant_form(cls, given: str | None) -> str | None:
        if given is not None and not TENANT_PATTERN.fullmatch(given):
            raise ValueError("is no tenant id")
        return given


class Rule(Shape):
    """A rule as it is kept and shown. `tenant_id` None: global, over every tenant's events."""

    id: RuleId
    rule_id: RuleId
    tenant_id: TenantId | None
    name: str
    window_seconds: int
    threshold: int
    event_type: str | None
    source: str | None
    severity: Severity | None
    enabled: bool
    group_by: list[str]
    alert_severity: Severity
    for_seconds: int
    keep_firing_for_seconds: int
    no_data: str | None
    labels: dict[str, str]
    annotations: dict[str, str]
    created_at: datetime
    updated_at: datetime

    @property
    def owner(self) -> TenantId:
        """The partition that it is kept in: its tenant, or `system` for a global rule."""
        return self.tenant_id or SYSTEM

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        times = {"created_at": to_text(self.created_at), "updated_at": to_text(self.updated_at)}
        return {**self.model_dump(mode="json"), **times}

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.window_seconds)


def draw_up(draft: RuleDraft, rule_id: str, tenant_id: TenantId | None, now: datetime) -> Rule:
    given = draft.model_dump(exclude={"tenant_id"})
    bound = RuleId(rule_id)
    return Rule(
        **given, id=bound, rule_id=bound, tenant_id=tenant_id, created_at=now, updated_at=now
    )


def matches(rule: Rule, event: Event) -> bool:
    """Whether the rule counts the event.

    Never an alert's own events, which would feed back; nor the failed delivery of one of its alerts.
    """
    if not rule.enabled or event.event_type in RULE_EVENTS:
        return False
    is_own_delivery = (
        event.event_type == "ops.alert.delivery.failed" and event.payload.get("rule_id") == rule.id
    )
    return (
        not is_own_delivery
        and rule.tenant_id in (None, event.tenant_id)
        and rule.event_type in (None, event.event_type)
        and rule.source in (None, event.source)
        and rule.severity in (None, event.severity)
    )


Group = dict[str, str]


def group_of(rule: Rule, event: Event) -> Group:
    """What the event has for each `group_by` field; "" where it has nothing."""
    return {name: _field(event, name) for name in rule.group_by}


def _field(event: Event, name: str) -> str:
    if name in GROUP_FIELDS:
        return str(getattr(event, name))
    value: Any = event.payload
    for part in name.removeprefix("payload.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return ""
    return (value if isinstance(value, str) else json.dumps(value, sort_keys=True))[:256]


def fingerprint(group: Group) -> str:
    return digest(*(f"{name}={value}" for name, value in sorted(group.items())))


@dataclass(frozen=True)
class Span:
    """The condition holds from `start` until before `end`."""

    start: datetime
    end: datetime


def holding(hits: Iterable[datetime], threshold: int, window: timedelta) -> list[Span]:
    """The spans over which a window holds at least `threshold` of `hits`, in order.

    It begins to hold at a hit that is the threshold-th within one window's length, and ends when the
    oldest of those leaves the window.
    """
    times = sorted(hits)
    spans: list[Span] = []
    for first, last in zip(times, times[threshold - 1 :], strict=False):
        if last - first >= window:
            continue
        end = first + window
        if spans and last <= spans[-1].end:
            spans[-1] = replace(spans[-1], end=max(end, spans[-1].end))
        else:
            spans.append(Span(last, end))
    return spans


class Phase(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True)
class Watch:
    """Where one rule stands for one group. `version` counts the changes that were stored."""

    group: Group
    version: int = 0
    span: Span | None = None
    episode_id: str | None = None
    raised_at: datetime | None = None
    settled_until: datetime | None = None

    @property
    def phase(self) -> Phase:
        if self.episode_id:
            return Phase.FIRING
        return Phase.PENDING if self.span else Phase.INACTIVE


@dataclass(frozen=True)
class Transition:
    """An alert begins (`raised`) or ends (`resolved`) at an instant."""

    kind: Literal["raised", "resolved"]
    at: datetime
    episode_id: str
    reason: str = ""


def advance(
    rule: Rule, watch: Watch, spans: Sequence[Span], now: datetime
) -> tuple[Watch, list[Transition]]:
    """Move `watch` along `spans` up to `now`; what that makes begin or end comes with it.

    Calling it again with the same spans changes nothing, in whatever pieces and order they come.
    """
    transitions: list[Transition] = []
    for span in spans:
        start = max(span.start, watch.settled_until or span.start)
        if start >= span.end:
            continue
        # First what happens before this span begins; at its very beginning the two are one.
        watch = _pass_time(rule, watch, min(start, now), transitions, is_at_span=True)
        if watch.span:
            joined = Span(min(watch.span.start, start), max(watch.span.end, span.end))
            watch = replace(watch, span=joined)
        else:
            watch = replace(watch, span=Span(start, span.end))
    return _pass_time(rule, watch, now, transitions, is_at_span=False), transitions


def next_due(rule: Rule, watch: Watch) -> datetime | None:
    """When time alone will change the watch; None if it never will."""
    if watch.span is None:
        return None
    if watch.episode_id:
        return watch.span.end + timedelta(seconds=rule.keep_firing_for_seconds)
    return min(watch.span.start + timedelta(seconds=rule.for_seconds), watch.span.end)


def retire(watch: Watch, now: datetime, reason: str) -> tuple[Watch, list[Transition]]:
    """End whatever is open, because the rule is gone or off."""
    ended = replace(watch, span=None, episode_id=None, raised_at=None, settled_until=now)
    if watch.episode_id is None:
        return ended, []
    return ended, [Transition("resolved", now, watch.episode_id, reason)]


def _pass_time(
    rule: Rule, watch: Watch, until: datetime, made: list[Transition], *, is_at_span: bool
) -> Watch:
    if watch.span is None:
        return watch
    due = watch.span.start + timedelta(seconds=rule.for_seconds)
    is_long_enough = due < watch.span.end or rule.for_seconds == 0
    if watch.episode_id is None and is_long_enough and due <= until:
        episode = digest(rule.id, fingerprint(watch.group), to_text(due), str(watch.version))
        watch = replace(watch, episode_id=episode, raised_at=due)
        made.append(Transition("raised", due, episode))
    if watch.span is None:
        return watch
    keep = timedelta(seconds=rule.keep_firing_for_seconds if watch.episode_id else 0)
    end = watch.span.end + keep
    is_over = end < until or (end == until and not is_at_span)
    if not is_over:
        return watch
    if watch.episode_id:
        made.append(Transition("resolved", end, watch.episode_id))
    return replace(watch, span=None, episode_id=None, raised_at=None, settled_until=end)


def alert_tenant(rule: Rule, group: Group) -> TenantId:
    """Whose alert it is: the rule's tenant, else the one its group names, else the platform's."""
    named = group.get("tenant_id", "")
    is_tenant = bool(TENANT_PATTERN.fullmatch(named))
    return rule.tenant_id or (TenantId(named) if is_tenant else SYSTEM)


def alert_payload(rule: Rule, watch: Watch, transition: Transition, matched: int) -> dict[str, Any]:
    """What `ops.alert.raised` and `ops.alert.resolved` carry (contract, Alerts)."""
    payload = {
        "rule_name": rule.name,
        "rule_id": rule.id,
        "matched_count": matched,
        "window_seconds": rule.window_seconds,
        "threshold": rule.threshold,
        "filters": {
            "event_type": rule.event_type,
            "source": rule.source,
            "severity": rule.severity and str(rule.severity),
        },
        "group": watch.group,
        "episode_id": transition.episode_id,
        "labels": rule.labels,
        "annotations": rule.annotations,
    }
    return {**payload, "reason": transition.reason} if transition.reason else payload
