"""What a request of one tenant may send to DynamoDB, and what may come back."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from aetherlink.kernel.errors import TenantBreachError
from aetherlink.kernel.reach import reach_of
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform import boundary

ACME = frozenset({"acme"})
NOBODY = frozenset[str]()


def key(pk: str, sk: str = "x") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def send(operation: str, tenants: frozenset[str] | None = ACME, **params: Any) -> dict[str, Any]:
    """A call's context after it was looked at."""
    context: dict[str, Any] = {}
    with boundary.within(tenants):
        boundary.check_request(params, SimpleNamespace(name=operation), context)
    return context


def query(attribute: str, value: str, table: str = "events-test", **more: Any) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": f"{attribute} = :key AND #at BETWEEN :floor AND :ceiling",
        "ExpressionAttributeNames": {"#timeline": "timeline", "#at": "at"},
        "ExpressionAttributeValues": {":key": {"S": value}},
        **more,
    }


OWN: list[tuple[str, dict[str, Any]]] = [
    ("GetItem", {"TableName": "control-test", "Key": key("acme#rules")}),
    ("PutItem", {"TableName": "events-test", "Item": key("acme#1")}),
    ("UpdateItem", {"TableName": "control-test", "Key": key("acme#jobs")}),
    ("DeleteItem", {"TableName": "audit-test", "Key": key("acme#2026-11-23")}),
    ("Query", query("pk", "acme#services", "control-test")),
    ("Query", query("#timeline", "acme#0", IndexName="timeline")),
    ("BatchGetItem", {"RequestItems": {"events-test": {"Keys": [key("acme#1"), key("acme#2")]}}}),
    (
        "BatchWriteItem",
        {"RequestItems": {"projections-test": [{"PutRequest": {"Item": key("acme#hits#1")}}]}},
    ),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"TableName": "control-test", "Item": key("acme#services")}},
                {"Delete": {"TableName": "control-test", "Key": key("acme#services", "y")}},
            ]
        },
    ),
]


@pytest.mark.parametrize(("operation", "params"), OWN)
def test_a_request_may_touch_what_is_its_tenants(operation: str, params: dict[str, Any]) -> None:
    send(operation, **params)


@pytest.mark.parametrize(("operation", "params"), OWN)
@pytest.mark.parametrize("tenants", [frozenset({"globex"}), frozenset({"acm"}), NOBODY])
def test_the_same_is_stopped_for_any_other_tenant_and_for_nobody(
    operation: str, params: dict[str, Any], tenants: frozenset[str]
) -> None:
    with pytest.raises(TenantBreachError):
        send(operation, tenants, **params)


@pytest.mark.parametrize(("operation", "params"), OWN)
def test_who_acts_for_no_request_or_for_every_tenant_is_not_bound(
    operation: str, params: dict[str, Any]
) -> None:
    send(operation, None, **params)


def test_one_foreign_member_stops_a_whole_transaction_and_batch() -> None:
    for operation, params in (
        (
            "TransactWriteItems",
            {
                "TransactItems": [
                    {"Put": {"TableName": "events-test", "Item": key("acme#1")}},
                    {"Update": {"TableName": "events-test", "Key": key("globex#1")}},
                ]
            },
        ),
        ("BatchGetItem", {"RequestItems": {"events-test": {"Keys": [key("a#1"), key("acme#1")]}}}),
        (
            "BatchWriteItem",
            {"RequestItems": {"events-test": [{"DeleteRequest": {"Key": key("globex#1")}}]}},
        ),
    ):
        with pytest.raises(TenantBreachError):
            send(operation, **params)


@pytest.mark.parametrize("operation", ["Scan", "TransactGetItems", "ExecuteStatement"])
def test_an_operation_that_nobody_thought_about_is_stopped(operation: str) -> None:
    with pytest.raises(TenantBreachError):
        send(operation, TableName="events-test")


