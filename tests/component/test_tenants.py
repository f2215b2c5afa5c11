"""Tenants: named, limited, and seen off without a trace."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import boto3
import pytest

from aetherlink.kernel.time import utc_now
from aetherlink.platform import behind, rates, tally
from tests.component.conftest import Stack

TABLES = ("events-test", "projections-test", "control-test", "audit-test")


def everything() -> dict[str, list[str]]:
    """Every item of every table, as text."""
    dynamodb = boto3.client("dynamodb")
    return {
        table: [json.dumps(i, sort_keys=True, default=str)
                for page in dynamodb.get_paginator("scan").paginate(TableName=table)
                for i in page["Items"]]
        for table in TABLES
    }  # fmt: skip


@pytest.fixture
def bucket(stack: Stack) -> str:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="archive-test")
    s3.put_bucket_versioning(Bucket="archive-test", VersioningConfiguration={"Status": "Enabled"})
    return "archive-test"


def fill(stack: Stack, tenant: str) -> None:
    """Something of every kind that a tenant can have."""
    service = {"name": f"{tenant}-billing", "url": "https://billing.example"}
    rule = {"name": f"{tenant}-rule", "window_seconds": 300, "threshold": 2, "group_by": ["source"]}
    key = {"name": f"{tenant}-key", "roles": ["operator"]}
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/ops/register", service),
        ("POST", "/alerts/rules", rule),
        ("POST", "/identity/keys", key),
        ("POST", "/identity/keys", {**key, "name": f"{tenant}-second"}),
        ("POST", "/events/stream/ticket", None),
        ("PUT", f"/events/schema/{tenant}.thing", {"schema": {"type": "object"}}),
    ]
    for method, path, body in calls:
        answer = stack.call(method, path, tenant=tenant, roles="admin", body=body)
        assert answer.status == 200, (path, answer.body)
    policy = stack.call(
        "PUT", f"/events/retention/tenants/{tenant}", query={"retention_days": "20"}
    )
    assert policy.status == 200, policy.body
    for number in range(3):
        assert stack.publish(tenant=tenant, event_id=f"{tenant}-{number}").status == 200
    stack.relay()
    boto3.client("s3").put_object(
        Bucket="archive-test",
        Key=archived(tenant),
        Body=tenant.encode(),
    )
    boto3.resource("dynamodb").Table("control-test").put_item(
        Item={
            "pk": f"{tenant}#archive", "sk": "2026-11-20T10", "kind": "archive",
            "kind_key": f"2026-11-20T10#{tenant}", "parts": [], "part_count": 0,
        }
    )  # fmt: skip
    boto3.resource("dynamodb").Table("control-test").put_item(
        Item={"pk": "*#archive-due", "sk": f"2026-11-20T10#{tenant}", "touched_at": "x"}
    )


def archived(tenant: str) -> str:
    return f"events/tenant={tenant}/date=2026-11-20/hour=10/part-0.ndjson.gz"


def remove(stack: Stack, tenant: str = "acme") -> str:
    answer = stack.call("DELETE", f"/tenants/{tenant}", roles="admin", query={"confirm": tenant})
    assert answer.status == 202, answer.body
    return str(answer.body["job_id"])


LIMITS = {"requests_per_minute": 600, "ai_usd_per_day": None, "ai_cache_seconds": None}


def test_a_tenant_is_named_limited_and_listed(stack: Stack) -> None:
    body = {"name": "Acme Inc.", "limits": {"requests_per_minute": 600}}
    made = stack.call("PUT", "/tenants/acme", roles="admin", body=body)
    stack.publish(tenant="globex")
    stack.relay()

    assert made.status == 200, made.body
    assert made.body["tenant"]["limits"] == LIMITS
    listed = stack.call("GET", "/tenants", roles="admin").body["tenants"]
    assert [(t["tenant_id"], t["name"], t["registered"]) for t in listed] == [
        ("acme", "Acme Inc.", True), ("globex", "globex", False)]  # fmt: skip
    again = stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme"}).body["tenant"]
    assert (again["name"], again["limits"]) == ("Acme", LIMITS)
    assert stack.call("GET", "/tenants/acme", roles="operator").body["tenant"] == again


def test_an_operator_of_a_tenant_sees_its_own(stack: Stack) -> None:
    for tenant in ("acme", "globex"):
        stack.call("PUT", f"/tenants/{tenant}", roles="admin", body={"name": tenant})

    own = stack.call("GET", "/tenants", roles="operator", tenant="acme").body["tenants"]
    assert [t["tenant_id"] for t in own] == ["acme"]


def test_tenants_are_paged(stack: Stack) -> None:
    for name in "cab":
        stack.call("PUT", f"/tenants/{name}", roles="admin", body={"name": name})

    first = stack.call("GET", "/tenants", roles="admin", query={"limit": "2"}).body
    rest = stack.call(
        "GET", "/tenants", roles="admin", query={"limit": "2", "cursor": first["next_cursor"]}
    ).body
    assert [t["tenant_id"] for t in first["tenants"] + rest["tenants"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tenants/system", {"name": "x"}, 403),
        ("/tenants/no%20tenant", {"name": "x"}, 422),
        ("/tenants/acme", {"name": ""}, 422),
        ("/tenants/acme", {"name": "x", "limits": {"requests_per_minute": -1}}, 422),
        ("/tenants/acme", {"name": "x", "state": "removed"}, 422),
    ],
)
def test_what_makes_no_sense_is_refused(
    stack: Stack, path: str, body: dict[str, Any], status: int
) -> None:
    assert stack.call("PUT", path, roles="admin", body=body).status == status


def test_removing_needs_the_tenants_id_once_more(stack: Stack) -> None:
    stack.publish(tenant="acme")
    stack.relay()

    answer = stack.call("DELETE", "/tenants/acme", roles="admin")
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "query/confirm")
    unknown = stack.call("DELETE", "/tenants/none", roles="admin", query={"confirm": "none"})
    assert unknown.status == 404


def named(tenant: str) -> dict[str, list[str]]:
    """The partition keys of the items that name a tenant, by table."""
    return {
        table.removesuffix("-test"): [
            json.loads(item)["pk"]["S"] for item in items if tenant in item
        ]
        for table, items in everything().items()
    }


def test_a_removed_tenant_leaves_no_trace_and_another_is_untouched(
    stack: Stack, bucket: str
) -> None:
    for tenant in ("acme", "globex"):
        stack.call("PUT", f"/tenants/{tenant}", roles="admin", body={"name": tenant})
        fill(stack, tenant)
    stack.run_jobs()
    stack.seal()
    own = re.compile(r'"(globex#[^"]*|system#retention|\*#archive-due)"')
    others = {
        table: [i for i in items if own.search(i) and "acme" not in i]
        for table, items in everything().items()
    }
    assert all(others.values())
    assert all(named("acme").values())

    job = remove(stack)
    rates.forget()
    assert stack.run_jobs() == []
    stack.seal()
    tally.flush()

    shown = stack.call("GET", f"/jobs/{job}", roles="admin").body
    assert shown["state"] == "done", shown
    assert shown["result"]["proof"]["items_left"] == 0
    # The record that it is gone, the proof, and the platform's audit of it.
    left = named("acme")
    assert (left["events"], left["projections"]) == ([], [])
    assert sorted(left["control"]) == ["acme#tenant", "system#jobs"]
    assert {pk.partition("#")[0] for pk in left["audit"]} == {"system"}
    now = everything()
    for table, items in others.items():
        assert set(items) <= set(now[table]), table
    s3 = boto3.client("s3")
    versions = s3.list_object_versions(Bucket=bucket)
    keys = [v["Key"] for v in versions.get("Versions", []) + versions.get("DeleteMarkers", [])]
    assert [k for k in keys if "acme" in k and not k.startswith("exports/acme/")] == []
    content = s3.get_object(Bucket=bucket, Key=archived("globex"))["Body"].read()
    assert content == b"globex"


def test_the_removal_of_a_tenant_stands_in_the_audit_of_the_platform(
    stack: Stack, bucket: str
) -> None:
    fill(stack, "acme")
    remove(stack)
    stack.run_jobs()

    records = stack.call("GET", "/audit/events", roles="admin", query={"tenant_id": "system"}).body
    actions = {r["action"]: r for r in records["events"]}
    assert {"DELETE /tenants/{tenant_id}", "tenant.removed"} <= set(actions)
    after = actions["tenant.removed"]["changes"][0]["after"]
    assert (after["tenant_id"], after["proof"]["items_left"]) == ("acme", 0)
    own = stack.call("GET", "/audit/events", roles="admin", query={"tenant_id": "acme"})
    assert own.body.get("events", []) == []


def test_the_export_has_everything_but_secrets(stack: Stack, bucket: str) -> None:
    fill(stack, "acme")

    job = remove(stack)
    stack.run_jobs()

    result = stack.call("GET", f"/jobs/{job}", roles="admin").body["result"]

    def read(key: str) -> bytes:
        body: bytes = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    manifest = read(f"{result['export']}/manifest.json")
    assert hashlib.sha256(manifest).hexdigest() == result["manifest_sha256"]
    items = []
    for entry in json.loads(manifest)["lists"]:
        for part in json.loads(read(entry["key"])):
            assert hashlib.sha256(read(part["key"])).hexdigest() == part["sha256"]
            if "/archive/" not in part["key"]:
                items += [json.loads(i) for i in gzip.decompress(read(part["key"])).splitlines()]
    found = {item["pk"] for item in items}
    assert {"acme#keys", "acme#rules", "acme#services", "acme#counts", "acme#acme-1"} <= found
    assert result["exported"]["control"]["keys"] == 2
    assert read(f"{result['export']}/archive/date=2026-11-20/hour=10/part-0.ndjson.gz") == b"acme"
    text = json.dumps(items)
    assert "hash" not in text
    assert "system#credential" not in text
    assert "acme#tickets" not in found


def test_statistics_over_all_tenants_lose_what_the_tenant_had(stack: Stack, bucket: str) -> None:
    for tenant in ("acme", "globex"):
        fill(stack, tenant)
    before = stack.call("GET", "/events/stats", roles="admin").body

    remove(stack)
    stack.run_jobs()

    after = stack.call("GET", "/events/stats", roles="admin").body
    own = stack.call("GET", "/events/stats", roles="admin", tenant="globex").body
    assert before["total"] == 2 * own["total"]
    assert (after["total"], after["by_type"]) == (own["total"], own["by_type"])
    taken = boto3.client("dynamodb").get_item(
        TableName="control-test", Key={"pk": {"S": "*#types"}, "sk": {"S": "#taken"}}
    )["Item"]["taken"]["N"]
    assert taken == "1"
    assert stack.recent() == stack.recent(tenant="globex")


def test_the_keys_of_a_tenant_that_leaves_are_void_at_once_and_others_are_not_for_it(
    stack: Stack, bucket: str
) -> None:
    stack.publish(tenant="acme")
    stack.relay()
    secrets = {}
    for home, others in (("acme", ["globex"]), ("globex", ["acme"])):
        body = {"name": "ci", "roles": ["operator"], "tenant_id": home, "tenants": others}
        secrets[home] = stack.call("POST", "/identity/keys", roles="admin", body=body).body

    def me(home: str) -> Any:
        headers = {"X-Api-Key": secrets[home]["secret"]}
        return stack.call("GET", "/identity/me", roles=None, headers=headers)

    assert me("acme").status == 200
    job = remove(stack)
    from functions.jobs import worker

    worker.jobs.step(job, utc_now())
    assert me("acme").status == 401
    stack.run_jobs()

    assert me("acme").status == 401
    assert me("globex").body["tenants"] == ["globex"]


def test_a_denied_request_of_who_has_left_leaves_no_trace_of_it(stack: Stack, bucket: str) -> None:
    fill(stack, "acme")
    remove(stack)
    stack.run_jobs()
    rates.forget()
    before = named("acme")

    by_admission = stack.call("GET", "/events/recent", roles="operator", tenant="acme")
    by_role = stack.call("GET", "/identity/keys", roles="viewer", tenant="acme")
    foreign = stack.call(
        "PUT", "/events/retention/tenants/acme", roles="admin", query={"retention_days": "3"}
    )
    again = stack.call("DELETE", "/tenants/acme", roles="admin", query={"confirm": "acme"})
    seen = stack.call("GET", "/tenants/acme", roles="admin", tenant="acme")
    tally.flush()
    behind.run()

    statuses = [a.status for a in (by_admission, by_role, foreign, again, seen)]
    assert statuses == [200, 403, 403, 404, 200]
    after = named("acme")
    assert {t: after[t] for t in ("events", "projections", "control")} == {
        t: before[t] for t in ("events", "projections", "control")
    }
    assert {pk.partition("#")[0] for pk in after["audit"]} == {"system"}


def test_who_is_leaving_is_refused_and_may_be_made_anew(stack: Stack, bucket: str) -> None:
    stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme"})
    job = remove(stack)
    rates.forget()
    assert stack.publish(tenant="acme").status == 403
    twice = stack.call("DELETE", "/tenants/acme", roles="admin", query={"confirm": "acme"})
    assert (twice.status, job in twice.body["detail"]) == (409, True)
    stack.run_jobs()
    gone = stack.call("GET", "/tenants/acme", roles="admin").body["tenant"]
    assert (gone["state"], gone["name"]) == ("removed", "")

    anew = stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme again"})
    rates.forget()
    assert (anew.status, anew.body["tenant"]["state"]) == (200, "active")
    assert stack.publish(tenant="acme").status == 200


def test_a_removal_that_is_killed_goes_on_where_it_was(
    stack: Stack, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, "acme")
    monkeypatch.setattr("aetherlink.tenants.offboarding._PAGE", 20)
    monkeypatch.setattr("aetherlink.tenants.offboarding._UNITS_PER_STEP", 2)
    from aetherlink.platform.dynamo import StorageError, Table
    from functions.jobs import worker

    job, page, calls = remove(stack), Table.page, iter(range(1_000))

    def failing(self: Table, start: Any, limit: int) -> Any:
        if next(calls) % 3 == 2:
            raise StorageError("killed")
        return page(self, start, limit)

    monkeypatch.setattr(Table, "page", failing)
    for _ in range(200):
        try:
            worker.jobs.step(job, utc_now() + timedelta(seconds=20))
        except StorageError:
            continue
        if stack.call("GET", f"/jobs/{job}", roles="admin").body["state"] == "done":
            break

    left = named("acme")
    assert (left["events"], left["projections"]) == ([], [])
    assert sorted(left["control"]) == ["acme#tenant", "system#jobs"]


def test_a_removal_that_failed_can_be_started_again(
    stack: Stack, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, "acme")
    first = remove(stack)
    with monkeypatch.context() as broken:
        broken.setattr("aetherlink.tenants.offboarding.trace_of", None)
        stack.run_jobs()
    assert stack.call("GET", f"/jobs/{first}", roles="admin").body["state"] == "failed"

    second = remove(stack)
    stack.run_jobs()

    assert stack.call("GET", f"/jobs/{second}", roles="admin").body["state"] == "done"
    assert stack.call("GET", "/tenants/acme", roles="admin").body["tenant"]["job_id"] == second


def test_the_console_is_told_how_to_sign_in_and_no_secret(stack: Stack) -> None:
    answer = stack.call("GET", "/console/config.json", roles=None)

    assert answer.status == 200
    assert answer.body == {
        "auth_mode": "dev", "issuer": None, "client_id": None, "audience": None, "api": "..",
        "stage": "local", "version": answer.body["version"],
    }  # fmt: skip
