"""Endpoints: where deliveries go, what each one wants to hear, and how fast it can take it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from aetherlink.events.model import Severity
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.notify.kinds import Kind, kind_of
from aetherlink.notify.outcome import LONGEST_WAIT, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aetherlink.notify.outcome import Outcome

ENDPOINT_TEST = "ops.endpoint.test"
ALERTS = ("ops.alert.raised", "ops.alert.resolved")
# An old secret goes on signing for so long after a rotation, unless another time is asked for.
OVERLAP = timedelta(hours=24)
# Given up on an endpoint that nothing reached for so long (Svix and Stripe: 5 and 3 days).
PATIENCE = timedelta(days=5)
# One failure may be that of a single message; from so many in a row on, the endpoint rests.
RESTS_FROM = 2
# Then one message tries it again; of one that is well again everybody hears that much later at most.
LONGEST_REST = timedelta(seconds=60)
_RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2, Severity.CRITICAL: 3}
# Messages a minute that the vendors take: Slack 1 a second for each webhook, Discord 30 a minute,
# Teams 4 a second, PagerDuty 120 a minute for each key (their documentation, 2026).
RATES: Mapping[Kind, int] = {
    Kind.SLACK: 60,
    Kind.DISCORD: 30,
    Kind.TEAMS: 240,
    Kind.PAGERDUTY: 120,
    Kind.GRAFANA: 600,
    Kind.GENERIC: 600,
}
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.*-]{1,128}")
_MAX_NAME = 100


class DigestDraft(Given):
    """`{"after": 10, "window_seconds": 60}`: from the eleventh in a minute on, one message for the rest."""

    after: int = Field(default=10, ge=1, le=1_000)
    window_seconds: int = Field(default=60, ge=10, le=3_600)


class EndpointDraft(Given):
    """The body of POST and PUT /notifications/endpoints."""

    name: str = Field(min_length=1, max_length=_MAX_NAME)
    kind: Kind | None = Field(default=None, description="Absent: as the URL's host says")
    url: str | None = Field(
        default=None, max_length=2_000, description="Required but for pagerduty"
    )
    routing_key: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9]{32}$", description="pagerduty: the integration's key"
    )
    token: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]{8,500}$",
        description="grafana: a service account's token that may write annotations",
    )
    event_types: list[str] = Field(default=list(ALERTS), min_length=1, max_length=50)
    min_severity: Severity | None = None
    after_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 86_400,
        description="A step of escalation: only if nobody has it then",
    )
    rate_per_minute: int | None = Field(default=None, ge=1, le=6_000)
    digest: DigestDraft | None = None
    enabled: bool = True
    tenant_id: str | None = Field(default=None, description="Whose, for who may name another")

    @field_validator("min_severity", mode="before")
    @classmethod
    def _lower(cls, given: Any) -> Any:
        return given.lower() if isinstance(given, str) else given

    @field_validator("event_types")
    @classmethod
    def _are_types(cls, given: list[str]) -> list[str]:
        for name in given:
            if not _EVENT_TYPE.fullmatch(name):
                raise ValueError(
                    f"must be event types such as lead.created or lead.*, got {name[:64]!r}"
                )
        return list(dict.fromkeys(given))

    @model_validator(mode="after")
    def _is_whole(self) -> EndpointDraft:
        kind = self.kind_meant
        if kind is Kind.PAGERDUTY:
            if not self.routing_key:
                raise ValueError("routing_key is required of kind pagerduty")
        elif not self.url:
            raise ValueError("url is required")
        elif self.routing_key:
            raise ValueError("routing_key is for kind pagerduty alone")
        if kind is Kind.GRAFANA and not self.token:
            raise ValueError("token is required of kind grafana")
        if kind is not Kind.GRAFANA and self.token:
            raise ValueError("token is for kind grafana alone")
        return self

    @property
    def kind_meant(self) -> Kind:
        if self.kind:
            return self.kind
        return kind_of(self.url) if self.url else Kind.PAGERDUTY


@dataclass(frozen=True)
class Secret:
    """`until`: when it stops signing; None for the newest."""

    value: str
    until: datetime | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True)
class Digesting:
    """More than `after` within `window` become one message."""

    after: int
    window: timedelta


@dataclass(frozen=True)
class Endpoint:
    """Where a tenant's messages go. Its URL is a secret: whoever has it can post there.

    With `after` it is a step of escalation: told so long after an alert began, and only if nobody
    has taken it in hand by then. `failing_since` is the first of the failures that no success followed,
    `failures` how many of them in a row did not even reach it; `resting_until` is until when it is left
    alone for that.
    """

    id: str
    url: str
    tenant_id: TenantId = SYSTEM
    name: str = ""
    kind: Kind = Kind.GENERIC
    routing_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    event_types: tuple[str, ...] = ALERTS
    min_severity: Severity | None = None
    after: timedelta = timedelta(0)
    rate_per_minute: int = RATES[Kind.GENERIC]
    digesting: Digesting | None = None
    enabled: bool = True
    disabled_because: str | None = None
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    failing_since: datetime | None = None
    failures: int = 0
    resting_until: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0

    def __repr__(self) -> str:
        return f"Endpoint({self.id}, {self.label})"

    @property
    def label(self) -> str:
        """What may be shown of its URL."""
        return urlsplit(self.url).hostname or "?"

    @property
    def is_configured(self) -> bool:
        """From parameter AlertWebhooks: changed there, not by the API."""
        return self.id.startswith("wh_")

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Whether it is to hear of a flat event: by its own filters, and of whose it is."""
        event_type = str(event["event_type"])
        return (
            self.enabled
            and self.tenant_id in (SYSTEM, event["tenant_id"])
            and any(fnmatchcase(event_type, pattern) for pattern in self.event_types)
            # The end of an alert is of severity info; it is wanted by who wanted the beginning.
            and (event_type == "ops.alert.resolved" or self._is_severe(str(event["severity"])))
        )

    def _is_severe(self, severity: str) -> bool:
        return self.min_severity is None or _RANKS[Severity(severity)] >= _RANKS[self.min_severity]

    def signing(self, now: datetime) -> tuple[str, ...]:
        """The secrets that sign now, the newest first."""
        return tuple(s.value for s in self.secrets if s.until is None or s.until > now)

    def shown(self) -> dict[str, Any]:
        """It without what would let anybody post there or sign."""
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "kind": str(self.kind),
            "host": self.label,
            "event_types": list(self.event_types),
            "min_severity": self.min_severity and str(self.min_severity),
            "after_seconds": int(self.after.total_seconds()),
            "rate_per_minute": self.rate_per_minute,
            "digest": self.digesting
            and {
                "after": self.digesting.after,
                "window_seconds": int(self.digesting.window.total_seconds()),
            },
            "enabled": self.enabled,
            "disabled_because": self.disabled_because,
            "failing_since": self.failing_since and to_text(self.failing_since),
            "resting_until": self.resting_until and to_text(self.resting_until),
            "managed_by": "parameter AlertWebhooks" if self.is_configured else "api",
            "created_at": self.created_at and to_text(self.created_at),
            "updated_at": self.updated_at and to_text(self.updated_at),
        }


