"""Tenants' own event types: defined, changed, published and read."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from aetherlink.kernel.tenancy import SYSTEM, TenantId
from tests.component.conftest import Answer, Stack

ORDER = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "note": {"type": "string"}},
    "required": ["total"],
}
NARROWER = {**ORDER, "properties": {**ORDER["properties"], "total": {"type": "integer"}}}  # type: ignore[dict-item]  # mypy reads ORDER's values as one type
WIDER = {**ORDER, "required": []}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    # A process keeps what it looked up for half a minute; every test has a stack of its own.
    importlib.import_module("functions.events.publish").publisher._catalogue._cached.clear()


def define(stack: Stack, schema: Any = ORDER, name: str = "order.placed", **given: Any) -> Answer:
    given = {"roles": "admin", "tenant": "acme", **given}
    return stack.call("PUT", f"/events/schema/{name}", body=schema, **given)


def publish(stack: Stack, payload: Any = None, tenant: str | None = "acme", **given: Any) -> Answer:
    body = {"event_type": "order.placed", "source": "shop", "payload": payload or {"total": 1.5}}
    roles = given.pop("roles", "agent")
    return stack.call("POST", "/events/publish", body={**body, **given}, tenant=tenant, roles=roles)


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.body.get("detail")


# ---- defining


def test_a_definition_is_acknowledged(stack: Stack) -> None:
    answer = define(stack, {"schema": ORDER, "description": "An order", "compatibility": "FULL"})

    assert (answer.status, answer.body) == (
        200,
        {
            "status": "ok",
            "event_type": "order.placed",
            "tenant_id": "acme",
            "version": 1,
            "compatibility": "FULL",
            "description": "An order",
            "required": ["event_type", "source", "payload"],
            "schema": ORDER,
        },
    )


def test_a_bare_schema_is_backward_unless_the_query_says_otherwise(stack: Stack) -> None:
    assert define(stack).body["compatibility"] == "BACKWARD"
    answer = define(stack, name="other", query={"compatibility": "none"})
    assert answer.body["compatibility"] == "NONE"


def test_the_same_schema_again_keeps_its_version(stack: Stack) -> None:
    define(stack)

    assert define(stack).body["version"] == 1


def test_a_compatible_change_is_the_next_version(stack: Stack) -> None:
    define(stack)

    assert define(stack, WIDER).body["version"] == 2
    assert define(stack, ORDER, query={"compatibility": "NONE"}).body["version"] == 3


def test_an_incompatible_change_is_409_with_its_place(stack: Stack) -> None:
    define(stack)

    status, detail = outcome(define(stack, NARROWER))
    place, reason = "/properties/total/type", 'type is "integer", was "number"'
    assert status == 409
    assert detail == (
        f"Not BACKWARD compatible with version 1 of 'order.placed': {place}: {reason}"
    )
    assert publish(stack).status == 200


def test_full_refuses_a_widening(stack: Stack) -> None:
    define(stack, query={"compatibility": "FULL"})

    assert define(stack, WIDER).status == 409
    assert define(stack, WIDER, query={"compatibility": "FULL"}).status == 409
    assert define(stack, WIDER, query={"compatibility": "BACKWARD"}).status == 200


@pytest.mark.parametrize("roles", ["agent", "operator", "viewer"])
def test_only_an_admin_defines_types(stack: Stack, roles: str) -> None:
    # Whatever the body: the role comes first.
    assert define(stack, {"type": 1}, roles=roles).status == 403


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "object", "properties": {"a": {"minimum": "x"}}}, "/properties/a/minimum"),
        ({"schema": {"type": "object", "required": "a"}}, "/schema/required"),
        ({"schema": {"type": "array"}}, "/schema/type"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}},
         "/properties/a/$ref"),
        ({"type": "object", "$schema": "http://127.0.0.1:1/x"}, "/$schema"),
        ({"type": "object", "properties": {"a": {"pattern": "(?<!x)y"}}}, "/properties/a/pattern"),
        ({"schema": ORDER, "compatibility": "FORWARD"}, "/compatibility"),
    ],
)  # fmt: skip
def test_a_bad_schema_is_422_with_its_place(stack: Stack, schema: Any, pointer: str) -> None:
    answer = define(stack, schema)

    assert (answer.status, [e["pointer"] for e in answer.body["errors"]]) == (422, [pointer])


@pytest.mark.parametrize("raw", ["[]", "1", "{", "", "null"])
def test_a_body_that_is_no_object_is_422(stack: Stack, raw: str) -> None:
    path = "/events/schema/order.placed"

    assert stack.call("PUT", path, raw=raw, roles="admin").status == 422


def test_a_mode_that_is_none_is_422(stack: Stack) -> None:
    answer = define(stack, query={"compatibility": "FORWARD"})

    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "query/compatibility")


def test_a_schema_over_64_kb_is_413(stack: Stack) -> None:
    assert define(stack, {"type": "object", "description": "x" * 70_000}).status == 413


@pytest.mark.parametrize(
    ("name", "status"),
    [("lead.created", 409), ("ops.mine", 403), ("security.mine", 403), ("ops.alert.raised", 403),
     ("-x", 422), ("a%20b", 422), ("a%23v1", 422)],
)  # fmt: skip
def test_a_name_that_is_not_free_is_refused(stack: Stack, name: str, status: int) -> None:
    assert define(stack, name=name).status == status


def test_an_admin_defines_for_another_tenant_by_naming_it(stack: Stack) -> None:
    answer = define(stack, query={"tenant_id": "globex"})

    assert answer.body["tenant_id"] == "globex"
    assert publish(stack, tenant="globex").status == 200
    assert publish(stack, tenant="acme").status == 400


def test_a_tenants_names_end_at_a_hundred(stack: Stack) -> None:
    define(stack)
    table = importlib.import_module("functions.events.api").types._definitions._table
    table.put({"pk": "acme#types", "sk": "#taken", "taken": 100})

    assert outcome(define(stack, name="other")) == (
        409,
        "A tenant may have 100 event types of its own, and 'acme' has them",
    )
    assert define(stack, WIDER).body["version"] == 2
    assert define(stack, name="other", tenant="globex").status == 200


def test_a_definition_is_kept_once_although_two_judged_the_same_version(stack: Stack) -> None:
    define(stack)
    store = importlib.import_module("functions.events.api").types._definitions
    latest = store.latest(TenantId("acme"), "order.placed")
    following = latest.model_copy(update={"version": 2})

    assert store.change(following, latest)
    assert not store.change(following, latest)
    assert not store.add(latest, store.taken(TenantId("acme")))


# ---- publishing


def test_an_own_type_is_published_and_listed(stack: Stack) -> None:
    assert outcome(publish(stack)) == (400, "Unknown event_type 'order.placed'")
    define(stack)

    assert publish(stack, event_id="o1").status == 200
    assert [e["event_id"] for e in stack.recent(tenant="acme", event_type="order.placed")] == ["o1"]


def test_a_payload_is_held_against_its_tenants_schema(stack: Stack) -> None:
    define(stack)

    answer = publish(stack, {"total": "much", "note": 1})
    assert (answer.status, {e["pointer"] for e in answer.body["errors"]}) == (
        422,
        {"/payload/total", "/payload/note"},
    )


def test_another_tenant_neither_publishes_nor_sees_it(stack: Stack) -> None:
    define(stack)

    assert outcome(publish(stack, tenant="globex")) == (400, "Unknown event_type 'order.placed'")
    answer = stack.call("GET", "/events/schema/order.placed", tenant="globex")
    assert outcome(answer) == (404, "Unknown event_type 'order.placed'")
    assert stack.call("GET", "/events/schema", tenant="globex").body["count"] == 25


def test_a_foreign_tenants_type_is_403_before_it_is_known_or_not(stack: Stack) -> None:
    define(stack, tenant="globex")

    for event_type in ("order.placed", "order.unheard-of"):
        answer = publish(stack, tenant_id="globex", event_type=event_type)
        assert outcome(answer) == (403, "You may not act for tenant 'globex'")


def test_an_unknown_type_is_told_before_a_missing_field(stack: Stack) -> None:
    assert outcome(publish(stack, source=None)) == (400, "Unknown event_type 'order.placed'")
    define(stack)
    assert outcome(publish(stack, source=None)) == (400, "Missing required field: source")


def test_a_change_counts_for_publishers_who_remember_the_earlier_version(stack: Stack) -> None:
    define(stack)
    publish(stack)
    define(stack, WIDER)

    assert publish(stack, {"note": "free"}).status == 200


@pytest.mark.parametrize(
    ("version", "status"),
    [(None, 200), ("", 200), ("2", 200), ("v2", 200), (2, 200), ("1", 422), ("1.0", 422), ("3", 422)],
)  # fmt: skip
def test_schema_version_chooses_a_version(stack: Stack, version: Any, status: int) -> None:
    define(stack)
    define(stack, WIDER)

    assert publish(stack, {"note": "free"}, schema_version=version).status == status


def test_a_version_there_is_not_is_named(stack: Stack) -> None:
    define(stack)

    answer = publish(stack, schema_version="7")
    assert answer.body["errors"] == [
        {
            "pointer": "/schema_version",
            "detail": "'order.placed' has the versions 1 to 1, got '7'",
        }
    ]


def test_a_type_of_the_platform_is_every_tenants(stack: Stack) -> None:
    define(stack, query={"tenant_id": str(SYSTEM)})

    assert publish(stack).status == 200
    assert publish(stack, tenant="globex").status == 200
    answer = stack.call("GET", "/events/schema/order.placed", tenant="globex")
    assert (answer.status, answer.body["tenant_id"]) == (200, "system")


# ---- reading


def test_one_own_type_is_shown(stack: Stack) -> None:
    define(stack)

    body = stack.call("GET", "/events/schema/order.placed", tenant="acme").body
    assert (body["status"], body["version"], body["schema"]) == ("ok", 1, ORDER)


def test_a_list_holds_built_in_types_own_ones_and_the_platforms(stack: Stack) -> None:
    define(stack, name="mine")
    define(stack, name="theirs", tenant="globex")
    define(stack, name="ours", query={"tenant_id": "system"})

    def listed(tenant: str | None, **query: str) -> list[tuple[str, str]]:
        body = stack.call("GET", "/events/schema", tenant=tenant, query=query).body
        assert (body["count"], body["next_cursor"]) == (len(body["schemas"]), None)
        return [(t["tenant_id"], t["event_type"]) for t in body["schemas"] if "tenant_id" in t]

    assert listed("acme") == [("acme", "mine"), ("system", "ours")]
    assert listed("acme", tenant_id="globex") == [("globex", "theirs"), ("system", "ours")]
    assert listed(None) == [("acme", "mine"), ("globex", "theirs"), ("system", "ours")]


def test_an_unknown_type_is_404(stack: Stack) -> None:
    for tenant in ("acme", None):
        answer = stack.call("GET", "/events/schema/x.y", tenant=tenant)
        assert outcome(answer) == (404, "Unknown event_type 'x.y'")
