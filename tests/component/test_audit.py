"""What was changed or denied is on record, in the right tenant's audit, and can be read there."""

from __future__ import annotations

import base64
import json
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.platform import auditing

from .conftest import Stack

SERVICE = {"name": "billing", "url": "https://ann:hunter2@billing.example/x?sig=1"}
RULE = {"name": "errors", "window_seconds": 60, "threshold": 3}


def records(stack: Stack, tenant: str | None = None, **query: str) -> list[dict[str, Any]]:
    answer = stack.call("GET", "/audit/events", roles="admin", tenant=tenant, query=query)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.body["events"]
    return found


def stored() -> list[dict[str, Any]]:
    found: list[Any] = boto3.client("dynamodb").scan(TableName="audit-test")["Items"]
    return found


def test_a_change_is_recorded_with_who_what_where_and_how_it_was_before(stack: Stack) -> None:
    made = stack.call("POST", "/alerts/rules", tenant="acme", body=RULE).body["rule_id"]
    stack.call(
        "PATCH", f"/alerts/rules/{made}/enabled", tenant="acme", query={"enabled": "false"},
        headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    )  # fmt: skip

    last = records(stack, "acme")[0]

    assert last["subject"] == "dev:operator"
    assert (last["roles"], last["tenant_id"]) == (["operator"], "acme")
    assert last["action"] == "PATCH /alerts/rules/{rule_id}/enabled"
    assert last["resource"] == f"/alerts/rules/{made}/enabled"
    assert (last["decision"], last["status"], last["reason"]) == ("allow", 200, None)
    assert (last["ip"], last["trace_id"]) == ("203.0.113.7", "a" * 32)
    assert last["service"] == "command-center"
    (change,) = last["changes"]
    assert change["resource"] == f"rule/{made}"
    assert (change["before"]["enabled"], change["after"]["enabled"]) == (True, False)


