"""Rules: what they count, for whom, in which groups, and what their alerts say. Pure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NewType

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationInfo,
    field_validator,
)

from aetherlink.alerts.condition import (
    Measure,
    Part,
    is_empty,
    step_of,
    value_of,
)
from aetherlink.events.model import RULE_EVENTS, Event, Filters, Severity
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Given, Shape
from aetherlink.kernel.tenancy import SYSTEM, TENANT_PATTERN, TenantId
from aetherlink.kernel.time import to_text

RuleId = NewType("RuleId", str)

# A judgement reads `threshold` hits; these bounds keep one read and one window's storage small.
MAX_THRESHOLD = 10_000
# A step keeps the values themselves, and an item has 400 KB.
MAX_DISTINCT = 1_000
MAX_WINDOW_SECONDS = 30 * 86_400
GROUP_FIELDS = ("source", "event_type", "severity", "tenant_id")


# Labels and annotations travel in every alert of the rule, and an event has 256 KB.
Name = Annotated[str, Field(min_length=1, max_length=64)]
Scalar = StrictBool | StrictInt | StrictFloat | Annotated[str, Field(max_length=256)]
# As it came: 3 stays 3, since people read it back.
Threshold = Annotated[
    float,
    AfterValidator(lambda given: int(given) if given == int(given) else given),
    PlainSerializer(lambda given: given),
]
Where = Annotated[dict[Annotated[str, Field(max_length=128)], Scalar], Field(max_length=8)]


class Matcher(Given):
    """Which events are meant: those that fit everything that is given."""

    event_type: str | None = Field(default=None, max_length=128)
    source: str | None = Field(default=None, max_length=256)
    severity: Severity | None = None
    where: Where = Field(
        default={}, description="Values that payload fields must have, as {'payload.code': 500}"
    )

    @field_validator("severity", mode="before")
    @classmethod
    def _lower(cls, given: object) -> object:
        return given.lower() if isinstance(given, str) else given

    @field_validator("event_type", "source", mode="before")
    @classmethod
    def _empty_is_any(cls, given: object) -> object:
        return None if given == "" else given

    @field_validator("where")
    @classmethod
    def _payload_fields(cls, given: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in given:
            if not _is_payload_field(name):
                raise ValueError(f"names payload.<field>, got '{name[:64]}'")
        return given


class RuleDraft(Matcher):
    """The body of POST /alerts/rules."""

    name: str = Field(min_length=1, max_length=128)
    window_seconds: int = Field(gt=0, le=MAX_WINDOW_SECONDS)
    measure: Measure = Field(
        default=Measure.COUNT,
        description="What is compared with the threshold: the number of events, of distinct values "
        "of `field`, the sum or average of `field`, the share of events among those of `of`; or "
        "`absence`, fewer events than the threshold",
    )
    threshold: Threshold = Field(
        gt=0, allow_inf_nan=False, description="Of a ratio a fraction, of an absence 1 as a rule"
    )
    field: str | None = Field(
        default=None, max_length=128, description="payload.<field>", validate_default=True
    )
    of: Matcher | None = Field(
        default=None, description="What a ratio divides by", validate_default=True
    )
    comparison: Literal["at_least", "at_most"] = "at_least"
    confirm_window_seconds: int | None = Field(
        default=None,
        gt=0,
        description="A shorter window over which the condition must hold as well (burn rates)",
    )
    enabled: bool = True
    group_by: list[Annotated[str, Field(max_length=128)]] = Field(default=[], max_length=8)
    alert_severity: Severity = Severity.CRITICAL
    for_seconds: int = Field(default=0, ge=0, le=86_400)
    keep_firing_for_seconds: int = Field(default=0, ge=0, le=86_400)
    no_data: Literal["ok", "alerting", "keep_last"] | None = Field(
        default=None,
        description="What an empty window means: all is well, an alert, or what was so before. "
        "Absent: a count, sum or number of values is 0, an average or ratio is no reason to alert",
    )
    labels: dict[Name, Annotated[str, Field(max_length=256)]] = Field(default={}, max_length=32)
    annotations: dict[Name, Annotated[str, Field(max_length=2048)]] = Field(
        default={}, max_length=16
    )
    tenant_id: str | None = None

    @field_validator("alert_severity", mode="before")
    @classmethod
    def _lower_too(cls, given: object) -> object:
        return given.lower() if isinstance(given, str) else given

    @field_validator("group_by")
    @classmethod
    def _known_fields(cls, given: list[str]) -> list[str]:
        for name in given:
            if name not in GROUP_FIELDS and not _is_payload_field(name):
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

    @field_validator("threshold")
    @classmethod
    def _whole_where_it_counts(cls, given: float, info: ValidationInfo) -> float:
        measure = info.data.get("measure", Measure.COUNT)
        most = MAX_DISTINCT if measure is Measure.DISTINCT else MAX_THRESHOLD
        counts = measure in (Measure.COUNT, Measure.ABSENCE, Measure.DISTINCT)
        if counts and (given != int(given) or given > most):
            raise ValueError(f"of measure '{measure}' must be a whole number from 1 to {most:,}")
        return given

    @field_validator("field")
    @classmethod
    def _where_it_measures(cls, given: str | None, info: ValidationInfo) -> str | None:
        measure = info.data.get("measure")
        if measure not in (Measure.DISTINCT, Measure.SUM, Measure.AVERAGE):
            if given is not None:
                raise ValueError(f"is for the measures distinct, sum and avg, not for '{measure}'")
        elif not _is_payload_field(given) and not (
            measure is Measure.DISTINCT and given in GROUP_FIELDS
        ):
            raise ValueError(f"must name what '{measure}' is of, such as payload.amount")
        return given

    @field_validator("of")
    @classmethod
    def _of_a_ratio(cls, given: Matcher | None, info: ValidationInfo) -> Matcher | None:
        if (given is not None) != (info.data.get("measure") is Measure.RATIO):
            raise ValueError("is what measure 'ratio' divides by: needed there, and only there")
        return given

    @field_validator("comparison", "no_data", "confirm_window_seconds")
    @classmethod
    def _not_of_an_absence(cls, given: object, info: ValidationInfo) -> object:
        if info.data.get("measure") is Measure.ABSENCE and given not in (None, "at_least"):
            raise ValueError("is not for measure 'absence', which holds below the threshold")
        return given

    @field_validator("confirm_window_seconds")
    @classmethod
    def _shorter(cls, given: int | None, info: ValidationInfo) -> int | None:
        if given is not None and given >= info.data.get("window_seconds", given + 1):
            raise ValueError("must be less than window_seconds")
        return given


def _is_payload_field(name: str | None) -> bool:
    return name is not None and name.startswith("payload.") and name != "payload."


class Rule(Shape):
    """A rule as it is kept and shown. `tenant_id` None: global, over every tenant's events.

    `enabled_since` is since when it counts: an absence before that says nothing.
    """

    id: RuleId
    rule_id: RuleId
    tenant_id: TenantId | None
    name: str
    window_seconds: int
    threshold: Threshold
    measure: Measure = Measure.COUNT
    field: str | None = None
    of: Matcher | None = None
    comparison: Literal["at_least", "at_most"] = "at_least"
    confirm_window_seconds: int | None = None
    event_type: str | None
    source: str | None
    severity: Severity | None
    where: dict[str, Scalar] = Field(default={})
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
    enabled_since: datetime | None = None

    @property
    def owner(self) -> TenantId:
        """The partition that it is kept in: its tenant, or `system` for a global rule."""
        return self.tenant_id or SYSTEM

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        times = {"created_at": to_text(self.created_at), "updated_at": to_text(self.updated_at)}
        return {**self.model_dump(mode="json", exclude={"enabled_since"}), **times}

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.window_seconds)

    @property
    def confirm_window(self) -> timedelta | None:
        seconds = self.confirm_window_seconds
        return timedelta(seconds=seconds) if seconds else None

    @property
    def step(self) -> timedelta | None:
        """How its events are added up; None where single hits are kept."""
        is_exact = self.measure is Measure.ABSENCE or not self.looks_at_whole_windows
        return None if is_exact else step_of(self.window, self.confirm_window)

    @property
    def looks_at_whole_windows(self) -> bool:
        """Whether more than the newest `threshold` events decide it."""
        return not (
            self.measure is Measure.COUNT
            and self.comparison == "at_least"
            and self.no_data in (None, "ok")
            and self.confirm_window_seconds is None
        )

    @property
    def holds_when_empty(self) -> bool:
        """Whether silence alone can make it fire."""
        return (
            self.measure is Measure.ABSENCE
            or self.no_data == "alerting"
            or (self.no_data is None and self.holds(Part()) is True)
        )

    def holds(self, part: Part) -> bool | None:
        """Whether the condition holds of a window with these events; None: as it was before."""
        if self.measure is Measure.ABSENCE:
            return part.n < self.threshold
        if self.no_data and is_empty(self.measure, part):
            return {"ok": False, "alerting": True, "keep_last": None}[self.no_data]
        value = value_of(self.measure, part)
        if value is None:
            return False
        is_at_least = self.comparison == "at_least"
        return value >= self.threshold if is_at_least else value <= self.threshold


def draw_up(draft: RuleDraft, rule_id: str, tenant_id: TenantId | None, now: datetime) -> Rule:
    given = draft.model_dump(exclude={"tenant_id"})
    bound = RuleId(rule_id)
    times = {"created_at": now, "updated_at": now, "enabled_since": now}
    return Rule.model_validate(
        {**given, **times, "id": bound, "rule_id": bound, "tenant_id": tenant_id}
    )


def matches(rule: Rule, event: Event) -> bool:
    """Whether the event is one of those that the rule is about."""
    return _may_count(rule, event) and fits(rule, event)


def part_of(rule: Rule, event: Event) -> Part | None:
    """What the event adds to the rule's measure; None if it adds nothing.

    An event without a number in the field adds nothing to a sum or average.
    """
    if not _may_count(rule, event):
        return None
    if rule.measure is Measure.RATIO:
        total = 1 if rule.of and fits(rule.of, event) else 0
        n = 1 if fits(rule, event) else 0
        return Part(n=n, total=total) if n or total else None
    if not fits(rule, event):
        return None
    if rule.measure is Measure.DISTINCT:
        value = _field(event, rule.field or "")
        return Part(n=1, values=frozenset({value})) if value else None
    if rule.measure in (Measure.SUM, Measure.AVERAGE):
        number = _payload_value(event, rule.field or "")
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        return Part(n=1, sum=float(number)) if is_number else None
    return Part(n=1)


def fits(matcher: Matcher | Rule, event: Event) -> bool:
    return (
        matcher.event_type in (None, event.event_type)
        and matcher.source in (None, event.source)
        and matcher.severity in (None, event.severity)
        and all(_equal(_payload_value(event, n), v) for n, v in matcher.where.items())
    )


def why_not(rule: Rule, event: Event) -> str:
    """Why the rule does not count the event; "" if it does."""
    if part_of(rule, event):
        return ""
    if event.event_type in RULE_EVENTS or not _may_count(
        rule.model_copy(update={"enabled": True}), event
    ):
        return "an alert's own event, or another tenant's"
    if not rule.enabled:
        return "the rule is disabled"
    for name in ("event_type", "source", "severity"):
        wanted = getattr(rule, name)
        if wanted not in (None, getattr(event, name)):
            return f"{name} is not {wanted}"
    for name, value in rule.where.items():
        if not _equal(_payload_value(event, name), value):
            return f"{name} is not {json.dumps(value)}"
    return f"{rule.field} is missing or no number"


def _may_count(rule: Rule, event: Event) -> bool:
    """Never an alert's own events, which would feed back; nor the failed delivery of its alerts."""
    if not rule.enabled or event.event_type in RULE_EVENTS:
        return False
    is_own_delivery = (
        event.event_type == "ops.alert.delivery.failed" and event.payload.get("rule_id") == rule.id
    )
    return not is_own_delivery and rule.tenant_id in (None, event.tenant_id)


