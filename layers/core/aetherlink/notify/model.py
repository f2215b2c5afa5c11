"""Deliveries: one message on its way to one endpoint, and when to try again. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.ids import digest, tenant_bound
from aetherlink.kernel.time import to_text
from aetherlink.notify.outcome import LONGEST_WAIT, Outcome, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.notify.endpoint import Endpoint

# A wait is longer by up to a tenth: what failed together does not come back together.
_JITTER = 0.1
# A minute is the longest that an endpoint rests (endpoint.LONGEST_REST): its last chance.
_SLACK = timedelta(seconds=90)
RAISED, RESOLVED = "raised", "resolved"


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    # Refused for good: trying again cannot help.
    FAILED = "failed"
    # Tried as often as the schedule says.
    DEAD_LETTER = "dead_letter"
    # Told within a digest.
    DIGESTED = "digested"
    # Not needed any more: somebody has the alert in hand, or it is over.
    CANCELLED = "cancelled"


GIVEN_UP = frozenset({State.FAILED, State.DEAD_LETTER})


def parse_schedule(text: str) -> tuple[timedelta, ...]:
    """`5,60,300`: the waits before the second, third and fourth attempt."""
    return tuple(timedelta(seconds=int(part)) for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class Attempt:
    """`error` says what went wrong, in words for people; both are None where all went well."""

    at: datetime
    ms: int
    status: int | None
    error: str | None
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Delivery:
    """`version` counts the changes that were stored; `leased_until` is set while one is sending.

    `tenant_id` is whose endpoint it is. `event` is the flat event that it tells of, `said` the words
    that a notification rule has for it. `since` is when this round of attempts could begin.
    """

    id: str
    tenant_id: TenantId
    endpoint_id: str
    event: dict[str, Any]
    created_at: datetime
    due_at: datetime
    transition: str = ""
    episode_id: str = ""
    state: State = State.PENDING
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0
    leased_until: datetime | None = None
    # A digest's own: the window that it closes. Of one in a digest: which.
    is_digest: bool = False
    digest_id: str | None = None
    replays: int = 0
    said: str = ""
    since: datetime | None = None
    version: int = 0

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the same for every attempt, so that a receiver can drop a repeat."""
        return f"msg_{digest(self.id)}"

    @property
    def rule_id(self) -> str:
        return str(self.event.get("payload", {}).get("rule_id", ""))

    def shown(self, *, whole: bool = False) -> dict[str, Any]:
        last = self.attempts[-1] if self.attempts else None
        brief: dict[str, Any] = {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "endpoint_id": self.endpoint_id,
            "webhook_id": self.message_id,
            "state": str(self.state),
            "event_id": self.event.get("event_id"),
            "event_type": self.event.get("event_type"),
            "event_tenant_id": self.event.get("tenant_id"),
            "severity": self.event.get("severity"),
            "episode_id": self.episode_id or None,
            "digest_id": self.digest_id,
            "is_digest": self.is_digest,
            "attempt_count": len(self.attempts),
            "last_status": last and last.status,
            "last_error": last and last.error,
            "error_class": last and last.trouble and str(last.trouble),
            "created_at": to_text(self.created_at),
            "next_attempt_at": to_text(self.due_at) if self.state is State.PENDING else None,
        }
        if not whole:
            return brief
        return {
            **brief,
            "replays": self.replays,
            "said": self.said or None,
            "event": self.event,
            "attempts": [
                {
                    "at": to_text(attempt.at),
                    "ms": attempt.ms,
                    "status": attempt.status,
                    "error": attempt.error,
                    "error_class": attempt.trouble and str(attempt.trouble),
                }
                for attempt in self.attempts
            ],
        }


def name_of(tenant: TenantId, subject: str, transition: str, endpoint_id: str) -> str:
    """A delivery's id: the same for the same subject (an alert, or an event), transition and endpoint."""
    return tenant_bound(tenant, digest(subject, transition, endpoint_id))


def draft(event: dict[str, Any], endpoint: Endpoint, now: datetime) -> Delivery:
    """The one delivery of an alert's transition, or of another event, to an endpoint; its id is the
    same each time."""
    payload = event.get("payload", {})
    prefix, _, word = str(event["event_type"]).rpartition(".")
    episode = str(payload.get("episode_id", "")) if prefix == "ops.alert" else ""
    transition = word if episode else ""
    subject = episode or f"{event['tenant_id']}/{event['event_id']}"
    waits = endpoint.after if transition == RAISED else timedelta(0)
    return Delivery(
        id=name_of(endpoint.tenant_id, subject, transition, endpoint.id),
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        event=event,
        transition=transition,
        episode_id=episode,
        created_at=now,
        due_at=now + waits,
        since=now + waits,
    )


def is_spent(delivery: Delivery, schedule: Sequence[timedelta], now: datetime) -> bool:
    """Whether its attempts would be over by now, had each been made: one that waits for an endpoint that
    rests makes fewer."""
    whole = sum(schedule, timedelta(0)) * (1 + _JITTER) + _SLACK
    return now - (delivery.since or delivery.created_at) >= whole


def settle(
    delivery: Delivery,
    outcome: Outcome,
    schedule: Sequence[timedelta],
    now: datetime,
    *,
    is_last: bool = False,
) -> Delivery:
    """The delivery after an attempt: delivered, due again, or given up (with `is_last` in any case)."""
    attempt = Attempt(now, outcome.ms, outcome.status, outcome.error, outcome.trouble)
    tried = replace(
        delivery,
        attempts=(*delivery.attempts, attempt),
        tries=delivery.tries + 1,
        leased_until=None,
    )
    if outcome.is_success:
        return replace(tried, state=State.DELIVERED)
    if outcome.is_final:
        return replace(tried, state=State.FAILED)
    if is_last or tried.tries > len(schedule):
        return replace(tried, state=State.DEAD_LETTER)
    return replace(tried, due_at=now + wait(tried, outcome, schedule))


def wait(tried: Delivery, outcome: Outcome, schedule: Sequence[timedelta]) -> timedelta:
    """As the schedule says and a little more, or as long as the receiver asks if that is longer. The
    same each time it is asked, so that whoever settles the same attempt comes to the same."""
    planned = schedule[tried.tries - 1]
    share = int(digest(tried.id, str(tried.tries), length=8), 16) / 0xFFFFFFFF
    asked = min(outcome.retry_after or timedelta(0), LONGEST_WAIT)
    return max(planned * (1 + _JITTER * share), asked)


def revive(delivery: Delivery, now: datetime) -> Delivery:
    """A delivery from the beginning; what was tried stays on record."""
    return replace(
        delivery,
        state=State.PENDING,
        tries=0,
        due_at=now,
        since=now,
        leased_until=None,
        replays=delivery.replays + 1,
    )
