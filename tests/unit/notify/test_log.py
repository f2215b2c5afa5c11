"""The log's replay beside a dispatcher that is at the same delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.errors import ConflictError
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.notify.endpoint import Endpoint
from aetherlink.notify.log import Log
from aetherlink.notify.model import Delivery, State, draft
from tests.unit.notify.test_delivery import NOON, an_alert

CALLER = Caller("on-call", frozenset({Role.OPERATOR}), SYSTEM)


def a_delivery() -> Delivery:
    return draft(an_alert(), Endpoint("wh", "https://x.example/"), NOON)


class Beside:
    """One delivery, and what somebody else makes of it just before each save."""

    def __init__(self, delivery: Delivery, *others: Callable[[Delivery], Delivery]) -> None:
        self.delivery = delivery
        self.others = list(others)
        self.sent: list[str] = []

    def get(self, delivery_id: str) -> Delivery | None:
        return self.delivery if delivery_id == self.delivery.id else None

    def save(self, earlier: Delivery, changed: Delivery) -> Delivery | None:
        if self.others:
            other = self.others.pop(0)(self.delivery)
            self.delivery = replace(other, version=self.delivery.version + 1)
        if earlier.version != self.delivery.version:
            return None
        self.delivery = replace(changed, version=earlier.version + 1)
        return self.delivery

    def page(self, tenant: TenantId, *, before: str, limit: int) -> tuple[list[Delivery], None]:
        raise NotImplementedError

    def numbers(
        self, tenant: TenantId, since: str, until: str
    ) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        raise NotImplementedError

    def replay(self) -> dict[str, Any]:
        log = Log(self, self.sent.append, lambda _: None, lambda: NOON)
        return log.replay(CALLER, self.delivery.id)


def failed(delivery: Delivery) -> Delivery:
    return replace(delivery, state=State.FAILED, leased_until=None)


def leased(delivery: Delivery) -> Delivery:
    return replace(delivery, leased_until=NOON + timedelta(seconds=30))


def test_a_replay_that_meets_the_end_of_an_attempt_replays_what_came_of_it() -> None:
    kept = Beside(a_delivery(), failed)
    assert (kept.replay()["state"], kept.delivery.replays, kept.sent) == (
        "pending", 1, [kept.delivery.id],
    )  # fmt: skip


@pytest.mark.parametrize("is_seen_first", [True, False])
def test_what_is_being_sent_is_not_sent_twice(is_seen_first: bool) -> None:
    kept = Beside(leased(a_delivery())) if is_seen_first else Beside(a_delivery(), leased)
    assert (kept.replay()["state"], kept.delivery.replays, kept.sent) == ("pending", 0, [])


def test_a_lease_that_ended_holds_nothing_up() -> None:
    kept = Beside(replace(a_delivery(), leased_until=datetime(2026, 11, 23, 11, tzinfo=UTC)))
    assert (kept.replay()["state"], kept.delivery.replays, len(kept.sent)) == ("pending", 1, 1)


def test_one_that_changes_each_time_is_a_conflict() -> None:
    kept = Beside(a_delivery(), failed, failed, failed, failed)
    with pytest.raises(ConflictError, match="read it again"):
        kept.replay()