def configured(webhooks: str) -> tuple[Endpoint, ...]:
    """The endpoints in parameter AlertWebhooks: comma-separated URLs, each once; they are `system`'s.

    `https://pager.example/x#after=900` is a step of escalation after 900 seconds; PagerDuty's URL needs
    `#routing_key=…`, both are joined by `&`. (A fragment is never sent, so it cannot be a part of the URL.)
    """
    urls = dict.fromkeys(url.strip() for url in webhooks.split(",") if url.strip())
    return tuple(_configured(url) for url in urls)


_SETTINGS = re.compile(r"((after=\d{1,6}|routing_key=[A-Za-z0-9]{32})(&|$))+")


def _configured(text: str) -> Endpoint:
    url, _, fragment = text.partition("#")
    settings = dict(parse_qsl(fragment)) if _SETTINGS.fullmatch(fragment) else {}
    kind = kind_of(url)
    return Endpoint(
        id=f"wh_{digest(text)}",
        url=url if settings else text,
        name=urlsplit(url).hostname or "",
        kind=kind,
        routing_key=settings.get("routing_key"),
        after=timedelta(seconds=int(settings.get("after", 0))),
        rate_per_minute=RATES[kind],
    )


def made(draft: EndpointDraft, endpoint_id: str, tenant: TenantId, now: datetime) -> Endpoint:
    """A new endpoint; it has no secret yet."""
    blank = Endpoint(id=endpoint_id, url="", tenant_id=tenant, created_at=now)
    return changed(blank, draft, now)