@pytest.mark.parametrize(
    ("method", "path", "given", "resource"),
    [
        ("POST", "/ops/register", {"body": SERVICE}, "service/billing"),
        ("POST", "/alerts/rules", {"body": RULE}, "rule/"),
        ("PUT", "/events/retention/tenants/acme", {"query": {"retention_days": "3"}},
         "retention/acme"),
        ("DELETE", "/events/retention/tenants/acme", {}, "retention/acme"),
        ("PUT", "/events/schema/order.placed",
         {"roles": "admin", "body": {"schema": {"type": "object"}}}, "event_type/order.placed"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_each_service_says_what_it_changed(
    stack: Stack, method: str, path: str, given: dict[str, Any], resource: str
) -> None:
    answer = stack.call(method, path, tenant="acme", **given)

    assert answer.status == 200, answer.body
    (record,) = records(stack, "acme")
    assert record["changes"][0]["resource"].startswith(resource)


def test_reading_leaves_no_record_and_neither_does_a_publish_that_is_let(stack: Stack) -> None:
    stack.publish(tenant="acme")
    stack.recent("acme")

    assert stored() == []


def test_a_denied_read_is_recorded_with_its_reason_and_without_its_body(stack: Stack) -> None:
    stack.call("POST", "/events/publish", roles="viewer", tenant="acme", body={"a": "b"})

    (record,) = records(stack, "acme")
    assert (record["decision"], record["status"]) == ("deny", 403)
    assert "Required roles: agent, operator, admin" in record["reason"]
    assert record["changes"] == []


def test_who_shows_no_credential_leaves_no_record(stack: Stack) -> None:
    assert stack.call("POST", "/ops/register", roles=None, body=SERVICE).status == 401

    assert stored() == []


def test_a_request_that_was_wrong_leaves_no_record(stack: Stack) -> None:
    assert stack.call("POST", "/ops/register", tenant="acme", body={}).status == 422

    assert stored() == []


def test_what_an_admin_of_all_tenants_does_to_one_stands_in_that_ones_audit(stack: Stack) -> None:
    path = "/events/retention/tenants/globex"
    stack.call("PUT", path, roles="admin", query={"retention_days": "3"})

    assert [r["resource"] for r in records(stack, "globex")] == [path]
    assert records(stack, "system") == []


def test_a_denied_attempt_at_a_foreign_tenant_stands_in_the_callers_own_audit(
    stack: Stack,
) -> None:
    foreign = {"event_type": "autoheal.failed", "source": "s", "payload": {}, "tenant_id": "globex"}

    stack.call("POST", "/events/publish", roles="agent", tenant="acme", body=foreign)

    assert [r["decision"] for r in records(stack, "acme")] == ["deny"]
    assert records(stack, "globex") == []


def test_no_record_shows_which_other_tenants_the_caller_may_act_for(stack: Stack) -> None:
    event = {"httpMethod": "PUT", "resource": "/x", "path": "/x", "body": ""}
    caller = Caller(
        "ann", frozenset({Role.ADMIN}), TenantId("acme"), tenants=frozenset({TenantId("globex")})
    )

    auditing.append(event, caller, service="s", status=200, reason="")

    assert "globex" not in json.dumps(records(stack, "acme"))


def test_secrets_do_not_reach_the_table(stack: Stack) -> None:
    secret = "whsec_" + base64.b64encode(b"hunter2" * 4).decode()
    heal = {"action": "http", "url": "https://hooks.example/1/hunter2", "secret": secret}

    stack.call("POST", "/ops/register", tenant="acme", body={**SERVICE, "heal": heal})

    (record,) = stored()
    assert "hunter2" not in json.dumps(record)
    assert secret not in json.dumps(record)
    assert "billing.example" in json.dumps(record)


def test_where_a_route_noted_nothing_the_masked_body_is_on_record(stack: Stack) -> None:
    body = json.dumps({"name": "x", "password": "hunter2"})
    event = {"httpMethod": "POST", "resource": "/things", "path": "/things", "body": body}
    caller = Caller("ann", frozenset({Role.ADMIN}), TenantId("acme"), key_id="key-1")

    auditing.append(event, caller, service="crm", status=500, reason="")

    (record,) = records(stack, "acme")
    assert record["changes"] == [
        {"resource": "/things", "before": None, "after": {"name": "x", "password": "***"}}
    ]
    assert (record["decision"], record["status"], record["key_id"]) == ("allow", 500, "key-1")


@pytest.mark.parametrize("filling", ["x" * 3_000_000, "😀" * 500_000, '"' * 500_000])
def test_a_record_has_32_kilobytes_at_most_and_says_what_was_cut(
    stack: Stack, filling: str
) -> None:
    caller = Caller(
        "😀" * 10_000, frozenset(Role), TenantId("acme"), key_id="k" * 5_000, ip="i" * 5_000,
        trace_id="t" * 5_000, tenants=frozenset(TenantId(f"{n:064}") for n in range(500)),
    )  # fmt: skip
    for number in range(200):
        caller.trail.changed(
            f"thing/{number}",
            before={"a": filling, "n": number},
            after={str(n): filling for n in range(50)},
        )
    event = {"httpMethod": "PUT", "resource": "/x", "path": "/" + "x" * 100_000, "body": ""}

    auditing.append(event, caller, service="s", status=200, reason="r" * 90_000)

    (item,) = stored()
    assert len(json.dumps(item, ensure_ascii=False).encode()) <= 32 * 1024
    assert "[cut: " in json.dumps(item, ensure_ascii=False)
    assert records(stack, "acme")[0]["changes"][0]["resource"] == "thing/0"


def test_a_record_stays_for_its_day_and_the_retention(stack: Stack) -> None:
    from datetime import date, timedelta

    stack.call("POST", "/ops/register", tenant="acme", body=SERVICE)

    (item,) = stored()
    end = date.fromisoformat(item["day"]["S"]) + timedelta(days=1 + 365)
    assert int(item["expires_at"]["N"]) == (end - date(1970, 1, 1)).days * 86_400


def test_a_record_that_cannot_be_stored_is_logged_whole_and_counted_and_the_answer_stands(
    stack: Stack, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(auditing, "_put", side_effect=UnavailableError("no table")):
        answer = stack.call("POST", "/ops/register", tenant="acme", body=SERVICE)

    assert answer.status == 200
    (line,) = [r for r in caplog.records if r.message == "audit record not stored"]
    assert (line.levelname, vars(line)["record"]["action"]) == ("ERROR", "POST /ops/register")
    assert "hunter2" not in str(vars(line)["record"])
    assert '"AuditNotStored": 1' in capsys.readouterr().out


def test_the_platform_records_what_it_does_itself(stack: Stack) -> None:
    auditing.append_own("job", "tenant.erase", "tenant/acme", "acme", {"events": 3, "token": "x"})

    (record,) = records(stack, "acme")
    assert (record["subject"], record["action"]) == ("job", "tenant.erase")
    assert record["changes"][0]["after"] == {"events": 3, "token": "***"}


# ---------------------------------------------------------------- reading


def some(stack: Stack, count: int, tenant: str = "acme") -> None:
    for number in range(count):
        auditing.append_own("job", "thing.made", f"thing/{number:03}", tenant, {"n": number})


def test_records_come_newest_first_and_page_by_page(stack: Stack) -> None:
    some(stack, 5)
    some(stack, 2, "globex")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        answer = stack.call("GET", "/audit/events", roles="admin", tenant="acme", query=query)
        assert answer.body["count"] == len(answer.body["events"]) <= 2
        seen += [record["resource"] for record in answer.body["events"]]
        cursor = answer.body["next_cursor"]

    assert seen == ["thing/004", "thing/003", "thing/002", "thing/001", "thing/000"]


def test_who_sees_every_tenant_sees_all_records_in_one_order(stack: Stack) -> None:
    for tenant in ("acme", "globex", "acme"):
        some(stack, 1, tenant)

    assert [r["tenant_id"] for r in records(stack, limit="2")] == ["acme", "globex"]
    assert [r["tenant_id"] for r in records(stack)] == ["acme", "globex", "acme"]
    assert [r["tenant_id"] for r in records(stack, tenant_id="globex")] == ["globex"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"subject": "dev:viewer"}, 1),
        ({"subject": "dev"}, 0),
        ({"action": "POST /ops/register"}, 1),
        ({"decision": "deny"}, 1),
        ({"decision": "allow"}, 1),
        ({"decision": "perhaps"}, 0),
        ({"resource": "/ops/"}, 1),
        ({"since": "2020-01-01T00:00:00Z"}, 2),
        ({"since": "2200-01-01T00:00:00Z"}, 0),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
        ({"until": "2200-01-01T00:00:00Z"}, 2),
    ],
)
def test_a_filter_keeps_what_fits(stack: Stack, query: dict[str, str], found: int) -> None:
    stack.call("POST", "/ops/register", tenant="acme", body=SERVICE)
    stack.call("GET", "/events/recent", roles="viewer", tenant="acme")

    assert len(records(stack, "acme", **query)) == found
    assert len(records(stack, **query)) == found


def test_a_sparse_filter_stops_after_a_thousand_records_with_a_cursor(stack: Stack) -> None:
    with patch("aetherlink.audit.reading.MAX_EXAMINED", 3):
        some(stack, 5)
        query = {"resource": "thing/000"}
        first = stack.call("GET", "/audit/events", roles="admin", tenant="acme", query=query).body
        query["cursor"] = first["next_cursor"]
        rest = stack.call("GET", "/audit/events", roles="admin", tenant="acme", query=query).body

    assert first["count"] == 0
    assert [r["resource"] for r in rest["events"]] == ["thing/000"]
    assert rest["next_cursor"] is None


def test_a_cursor_is_good_for_its_own_tenant_and_filter_alone(stack: Stack) -> None:
    some(stack, 3)
    query = {"limit": "1"}
    page = stack.call("GET", "/audit/events", roles="admin", tenant="acme", query=query).body
    stolen = {"limit": "1", "cursor": page["next_cursor"]}

    asked: list[dict[str, Any]] = [
        {"tenant": "globex", "query": stolen},
        {"tenant": "acme", "query": {**stolen, "decision": "deny"}},
        {"tenant": "acme", "query": {**stolen, "cursor": stolen["cursor"][:-3] + "abc"}},
    ]
    for given in asked:
        assert stack.call("GET", "/audit/events", roles="admin", **given).status == 400


def test_a_record_from_months_ago_is_found_by_its_day_s_head(stack: Stack) -> None:
    from datetime import timedelta

    from aetherlink import wiring
    from aetherlink.kernel.time import utc_now

    long_ago = utc_now() - timedelta(days=200)
    with patch.object(auditing, "utc_now", lambda: long_ago):
        some(stack, 1)
    stack.seal()

    assert len(records(stack, "acme")) == 1
    assert len(records(stack)) == 1
    assert wiring.audit_store().sealed_day_before(TenantId("globex"), "2999-01-01") is None


@pytest.mark.parametrize("role", ["operator", "agent", "viewer"])
@pytest.mark.parametrize("path", ["/audit/events", "/audit/verify"])
def test_the_audit_is_the_admins(stack: Stack, path: str, role: str) -> None:
    assert stack.call("GET", path, roles=role, tenant="acme").status == 403
