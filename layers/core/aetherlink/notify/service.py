"""Getting alerts to endpoints: each transition once, tried again until it arrives or is given up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.model import Event, Severity, announce
from aetherlink.notify import slack
from aetherlink.notify.model import (
    RAISED,
    Delivery,
    Endpoint,
    Outcome,
    State,
    draft,
    name_of,
    revive,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

SOURCE = "aether-command-center"


class BusyError(Exception):
    """Somebody else is sending this delivery; the message has to come again."""


class Deliveries(Protocol):
    def get(self, delivery_id: str) -> Delivery | None: ...
    def open(self, delivery: Delivery) -> Delivery: ...
    def save(
        self, earlier: Delivery, changed: Delivery, announcing: Event | None = None
    ) -> Delivery | None: ...


class Sender(Protocol):
    """Posts a body to an endpoint. Failures are outcomes, not exceptions."""

    def __call__(self, endpoint: Endpoint, delivery: Delivery) -> Outcome: ...


class Waiting(Protocol):
    """A queue."""

    def send(self, message: str, *, delay_seconds: int = 0) -> None: ...


class Dispatcher:
    """`lease` must outlast one attempt: it is how long a dispatcher that died blocks the next try.

    `in_hand` says of an alert, by tenant and episode, whether somebody has it or it is over.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        endpoints: Sequence[Endpoint],
        send: Sender,
        *,
        queue: Waiting,
        dead_letters: Waiting,
        schedule: Sequence[timedelta],
        lease: timedelta,
        in_hand: Callable[[str, str], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._send = send
        self._queue = queue
        self._dead_letters = dead_letters
        self._schedule = schedule
        self._lease = lease
        self._in_hand = in_hand
        self._now = now

    def open(self, message: str) -> list[str]:
        """The ids of the deliveries that a queue message asks for.

        A message is either an alert, as the relay announced it (a delivery for each endpoint), or
        one delivery whose time has come. Raises ValueError or KeyError for anything else.
        """
        body = json.loads(message)
        if "delivery_id" in body:
            return [self._reopened(body)]
        alert: dict[str, Any] = body["event"]
        text, now = slack.message(alert), self._now()
        return [
            self._deliveries.open(draft(alert, endpoint, text, now)).id
            for endpoint in self._endpoints.values()
        ]

    def attempt(self, delivery_id: str) -> State | None:
        """Send it if it is due; its state afterwards. None if there is no such delivery any more."""
        delivery, now = self._deliveries.get(delivery_id), self._now()
        if delivery is None or delivery.state is not State.PENDING:
            return delivery.state if delivery else None
        if delivery.due_at > now:
            self._wait(delivery, now)
            return delivery.state
        if delivery.leased_until and delivery.leased_until > now:
            raise BusyError(delivery_id)
        if self._is_needless(delivery):
            cancelled = replace(delivery, state=State.CANCELLED)
            if self._deliveries.save(delivery, cancelled) is None:
                raise BusyError(delivery_id)
            return State.CANCELLED
        claimed = self._deliveries.save(delivery, replace(delivery, leased_until=now + self._lease))
        if claimed is None:
            raise BusyError(delivery_id)
        return self._settle(claimed, self._sent(claimed))

    def _is_needless(self, delivery: Delivery) -> bool:
        """Of a step of escalation: the alert's beginning, if it is in hand before the step was ever
        tried; its end, if the step was never told of the beginning."""
        endpoint = self._endpoints.get(delivery.endpoint_id)
        if endpoint is None or not endpoint.after or delivery.tries:
            return False
        if delivery.transition == RAISED:
            return self._in_hand(delivery.tenant_id, delivery.episode_id)
        began = self._deliveries.get(
            name_of(delivery.tenant_id, delivery.episode_id, RAISED, endpoint.id)
        )
        return began is None or not began.tries

    def _sent(self, delivery: Delivery) -> Outcome:
        endpoint = self._endpoints.get(delivery.endpoint_id)
        if endpoint is None:
            return Outcome(ms=0, error="the endpoint is no longer configured", permanent=True)
        return self._send(endpoint, delivery)

    def _settle(self, claimed: Delivery, outcome: Outcome) -> State:
        now = self._now()
        settled = settle(claimed, outcome, self._schedule, now)
        given_up = None
        if settled.state is State.DEAD_LETTER:
            # First the queue: a crash in between makes a second dead letter, not a lost one.
            self._dead_letters.send(json.dumps({"delivery_id": settled.id, "revive": True}))
            given_up = self._given_up(settled, now)
        stored = self._deliveries.save(claimed, settled, given_up)
        if stored is None:
            raise BusyError(claimed.id)
        if stored.state is State.PENDING:
            self._wait(stored, now)
        return stored.state

    def _wait(self, delivery: Delivery, now: datetime) -> None:
        # Rounded up: a message that comes early only has to wait once more.
        seconds = -int((now - delivery.due_at).total_seconds() // 1)
        self._queue.send(json.dumps({"delivery_id": delivery.id}), delay_seconds=max(seconds, 0))

    def _reopened(self, body: dict[str, Any]) -> str:
        delivery_id = str(body["delivery_id"])
        delivery = self._deliveries.get(delivery_id) if body.get("revive") else None
        if delivery and delivery.state is State.DEAD_LETTER:
            self._deliveries.save(delivery, revive(delivery, self._now()))
        return delivery_id

    def _given_up(self, delivery: Delivery, now: datetime) -> Event:
        endpoint = self._endpoints.get(delivery.endpoint_id)
        last = delivery.attempts[-1]
        return announce(
            "ops.alert.delivery.failed",
            source=SOURCE,
            tenant_id=delivery.tenant_id,
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
