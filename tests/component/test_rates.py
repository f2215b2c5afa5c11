"""Limits at the edge: who is over one gets 429, and everybody else does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform import behind, http, rates
from aetherlink.platform.dynamo import Table, client
from tests.component.conftest import Stack

NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


class Clock:
    at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(stack: Stack) -> Iterator[Clock]:
    """Limits go by this clock, and know nothing from earlier."""
    standing = Clock()
    with patch.object(rates, "utc_now", standing):
        rates._meters.cache_clear()
        rates._standings.cache_clear()
        yield standing
    rates._meters.cache_clear()
    rates._standings.cache_clear()


def give(tenant: str, **record: Any) -> None:
    Table("control-test").put({"pk": f"{tenant}#tenant", "sk": "record", **record})


def restart() -> None:
    """What another instance knows: nothing."""
    rates._meters.cache_clear()


def test_a_tenant_over_its_limit_gets_429_and_is_told_when_to_come_back(
    stack: Stack, clock: Clock
) -> None:
    give("acme", limits={"requests_per_minute": 2})
    assert [stack.publish(tenant="acme").status for _ in range(2)] == [200, 200]

    refused = stack.publish(tenant="acme")

    assert refused.status == 429
    assert refused.headers["Retry-After"] == "31"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.body["title"] == "Too many requests"
    assert refused.body["retry"] == 31_000
    assert refused.body["detail"] == (
        "Tenant 'acme' may make 2 requests a minute; try again in 31 s"
    )


def test_another_tenant_does_not_notice(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 1})
    stack.publish(tenant="acme")

    assert stack.publish(tenant="acme").status == 429
    assert [stack.publish(tenant="globex").status for _ in range(5)] == [200] * 5


def test_open_routes_have_no_limit(stack: Stack, clock: Clock) -> None:
    give("system", limits={"requests_per_minute": 1})

    assert [stack.call("GET", "/ping", roles=None).status for _ in range(5)] == [200] * 5


def test_refusals_are_counted_and_stand_in_the_statistics(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 1})
    for _ in range(4):
        stack.publish(tenant="acme")

    found = stack.call("GET", "/audit/stats", query={"tenant_id": "acme"}).body

    assert (found["refused_429"], found["by_status"]) == (3, {"200": 1, "429": 3})


def test_instances_share_what_they_admitted(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 4})
    for _ in range(3):
        stack.publish(tenant="acme")
    behind.run()
    restart()

    assert stack.publish(tenant="acme").status == 200
    behind.run()

    assert stack.publish(tenant="acme").status == 429


def test_a_new_instance_learns_what_the_minute_before_came_to(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 10})
    for _ in range(10):
        stack.publish(tenant="acme")
    behind.run()
    restart()
    clock.at = NOON + timedelta(seconds=36)

    assert stack.publish(tenant="acme").status == 200
    behind.run()

    assert stack.publish(tenant="acme").status == 429


def test_what_is_shared_goes_by_itself(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 10})
    stack.publish(tenant="acme")
    behind.run()

    minute = int(NOON.timestamp()) // 60
    item = Table("control-test").get("acme#rates", f"tenant#{minute}")
    assert item is not None
    assert (item["n"], item["expires_at"]) == (1, (minute + 10) * 60)


def test_a_new_limit_is_in_force_after_thirty_seconds(stack: Stack, clock: Clock) -> None:
    stack.publish(tenant="acme")
    give("acme", limits={"requests_per_minute": 1})
    assert stack.publish(tenant="acme").status == 200

    clock.at = NOON + timedelta(seconds=60)

    assert [stack.publish(tenant="acme").status for _ in range(2)] == [200, 429]


def test_a_key_over_its_own_limit_is_named(stack: Stack, clock: Clock) -> None:
    key = Caller(
        "key:k1", frozenset({Role.AGENT}), TenantId("acme"), key_id="k1", requests_per_minute=1
    )
    with patch.object(http, "_identify", lambda *_, **__: key):
        stack.publish()
        refused = stack.publish()

    assert refused.status == 429
    assert refused.body["detail"].startswith("Key 'k1' may make 1 requests a minute")


def test_a_tenant_being_removed_is_refused_on_every_route(stack: Stack, clock: Clock) -> None:
    give("acme", state="offboarding")

    answers = [
        stack.publish(tenant="acme"),
        stack.call("GET", "/events/recent", roles="viewer,agent", tenant="acme"),
        stack.call("POST", "/alerts/evaluate", tenant="acme"),
    ]

    assert [answer.status for answer in answers] == [403, 403, 403]
    assert answers[0].body["detail"] == "Tenant 'acme' is being removed"


def test_a_tenant_that_was_removed_is_told_so(stack: Stack, clock: Clock) -> None:
    give("acme", state="removed")

    assert stack.publish(tenant="acme").body["detail"] == "Tenant 'acme' has been removed"


def test_who_sees_all_tenants_can_still_read_one_that_is_being_removed(
    stack: Stack, clock: Clock
) -> None:
    give("acme", state="offboarding")

    assert stack.call("GET", "/events/recent", tenant="acme").status == 200
    assert stack.call("GET", "/jobs/acme.1", tenant="acme").status == 404


def test_limits_cost_a_warm_publish_no_call(stack: Stack, clock: Clock) -> None:
    give("acme", limits={"requests_per_minute": 1_000})
    stack.publish(tenant="acme")
    calls: list[str] = []
    client().meta.events.register(
        "before-send.dynamodb", lambda request, **_: calls.append(request.headers["X-Amz-Target"])
    )

    stack.publish(tenant="acme")

    assert [str(call) for call in calls] == [str(b"DynamoDB_20120810.PutItem")]


def test_a_table_that_cannot_be_read_keeps_nobody_out(stack: Stack, clock: Clock) -> None:
    boto3.client("dynamodb").delete_table(TableName="control-test")
    caller = Caller("ada", frozenset({Role.AGENT}), TenantId("acme"))

    rates.admit(caller, "POST", "/events/publish")
    behind.run()