def _equal(found: object, wanted: object) -> bool:
    # To Python True is 1.
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def read_by(rule: Rule, *, since: datetime, until: datetime | None = None) -> Filters:
    """A filter on stored events that lets everything through which the rule counts."""
    others = rule.of
    return Filters(
        event_type=rule.event_type
        if others is None or others.event_type == rule.event_type
        else None,
        source=rule.source if others is None or others.source == rule.source else None,
        severity=(
            rule.severity and str(rule.severity)
            if others is None or others.severity == rule.severity
            else None
        ),
        since=since,
        until=until,
    )


Group = dict[str, str]


def group_of(rule: Rule, event: Event) -> Group:
    """What the event has for each `group_by` field; "" where it has nothing."""
    return {name: _field(event, name) for name in rule.group_by}


def _field(event: Event, name: str) -> str:
    if name in GROUP_FIELDS:
        return str(getattr(event, name))
    value = _payload_value(event, name)
    if value is None:
        return ""
    return (value if isinstance(value, str) else json.dumps(value, sort_keys=True))[:256]


def _payload_value(event: Event, name: str) -> Any:
    value: Any = event.payload
    for part in name.removeprefix("payload.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def fingerprint(group: Group) -> str:
    return digest(*(f"{name}={value}" for name, value in sorted(group.items())))


def alert_tenant(rule: Rule, group: Group) -> TenantId:
    """Whose alert it is: the rule's tenant, else the one its group names, else the platform's."""
    named = group.get("tenant_id", "")
    is_tenant = bool(TENANT_PATTERN.fullmatch(named))
    return rule.tenant_id or (TenantId(named) if is_tenant else SYSTEM)
