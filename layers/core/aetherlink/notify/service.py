"""Getting messages to endpoints: each one once, tried again until it arrives or is given up."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.notify.endpoint import (
    ENDPOINT_TEST,
    RESTS_FROM,
    disabled,
    failed,
    is_past_patience,
    well,
)
from aetherlink.notify.flood import digest_of, opening, summary
from aetherlink.notify.model import (
    GIVEN_UP,
    RAISED,
    RESOLVED,
    Delivery,
    State,
    draft,
    is_spent,
    name_of,
    revive,
    settle,
)
from aetherlink.notify.notice import Notice
from aetherlink.notify.outcome import Outcome
from aetherlink.notify.platform_alarm import PLATFORM_ALARM, event_of, is_alarm
from aetherlink.notify.rules import PREFIX
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aetherlink.notify.endpoint import Endpoint
    from aetherlink.notify.notice import Link
    from aetherlink.notify.rules import Rule, RuleSet

SOURCE = "aether-command-center"
DELIVERY_FAILED = "ops.alert.delivery.failed"
_MINUTE = timedelta(minutes=1)
# An attempt is surely over so long after it had to be.
GRACE = timedelta(seconds=25)
# How long an alert's end waits, each time, for its beginning to arrive.
_ORDER = timedelta(seconds=1)


class TakenError(Exception):
    """Somebody else has this delivery in hand, by a message of their own: it comes again if they die."""


class UnsettledError(Exception):
    """What was sent could not be noted; the message has to come again."""


class Deliveries(Protocol):
    def get(self, delivery_id: str) -> Delivery | None: ...
    def open(self, delivery: Delivery) -> tuple[Delivery, bool]: ...
    def save(
        self, earlier: Delivery, changed: Delivery, announcing: Event | None = None
    ) -> Delivery | None: ...
    def into(self, told: Delivery, digest: Delivery) -> bool: ...
    def digested(self, digest: Delivery) -> Iterator[dict[str, Any]]: ...
    def passed(self, endpoint: Endpoint, since: datetime, name: str = "") -> int: ...


class Endpoints(Protocol):
    def get(self, endpoint_id: str) -> Endpoint | None: ...
    def for_tenant(self, tenant: TenantId) -> list[Endpoint]: ...
    def save(
        self, earlier: Endpoint, changed: Endpoint, announcing: Event | None = None
    ) -> bool: ...
    def fares(self, seen: Endpoint, now: Endpoint) -> bool: ...


class Sender(Protocol):
    """Posts a message to an endpoint. Failures are outcomes, not exceptions."""

    def __call__(self, endpoint: Endpoint, notice: Notice) -> Outcome: ...


class Waiting(Protocol):
    """A queue."""

    def send(self, message: str, *, delay_seconds: int = 0) -> None: ...


@dataclass(frozen=True)
class _Told:
    said: str = ""
    by: Rule | None = None


class Dispatcher:
    """`timeout` is how long one attempt may take. A dispatcher that died blocks the next try for as long,
    and for GRACE.

    `in_hand` says of an alert, by tenant and episode, whether somebody has it or it is over. `links`
    are what a message about an alert offers: to take it in hand, to silence it. `rules` are a tenant's
    notification rules.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        endpoints: Endpoints,
        send: Sender,
        *,
        queue: Waiting,
        dead_letters: Waiting,
        schedule: Sequence[timedelta],
        timeout: timedelta,
        in_hand: Callable[[str, str], bool],
        links: Callable[[Delivery], tuple[Link, ...]],
        rules: Callable[[TenantId], RuleSet],
        now: Callable[[], datetime],
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._send = send
        self._queue = queue
        self._dead_letters = dead_letters
        self._schedule = schedule
        self._timeout = timeout
        self._lease = timeout + GRACE
        self._in_hand = in_hand
        self._links = links
        self._rules = rules
        self._now = now

    def open(self, message: str) -> list[str]:
        """The ids of the deliveries that a queue message asks for.

        A message is either an event, as the relay announced it or CloudWatch (a delivery for each
        endpoint that wants it), or one delivery whose time has come. Raises ValueError or KeyError for
        anything else.
        """
        body = json.loads(message)
        if "delivery_id" in body:
            return [self._reopened(body)]
        event: dict[str, Any] = event_of(body) if is_alarm(body) else body["event"]
        tenant = TenantId(str(event["tenant_id"]))
        told = self._told(event, tenant)
        if told is None:
            return []
        return [
            self._opened(event, endpoint, told.said)
            for endpoint in self._endpoints.for_tenant(tenant)
            if self._is_meant(event, endpoint, told.by)
        ]

    def _is_meant(self, event: dict[str, Any], endpoint: Endpoint, by: Rule | None) -> bool:
        if event["event_type"] == PLATFORM_ALARM:
            # Whoever hears of every tenant's alerts has the platform in hand.
            return endpoint.enabled and endpoint.tenant_id == SYSTEM and not endpoint.after
        if by:
            return endpoint.enabled and by.reaches(endpoint)
        return self._is_wanted(event, endpoint)

    def _told(self, event: dict[str, Any], tenant: TenantId) -> _Told | None:
        """In what words an event is told, and whether a rule has a place for it; None if it is not."""
        if not str(event["event_type"]).startswith(PREFIX):
            return _Told()
        rules = self._rules(tenant)
        message, rule = rules.message(event), rules.rule_for(event)
        if message is None:
            logger.info("not told, as a notification rule says", event_type=event["event_type"])
            return None
        return _Told(message, rule if rule and rule.channel else None)

    def _is_wanted(self, event: dict[str, Any], endpoint: Endpoint) -> bool:
        """Who was told of an alert's beginning is told of its end, whatever was changed meanwhile."""
        if event["event_type"] != "ops.alert.resolved":
            return endpoint.wants(event)
        episode = str(event["payload"].get("episode_id", ""))
        began = self._deliveries.get(name_of(endpoint.tenant_id, episode, RAISED, endpoint.id))
        return began is not None if endpoint.min_severity else bool(began or endpoint.wants(event))

    def _opened(self, event: dict[str, Any], endpoint: Endpoint, said: str = "") -> str:
        drafted = replace(draft(event, endpoint, self._now()), said=said)
        delivery, is_new = self._deliveries.open(drafted)
        began = self._beginning(delivery)
        # An incident that was opened by a message of its own is closed by one: a digest closes nothing.
        is_own = began is not None and began.digest_id is None
        if is_new and endpoint.digesting and not endpoint.after and not is_own:
            self._into_digest(delivery, endpoint)
        return delivery.id

    def _into_digest(self, delivery: Delivery, endpoint: Endpoint) -> None:
        """From so many in a window on, they are told together at its end."""
        digesting, now = endpoint.digesting, self._now()
        if digesting is None:
            return
        since = opening(now, digesting.window)
        if self._deliveries.passed(endpoint, since, "digest") <= digesting.after:
            return
        digest = digest_of(endpoint, since, now)
        if self._deliveries.get(digest.id) is None:
            # First its message, then it: a message for what is not there does no harm, while a
            # digest that no message comes for would keep what it was to tell.
            self._wait(digest, now)
            self._deliveries.open(digest)
        if not self._deliveries.into(delivery, digest):
            logger.info("told apart: its digest has gone", delivery_id=delivery.id)

    def put_off(self, delivery_id: str) -> None:
        """Have it attempted by a message of its own."""
        self._queue.send(json.dumps({"delivery_id": delivery_id}))

    def attempt(self, delivery_id: str) -> State | None:
        """Send it if it is due; its state afterwards. None if there is no such delivery any more."""
        try:
            return self._attempted(delivery_id)
        except TakenError:
            # Not a failure: its message would come again when SQS shows it anew, to find it done.
            logger.info("somebody else has it in hand", delivery_id=delivery_id)
            return State.PENDING

    def _attempted(self, delivery_id: str) -> State | None:
        delivery, now = self._deliveries.get(delivery_id), self._now()
        if delivery is None or delivery.state is not State.PENDING:
            return delivery.state if delivery else None
        if delivery.due_at > now:
            self._wait(delivery, now)
            return delivery.state
        if delivery.leased_until and delivery.leased_until > now:
            raise TakenError(delivery_id)
        endpoint = self._endpoints.get(delivery.endpoint_id)
        began = self._beginning(delivery)
        if endpoint and self._is_needless(delivery, endpoint, began):
            return self._stored(delivery, replace(delivery, state=State.CANCELLED)).state
        later = self._not_before(endpoint, began, now)
        if later:
            return self._put_off(delivery, endpoint, later, now)
        return self._try(delivery, endpoint, now)

    def _put_off(
        self, delivery: Delivery, endpoint: Endpoint | None, later: datetime, now: datetime
    ) -> State:
        is_waiting = endpoint is not None and _rests(endpoint, now)
        if not (endpoint and is_waiting and is_spent(delivery, self._schedule, now)):
            return self._postponed(delivery, later, now)
        since = to_text(endpoint.failing_since or now)
        never = Outcome(ms=0, error=f"its endpoint has not answered since {since}")
        claimed = self._stored(delivery, replace(delivery, leased_until=now + self._lease))
        return self._settle(claimed, endpoint, never, is_last=True)

    def _try(self, delivery: Delivery, endpoint: Endpoint | None, now: datetime) -> State:
        if endpoint and endpoint.enabled and endpoint.failures >= RESTS_FROM:
            # One message finds out whether it is well again. The others wait for what that says.
            tried = replace(endpoint, resting_until=now + self._timeout + _ORDER)
            if not self._endpoints.fares(endpoint, tried):
                return self._postponed(delivery, now + _ORDER, now)
            endpoint = tried
        claimed = self._stored(delivery, replace(delivery, leased_until=now + self._lease))
        return self._settle(claimed, endpoint, self._sent(claimed, endpoint))

    def _stored(self, delivery: Delivery, changed: Delivery) -> Delivery:
        stored = self._deliveries.save(delivery, changed)
        if stored is None:
            raise TakenError(delivery.id)
        return stored

    def _beginning(self, delivery: Delivery) -> Delivery | None:
        """Of an alert's end, the delivery of its beginning."""
        if delivery.transition != RESOLVED:
            return None
        name = name_of(delivery.tenant_id, delivery.episode_id, RAISED, delivery.endpoint_id)
        return self._deliveries.get(name)

    def _is_needless(self, delivery: Delivery, endpoint: Endpoint, began: Delivery | None) -> bool:
        """Of a step of escalation: the alert's beginning, if it is in hand before the step was ever
        tried; its end, if the step was never told of the beginning."""
        if not endpoint.after or delivery.tries:
            return False
        if delivery.transition == RAISED:
            return self._in_hand(delivery.event["tenant_id"], delivery.episode_id)
        if delivery.transition == RESOLVED:
            return began is None or not began.tries
        return False

    def _not_before(
        self, endpoint: Endpoint | None, began: Delivery | None, now: datetime
    ) -> datetime | None:
        """When it may be sent, if that is later: an end after its beginning, none while its endpoint
        rests, and each at its pace."""
        if began and began.state is State.PENDING:
            return max(began.due_at, now) + _ORDER
        if endpoint is None or not endpoint.enabled:
            return None
        if endpoint.resting_until and _rests(endpoint, now):
            return endpoint.resting_until
        minute = opening(now, _MINUTE)
        passed = self._deliveries.passed(endpoint, minute, "rate")
        full = (passed - 1) // endpoint.rate_per_minute
        return minute + full * _MINUTE if full else None

    def _postponed(self, delivery: Delivery, until: datetime, now: datetime) -> State:
        put_off = self._stored(delivery, replace(delivery, due_at=until))
        self._wait(put_off, now)
        return put_off.state

    def _sent(self, delivery: Delivery, endpoint: Endpoint | None) -> Outcome:
        if endpoint is None:
            return Outcome(ms=0, error="the endpoint is no longer configured", permanent=True)
        if not endpoint.enabled:
            why = endpoint.disabled_because or "by hand"
            return Outcome(ms=0, error=f"the endpoint is disabled ({why})", permanent=True)
        digest = summary(self._deliveries.digested(delivery)) if delivery.is_digest else None
        notice = Notice(
            event=delivery.event,
            message_id=delivery.message_id,
            links=self._links(delivery),
            digest=digest,
            said=delivery.said,
        )
        return self._send(endpoint, notice)

    def _settle(
        self,
        claimed: Delivery,
        endpoint: Endpoint | None,
        outcome: Outcome,
        *,
        is_last: bool = False,
    ) -> State:
        now = self._now()
        settled = settle(claimed, outcome, self._schedule, now, is_last=is_last)
        given_up = None
        # Whoever sends a test looks at what came of it.
        if settled.state in GIVEN_UP and settled.event["event_type"] != ENDPOINT_TEST:
            # First the queue: a crash in between makes a second dead letter, not a lost one.
            self._dead_letters.send(json.dumps({"delivery_id": settled.id, "revive": True}))
            if settled.event["event_type"] != DELIVERY_FAILED:
                # Of that, another would follow, and another: two endpoints that both fail and both
                # listen would keep each other busy for ever.
                given_up = self._given_up(settled, endpoint, now)
        stored = self._deliveries.save(claimed, settled, given_up)
        if stored is None:
            raise UnsettledError(claimed.id)
        if stored.state is State.PENDING:
            self._wait(stored, now)
        if endpoint and endpoint.enabled and not is_last:
            self._judge(endpoint, outcome, now)
        return stored.state

    def _judge(self, endpoint: Endpoint, outcome: Outcome, now: datetime) -> None:
        """How the endpoint fares: gone, failing since, or well again."""
        if outcome.is_success:
            if endpoint.failing_since:
                self._endpoints.fares(endpoint, well(endpoint))
        elif outcome.is_gone or is_past_patience(endpoint, now):
            off = disabled(endpoint, "gone" if outcome.is_gone else "failing", now)
            self._endpoints.save(endpoint, off, self._switched_off(off, now))
        else:
            # Of many that fail at the same time, one counts.
            self._endpoints.fares(endpoint, failed(endpoint, outcome, self._schedule, now))

    def _wait(self, delivery: Delivery, now: datetime) -> None:
        # Rounded up: a message that comes early only has to wait once more.
        seconds = -int((now - delivery.due_at).total_seconds() // 1)
        self._queue.send(json.dumps({"delivery_id": delivery.id}), delay_seconds=max(seconds, 0))

    def _reopened(self, body: dict[str, Any]) -> str:
        delivery_id = str(body["delivery_id"])
        delivery = self._deliveries.get(delivery_id) if body.get("revive") else None
        if delivery and delivery.state in GIVEN_UP:
            self._deliveries.save(delivery, revive(delivery, self._now()))
        return delivery_id

    def _given_up(self, delivery: Delivery, endpoint: Endpoint | None, now: datetime) -> Event:
        last = delivery.attempts[-1]
        return announce(
            DELIVERY_FAILED,
            source=SOURCE,
            # Whose alert it was has to know, whosever endpoint it is.
            tenant_id=TenantId(str(delivery.event["tenant_id"])),
            payload={
                "delivery_id": delivery.id,
                "endpoint": endpoint.label if endpoint else delivery.endpoint_id,
                "attempts": delivery.tries,
                "rule_id": delivery.rule_id,
                "episode_id": delivery.episode_id,
                "transition": delivery.transition,
                "last_status": last.status,
                "last_error": last.error,
            },
            now=now,
            event_id=f"{delivery.message_id}.{delivery.version}",
            severity=Severity.ERROR,
        )

    def _switched_off(self, endpoint: Endpoint, now: datetime) -> Event:
        return announce(
            "ops.endpoint.disabled",
            source=SOURCE,
            tenant_id=endpoint.tenant_id,
            payload={
                "endpoint_id": endpoint.id,
                "endpoint": endpoint.label,
                "name": endpoint.name,
                "because": endpoint.disabled_because,
            },
            now=now,
            event_id=f"{endpoint.id}.disabled.{endpoint.version}",
            severity=Severity.ERROR,
        )


def _rests(endpoint: Endpoint, now: datetime) -> bool:
    return endpoint.resting_until is not None and endpoint.resting_until > now
