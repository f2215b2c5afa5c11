"""Deliveries: one alert's transition on its way to one endpoint, and when to try again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aetherlink.kernel.ids import digest, tenant_bound
from aetherlink.kernel.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

# Refusals that say "not now" rather than "never" (RFC 9110 §15.5.9, RFC 8470, RFC 6585).
TRANSIENT_STATUSES = frozenset({408, 425, 429})


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD_LETTER = "dead_letter"
    # Not needed any more: somebody has the alert in hand, or it is over.
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Endpoint:
    """Where alerts go. Its URL is a secret: whoever has it can post there.

    With `after` it is a step of escalation: told so long after an alert began, and only if nobody
    has taken it in hand by then.
    """

    id: str
    url: str
    after: timedelta = timedelta(0)

    def __repr__(self) -> str:
        return f"Endpoint({self.id}, {self.label})"

    @property
    def label(self) -> str:
        """What may be shown of it."""
        return urlsplit(self.url).hostname or "?"


def configured(webhooks: str) -> tuple[Endpoint, ...]:
    """The endpoints in parameter AlertWebhooks: comma-separated URLs, each once.

    `https://pager.example/x#after=900` is a step of escalation after 900 seconds. (A fragment is never
    sent, so it cannot be a part of the URL.)
    """
    urls = dict.fromkeys(url.strip() for url in webhooks.split(",") if url.strip())
    return tuple(_endpoint(url) for url in urls)


def _endpoint(text: str) -> Endpoint:
    step = re.fullmatch(r"([^#]+)#after=(\d{1,6})", text)
    url, after = (step[1], timedelta(seconds=int(step[2]))) if step else (text, timedelta(0))
    return Endpoint(id=f"wh_{digest(text)}", url=url, after=after)


def parse_schedule(text: str) -> tuple[timedelta, ...]:
    """`5,60,300`: the waits before the second, third and fourth attempt."""
    return tuple(timedelta(seconds=int(part)) for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class Attempt:
    at: datetime
    ms: int
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """`version` counts the changes that were stored; `leased_until` is set while one is sending."""

    id: str
    tenant_id: TenantId
    endpoint_id: str
    body: str
    rule_id: str
    episode_id: str
    transition: str
    created_at: datetime
    due_at: datetime
    state: State = State.PENDING
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0
    leased_until: datetime | None = None
    version: int = 0

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the same for every attempt, so that a receiver can drop a repeat."""
        return f"msg_{digest(self.id)}"


RAISED = "raised"


def name_of(tenant: TenantId, episode_id: str, transition: str, endpoint_id: str) -> str:
    """A delivery's id: the same for the same alert's transition and endpoint."""
    return tenant_bound(tenant, digest(episode_id, transition, endpoint_id))


def draft(alert: dict[str, Any], endpoint: Endpoint, body: str, now: datetime) -> Delivery:
    """The one delivery of an alert's transition to an endpoint; its id is the same each time."""
    payload = alert["payload"]
    transition = str(alert["event_type"]).rpartition(".")[2]
    tenant = TenantId(alert["tenant_id"])
    episode = str(payload["episode_id"])
    waits = endpoint.after if transition == RAISED else timedelta(0)
    return Delivery(
        id=name_of(tenant, episode, transition, endpoint.id),
        tenant_id=tenant,
        endpoint_id=endpoint.id,
        body=body,
        rule_id=str(payload.get("rule_id", "")),
        episode_id=episode,
        transition=transition,
        created_at=now,
        due_at=now + waits,
    )


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to."""

    ms: int
    status: int | None = None
    error: str | None = None
    permanent: bool = False

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx

    @property
    def is_final(self) -> bool:
        """Trying again cannot help: refused for good, by us or by the receiver."""
        is_client_error = self.status is not None and 400 <= self.status < 500  # noqa: PLR2004
        return self.permanent or (is_client_error and self.status not in TRANSIENT_STATUSES)


def settle(
    delivery: Delivery, outcome: Outcome, schedule: Sequence[timedelta], now: datetime
) -> Delivery:
    """The delivery after an attempt: delivered, due again, or given up."""
    tried = replace(
        delivery,
        attempts=(*delivery.attempts, Attempt(now, outcome.ms, outcome.status, outcome.error)),
        tries=delivery.tries + 1,
        leased_until=None,
    )
    if outcome.is_success:
        return replace(tried, state=State.DELIVERED)
    if outcome.is_final or tried.tries > len(schedule):
        return replace(tried, state=State.DEAD_LETTER)
    return replace(tried, due_at=now + schedule[tried.tries - 1])


def revive(delivery: Delivery, now: datetime) -> Delivery:
    """A delivery that was given up, from the beginning; what was tried stays on record."""
    return replace(delivery, state=State.PENDING, tries=0, due_at=now, leased_until=None)