@pytest.mark.parametrize(
    ("table", "partition"),
    [
        ("control-test", "globex#rules"),
        # Keys of every tenant, the platform's watches, jobs and audit.
        ("control-test", "system#keys"),
        ("control-test", "system#watches"),
        ("control-test", "system#audit"),
        ("control-test", "system#tickets"),
        ("audit-test", "system#2026-11-23"),
        ("control-test", "*#requests"),
        ("control-test", "*#archive-since"),
        ("projections-test", "*#timeline#0"),
        ("projections-test", "*#counts#30"),
        ("projections-test", "*#arrivals"),
        ("projections-test", "system#hits#1"),
        # What is shared in one table is not in another.
        ("projections-test", "system#retention"),
        ("elsewhere", "system#types"),
        ("control-test", ""),
    ],
)
def test_what_is_neither_its_own_nor_shared_cannot_be_read(table: str, partition: str) -> None:
    with pytest.raises(TenantBreachError):
        send("Query", **query("pk", partition, table))
    with pytest.raises(TenantBreachError):
        send("GetItem", TableName=table, Key=key(partition))


@pytest.mark.parametrize(
    ("table", "partition"),
    [
        ("events-test", "system#evt-1"),
        ("projections-test", "system#counts"),
        ("control-test", "system#types"),
        ("control-test", "system#rules"),
        ("control-test", "system#requests"),
        ("control-test", "*#archive-due"),
    ],
)
def test_what_every_tenant_sees_can_be_read_and_not_written(table: str, partition: str) -> None:
    send("Query", **query("pk", partition, table))
    for operation, params in (
        ("PutItem", {"Item": key(partition)}),
        ("DeleteItem", {"Key": key(partition)}),
        ("UpdateItem", {"Key": key(partition)}),
    ):
        with pytest.raises(TenantBreachError):
            send(operation, ACME, TableName=table, **params)


def test_of_all_tenants_arrivals_only_the_times_can_be_read() -> None:
    asked = query("pk", "*#arrivals", "projections-test")

    send("Query", **asked, ProjectionExpression="written_at, received_at")
    with pytest.raises(TenantBreachError):
        send("Query", **asked, ProjectionExpression="written_at, refs")


def test_of_the_retention_policies_only_its_own_can_be_written() -> None:
    for own in ("acme", "acme#restored"):
        send("PutItem", TableName="control-test", Item=key("system#retention", own))
    for other in ("globex", "globex#restored", "acme2"):
        with pytest.raises(TenantBreachError):
            send("PutItem", TableName="control-test", Item=key("system#retention", other))
        with pytest.raises(TenantBreachError):
            send("DeleteItem", TableName="control-test", Key=key("system#retention", other))


def credential(*tenants: str) -> dict[str, Any]:
    kept = {"tenants": {"L": [{"S": tenant} for tenant in tenants]}} if tenants else {}
    return {**key("system#credential#ab12", "credential"), "kind": {"S": "key"}, **kept}


def test_a_credential_can_be_made_for_its_own_tenant_alone() -> None:
    send("PutItem", TableName="control-test", Item=credential("acme"))
    for tenants in (("globex",), ("acme", "globex"), ()):
        with pytest.raises(TenantBreachError):
            send("PutItem", TableName="control-test", Item=credential(*tenants))


def answer(operation: str, context: dict[str, Any], **parsed: Any) -> None:
    boundary.check_answer(parsed, SimpleNamespace(name=operation), context)


def test_a_credential_of_another_tenant_does_not_come_back() -> None:
    wanted = {"TableName": "control-test", "Key": key("system#credential#ab12")}
    context = send("GetItem", ACME, **wanted)

    answer("GetItem", context)
    answer("GetItem", context, Item=credential("acme", "globex"))
    for tenants in (("globex",), ()):
        with pytest.raises(TenantBreachError):
            answer("GetItem", context, Item=credential(*tenants))
    context = send("BatchGetItem", RequestItems={"control-test": {"Keys": [wanted["Key"]]}})
    with pytest.raises(TenantBreachError):
        answer("BatchGetItem", context, Responses={"control-test": [credential("globex")]})


