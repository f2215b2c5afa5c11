"""The one place where an alert begins and ends. Pure.

`advance` moves a watch (one rule, one group) along the spans over which the rule's condition holds,
and says which transitions that makes. The stream, the sweep, the API and the backtest all call it.

    inactive --holds--> pending --for_seconds--> firing --no longer, keep_firing_for--> inactive
                           |                                   |
                           +--no longer--> inactive            +--holds again--> firing (same episode)

An episode has its id from when it is pending; without `for_seconds` it is never pending.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from aetherlink.alerts.condition import FAR, Span
from aetherlink.alerts.model import Group, Rule, alert_tenant, fingerprint
from aetherlink.kernel.ids import digest, tenant_bound
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence


class Phase(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True)
class Watch:
    """Where one rule stands for one group. `version` counts the changes that were stored.

    A span may begin in the future, where silence alone will make it true.
    """

    group: Group
    version: int = 0
    span: Span | None = None
    episode_id: str | None = None
    raised_at: datetime | None = None
    settled_until: datetime | None = None

    @property
    def phase(self) -> Phase:
        if self.raised_at:
            return Phase.FIRING
        return Phase.PENDING if self.episode_id else Phase.INACTIVE


@dataclass(frozen=True)
class Transition:
    """What an episode does at an instant: `pending` and `dropped` are no alert yet, and no more."""

    kind: Literal["pending", "dropped", "raised", "resolved"]
    at: datetime
    episode_id: str
    reason: str = ""

    @property
    def is_told(self) -> bool:
        """Whether it makes an event, and people hear of it."""
        return self.kind in ("raised", "resolved")


def advance(
    rule: Rule,
    watch: Watch,
    spans: Sequence[Span],
    now: datetime,
    *,
    known_since: datetime | None = None,
) -> tuple[Watch, list[Transition]]:
    """Move `watch` along `spans` up to `now`; what that makes begin or end comes with it.

    Calling it again with the same spans changes nothing, in whatever pieces and order they come.
    `known_since` says that `spans` are all there are from then on, so that an open span which they
    do not have is over; without it they only add to what is known.
    """
    transitions: list[Transition] = []
    if known_since and watch.span:
        watch = _corrected(watch, watch.span, spans, known_since)
    for span in spans:
        start = max(span.start, watch.settled_until or span.start)
        if start >= span.end:
            continue
        # First what happens before this span begins; at its very beginning the two are one.
        is_at_span = start <= now
        watch = _pass_time(rule, watch, min(start, now), transitions, is_at_span=is_at_span)
        if watch.span and watch.span.end < start and start > now:
            # What is open ends first. When it has, somebody looks again.
            break
        if watch.span:
            joined = Span(min(watch.span.start, start), max(watch.span.end, span.end))
            watch = replace(watch, span=joined)
        else:
            watch = replace(watch, span=Span(start, span.end))
        if start > now:
            break
    return _pass_time(rule, watch, now, transitions, is_at_span=False), transitions


def next_due(rule: Rule, watch: Watch) -> datetime | None:
    """When time alone will change the watch; None if it never will."""
    span = watch.span
    if span is None:
        return None
    if watch.raised_at:
        keep = timedelta(seconds=rule.keep_firing_for_seconds)
        return None if span.end == FAR else span.end + keep
    if watch.episode_id is None:
        return span.start
    return min(span.start + timedelta(seconds=rule.for_seconds), span.end)


def retire(watch: Watch, now: datetime, reason: str) -> tuple[Watch, list[Transition]]:
    """End whatever is open, because the rule is gone or off."""
    ended = replace(watch, span=None, episode_id=None, raised_at=None, settled_until=now)
    if watch.episode_id is None:
        return ended, []
    kind: Literal["resolved", "dropped"] = "resolved" if watch.raised_at else "dropped"
    return ended, [Transition(kind, now, watch.episode_id, reason)]


def settled(transitions: Sequence[Transition]) -> list[Transition]:
    """Without the episodes that were pending and dropped in one go, of which nobody need know."""
    began = {t.episode_id for t in transitions if t.kind == "pending"}
    ended = {t.episode_id for t in transitions if t.kind == "dropped"}
    return [t for t in transitions if t.episode_id not in began & ended]


def _corrected(watch: Watch, span: Span, spans: Sequence[Span], known_since: datetime) -> Watch:
    """The watch with its open span as it turned out, given every span from `known_since` on."""
    at = max(span.start, known_since)
    if span.end <= at:
        return watch
    covering = next((s for s in spans if s.start <= at < s.end), None)
    if covering:
        return replace(watch, span=Span(span.start, covering.end))
    if watch.episode_id is None:
        # It had not begun: silence was foreseen, and something came.
        return replace(watch, span=None)
    return replace(watch, span=Span(span.start, at))


def _pass_time(
    rule: Rule, watch: Watch, until: datetime, made: list[Transition], *, is_at_span: bool
) -> Watch:
    span = watch.span
    if span is None or (span.start > until and watch.episode_id is None):
        return watch
    due = span.start + timedelta(seconds=rule.for_seconds)
    if watch.episode_id is None:
        watch = replace(watch, episode_id=_new_episode(rule, watch, span.start))
        if rule.for_seconds:
            made.append(Transition("pending", span.start, watch.episode_id or ""))
    is_long_enough = due < span.end or rule.for_seconds == 0
    if watch.raised_at is None and is_long_enough and due <= until:
        watch = replace(watch, raised_at=due)
        made.append(Transition("raised", due, watch.episode_id or ""))
    keep = timedelta(seconds=rule.keep_firing_for_seconds if watch.raised_at else 0)
    end = FAR if span.end == FAR else max(span.end + keep, watch.raised_at or span.end)
    is_over = end < until or (end == until and not is_at_span)
    if not is_over:
        return watch
    kind: Literal["resolved", "dropped"] = "resolved" if watch.raised_at else "dropped"
    made.append(Transition(kind, end, watch.episode_id or ""))
    return replace(watch, span=None, episode_id=None, raised_at=None, settled_until=end)


def _new_episode(rule: Rule, watch: Watch, start: datetime) -> str:
    """An id that sorts by time within its tenant, and that no second episode of the watch gets."""
    milliseconds = int(start.timestamp() * 1000)
    name = digest(rule.id, fingerprint(watch.group), to_text(start), str(watch.version), length=12)
    return tenant_bound(alert_tenant(rule, watch.group), f"{milliseconds:011x}{name}")


def alert_payload(
    rule: Rule, watch: Watch, transition: Transition, matched: float
) -> dict[str, Any]:
    """What `ops.alert.raised` and `ops.alert.resolved` carry (contract, Alerts)."""
    payload = {
        "rule_name": rule.name,
        "rule_id": rule.id,
        "matched_count": matched,
        "window_seconds": rule.window_seconds,
        "threshold": rule.threshold,
        "measure": str(rule.measure),
        "comparison": rule.comparison,
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