def changed(endpoint: Endpoint, draft: EndpointDraft, now: datetime) -> Endpoint:
    """As the draft says. Enabled again, it has failed at nothing yet."""
    kind = draft.kind_meant
    is_same = endpoint.enabled and draft.enabled and endpoint.url == draft.url
    return replace(
        endpoint,
        name=draft.name,
        kind=kind,
        url=draft.url or PAGERDUTY_URL,
        routing_key=draft.routing_key,
        token=draft.token,
        event_types=tuple(draft.event_types),
        min_severity=draft.min_severity,
        after=timedelta(seconds=draft.after_seconds),
        rate_per_minute=draft.rate_per_minute or RATES[kind],
        digesting=None
        if draft.digest is None
        else Digesting(draft.digest.after, timedelta(seconds=draft.digest.window_seconds)),
        enabled=draft.enabled,
        disabled_because=None,
        failing_since=endpoint.failing_since if is_same else None,
        failures=endpoint.failures if is_same else 0,
        resting_until=endpoint.resting_until if is_same else None,
        updated_at=now,
    )


def rotated(
    endpoint: Endpoint, value: str, now: datetime, overlap: timedelta = OVERLAP
) -> Endpoint:
    """With a new secret first; the one before signs on until the overlap is over, older ones stop."""
    live = [secret for secret in endpoint.secrets if secret.until is None]
    earlier = tuple(replace(secret, until=now + overlap) for secret in live[:1] if overlap)
    return replace(endpoint, secrets=(Secret(value), *earlier), updated_at=now)


def disabled(endpoint: Endpoint, because: Literal["gone", "failing"], now: datetime) -> Endpoint:
    """Switched off by us: it said 410, or nothing has reached it for PATIENCE."""
    return replace(endpoint, enabled=False, disabled_because=because, updated_at=now)


def well(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, failing_since=None, failures=0, resting_until=None)


def failed(
    endpoint: Endpoint, outcome: Outcome, schedule: Sequence[timedelta], now: datetime
) -> Endpoint:
    """After an attempt that failed. What does not answer twice in a row, or asks for it, is left alone for
    a while: else whatever waits for it would keep everybody else's messages waiting too."""
    since = endpoint.failing_since or now
    if outcome.trouble is Trouble.PERMANENT:
        # It answered: the message is at fault, or the URL, and neither says anything of the next one.
        return replace(endpoint, failing_since=since, failures=0, resting_until=None)
    failures = endpoint.failures + 1
    rest = timedelta(0)
    if failures >= RESTS_FROM and schedule:
        rest = min(schedule[min(failures - RESTS_FROM, len(schedule) - 1)], LONGEST_REST)
    rest = max(rest, min(outcome.retry_after or timedelta(0), LONGEST_WAIT))
    return replace(
        endpoint,
        failing_since=since,
        failures=failures,
        resting_until=now + rest if rest else None,
    )


def is_past_patience(endpoint: Endpoint, now: datetime) -> bool:
    return endpoint.failing_since is not None and now - endpoint.failing_since >= PATIENCE