def test_of_those_who_have_data_it_sees_whether_it_is_one_of_them() -> None:
    send("GetItem", TableName="projections-test", Key=key("*#tenants", "acme"))
    with pytest.raises(TenantBreachError):
        send("GetItem", TableName="projections-test", Key=key("*#tenants", "globex"))
    with pytest.raises(TenantBreachError):
        send("Query", **query("pk", "*#tenants", "projections-test"))


def test_a_job_of_the_platform_can_be_started_in_its_own_name_alone() -> None:
    def job(tenant: str) -> dict[str, Any]:
        return {**key("system#jobs"), "acting_for": {"S": tenant}}

    send("PutItem", TableName="control-test", Item=job("acme"))
    for item in (job("globex"), key("system#jobs")):
        with pytest.raises(TenantBreachError):
            send("PutItem", TableName="control-test", Item=item)


def test_what_an_index_over_all_tenants_finds_is_looked_at_item_by_item() -> None:
    asked = query("kind", "rule", "control-test", IndexName="by_kind")
    context = send("Query", **asked)

    answer("Query", context, Items=[key("acme#rules"), key("system#rules")])
    for foreign in ("globex#rules", "system#keys", "*#rules"):
        with pytest.raises(TenantBreachError):
            answer("Query", context, Items=[key("acme#rules"), key(foreign)])
    # An item whose key was not asked for could be anybody's.
    with pytest.raises(TenantBreachError):
        answer("Query", context, Items=[{"name": {"S": "x"}}])


def test_how_many_an_index_over_all_tenants_has_is_nobodys_business() -> None:
    with pytest.raises(TenantBreachError):
        send("Query", **query("kind", "rule", "control-test", IndexName="by_kind", Select="COUNT"))


def test_a_condition_that_does_not_begin_with_the_partition_is_stopped() -> None:
    asked = {**query("pk", "acme#1"), "KeyConditionExpression": "sk > :a AND pk = :key"}

    with pytest.raises(TenantBreachError):
        send("Query", **asked)


def test_a_breach_says_nothing_to_the_caller_and_enough_to_the_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(TenantBreachError, match=r"^Something went wrong on our side$"):
        send("GetItem", TableName="control-test", Key=key("globex#keys", "secret-id"))

    metric = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (metric["TenantBreach"], metric["Stage"]) == (1, "local")


def test_threads_are_bound_as_whoever_asked_for_them() -> None:
    def seen(_: int) -> frozenset[str] | None:
        return boundary._tenants.get()

    with boundary.within(ACME):
        assert boundary.spread(seen, range(40), workers=4) == [ACME] * 40
    assert boundary.spread(seen, range(2), workers=2) == [None, None]
    assert boundary.spread(seen, [], workers=2) == []


def test_a_binding_ends_with_its_request_even_when_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), boundary.within(ACME):
        raise ZeroDivisionError

    assert boundary._tenants.get() is None


def test_a_caller_reaches_its_tenants_and_only_the_cross_tenant_grant_reaches_all() -> None:
    acme, globex = TenantId("acme"), TenantId("globex")
    one = Caller("x", frozenset({Role.ADMIN}), acme)
    several = Caller("x", frozenset({Role.AGENT}), acme, tenants=frozenset({acme, globex}))
    everybody = Caller("x", frozenset({Role.OPERATOR}), acme, cross_tenant=True)
    none = Caller("x", frozenset({Role.ADMIN}), None)

    assert sorted(reach_of(one) or ()) == ["acme"]
    assert sorted(reach_of(several) or ()) == ["acme", "globex"]
    assert reach_of(everybody) is None
    assert reach_of(none) == NOBODY
    # Open routes touch no table.
    assert reach_of(None) == NOBODY
