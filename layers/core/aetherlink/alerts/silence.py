"""Silences: which alerts people need not hear of, for how long, and why. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator

from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import parse_instant, to_text

if TYPE_CHECKING:
    from aetherlink.alerts.episode import Episode

# Nothing stays muted for ever because somebody forgot it.
LONGEST = timedelta(days=366)
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MAX_PATTERN = 256


class Matcher(Given):
    """One thing that must be so of an alert.

    `name` is rule_name, rule_id, severity, tenant_id, service, source, event_type, label.<name> or a
    field of its group. Of a pattern the whole value must match; `*` stands for any text.
    """

    name: str = Field(min_length=1, max_length=128)
    op: Literal["=", "!=", "like", "not like"] = "="
    value: str = Field(max_length=_MAX_PATTERN)

    def fits(self, facts: dict[str, str]) -> bool:
        found = facts.get(self.name, "")
        if self.op in ("=", "!="):
            return (found == self.value) is (self.op == "=")
        return _is_like(found, self.value) is (self.op == "like")


class Schedule(Given):
    """When a silence repeats: on these days, from `start` until `end` of the clock of a time zone.

    An `end` at or before `start` is on the next day.
    """

    days: list[Day] = Field(default=list(DAYS), min_length=1, max_length=7)
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="HH:MM")
    end: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="HH:MM")
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ValueError, OSError, LookupError) as error:
            raise ValueError(
                f"must be a time zone such as Europe/Zurich, got {given[:64]!r}"
            ) from error
        return given

    def covers(self, instant: datetime) -> bool:
        local = instant.astimezone(ZoneInfo(self.timezone))
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        clock = local.time()
        today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
        if start < end:
            return today in self.days and start <= clock < end
        return (today in self.days and clock >= start) or (yesterday in self.days and clock < end)


class SilenceDraft(Given):
    """The body of POST and PUT /alerts/silences."""

    matchers: list[Matcher] = Field(min_length=1, max_length=16)
    reason: str = Field(min_length=1, max_length=1000)
    starts_at: Annotated[datetime | None, Field(description="Absent: now")] = None
    ends_at: datetime
    schedule: Schedule | None = None
    notify_before_seconds: int = Field(
        default=900, ge=0, le=86_400, description="A notice this long before it ends; 0, none"
    )
    tenant_id: str | None = None

    @field_validator("starts_at", "ends_at", mode="before")
    @classmethod
    def _instant(cls, given: object) -> object:
        return parse_instant(given) if isinstance(given, str) else given

    @field_validator("ends_at")
    @classmethod
    def _after_it_starts(cls, given: datetime, info: ValidationInfo) -> datetime:
        starts = info.data.get("starts_at")
        if starts and given <= starts:
            raise ValueError("must be after starts_at")
        return given


class Silence(Shape):
    """A silence as it is kept."""

    id: str
    tenant_id: TenantId
    matchers: list[Matcher]
    reason: str
    starts_at: datetime
    ends_at: datetime
    schedule: Schedule | None
    notify_before_seconds: int
    created_by: str
    created_at: datetime
    noticed_at: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at and (
            self.schedule is None or self.schedule.covers(now)
        )

    def covers(self, episode: Episode) -> bool:
        facts = facts_of(episode)
        return all(matcher.fits(facts) for matcher in self.matchers)

    def wants_notice(self, now: datetime) -> bool:
        """Whether it is time to say that it will end."""
        notice = timedelta(seconds=self.notify_before_seconds)
        return (
            self.noticed_at is None
            and self.notify_before_seconds > 0
            and self.ends_at - notice <= now < self.ends_at
        )

    def state(self, now: datetime) -> Literal["pending", "active", "paused", "expired"]:
        """`paused`: between two of its times of day."""
        if now >= self.ends_at:
            return "expired"
        if now < self.starts_at:
            return "pending"
        return "active" if self.is_active(now) else "paused"

    def shown(self, now: datetime) -> dict[str, Any]:
        """As the API shows it."""
        times = ("starts_at", "ends_at", "created_at")
        return {
            **self.model_dump(mode="json", exclude={*times, "noticed_at"}),
            **{name: to_text(getattr(self, name)) for name in times},
            "state": self.state(now),
        }


def facts_of(episode: Episode) -> dict[str, str]:
    """What matchers may ask of an alert."""
    return {
        **{f"label.{name}": value for name, value in episode.labels.items()},
        **episode.group,
        "rule_name": episode.rule_name,
        "rule_id": episode.rule_id,
        "severity": str(episode.severity),
        "tenant_id": episode.group.get("tenant_id") or episode.tenant_id,
        "service": episode.service,
        "source": episode.group.get("source") or episode.source or "",
        "event_type": episode.group.get("event_type") or episode.event_type or "",
    }


def first_cover(silences: list[Silence], episode: Episode, now: datetime) -> Silence | None:
    """The silence that mutes an alert now; of several the one that lasts longest."""
    active = [s for s in silences if s.is_active(now) and s.covers(episode)]
    return max(active, key=lambda silence: silence.ends_at, default=None)


def _is_like(found: str, pattern: str) -> bool:
    """Piece by piece rather than as a regular expression, which a person's pattern could make slow."""
    first, *others = pattern.split("*")
    if not others:
        return found == pattern
    *middle, last = others
    if not found.startswith(first) or len(found) < len(first) + len(last):
        return False
    rest = found[len(first) : len(found) - len(last)]
    for piece in middle:
        _, is_there, rest = rest.partition(piece) if piece else ("", "*", rest)
        if not is_there:
            return False
    return found.endswith(last)
