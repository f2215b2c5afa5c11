"""Tenants: named, limited, and seen off without a trace."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from aetherlink.kernel.time import utc_now
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
        Key=f"events/tenant={tenant}/date=2026-11-20/hour=10/part-0.ndjson.gz",
        Body=tenant.encode(),
    )


def remove(stack: Stack, tenant: str = "acme") -> str:
    answer = stack.call("DELETE", f"/tenants/{tenant}", roles="admin", query={"confirm": tenant})
    assert answer.status == 202, answer.body
    return str(answer.body["job_id"])


def test_a_tenant_is_named_limited_and_listed(stack: Stack) -> None:
    body = {"name": "Acme Inc.", "limits": {"requests_per_minute": 600}}
    made = stack.call("PUT", "/tenants/acme", roles="admin", body=body)
    stack.publish(tenant="globex")
    stack.relay()

    assert made.status == 200, made.body
    assert made.body["tenant"]["limits"] == {"requests_per_minute": 600}
    listed = stack.call("GET", "/tenants", roles="admin").body["tenants"]
    assert [(t["tenant_id"], t["name"], t["registered"]) for t in listed] == [
        ("acme", "Acme Inc.", True), ("globex", "globex", False)]  # fmt: skip
    again = stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme"}).body["tenant"]
    assert (again["name"], again["limits"]) == ("Acme", {"requests_per_minute": 600})
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


def test_a_removed_tenant_leaves_no_trace_and_another_is_untouched(
    stack: Stack, bucket: str
) -> None:
    for tenant in ("acme", "globex"):
        fill(stack, tenant)
    stack.run_jobs()
    stack.seal()
    others = {t: [i for i in items if '"globex' in i and "acme" not in i]
              for t, items in everything().items()}  # fmt: skip

    job = remove(stack)
    assert stack.run_jobs() == []

    shown = stack.call("GET", f"/jobs/{job}", roles="admin").body
    assert shown["state"] == "done", shown
    result = shown["result"]
    assert result["proof"]["items_left"] == 0
    left = [
        item for items in everything().values() for item in items
        if "acme" in item and not item.startswith("{}")
    ]  # fmt: skip
    known = ("acme#tenant", "tenants.offboard", "system#", "*#requests")
    assert [item for item in left if not any(word in item for word in known)] == []
    now = everything()
    for table, items in others.items():
        assert set(items) <= set(now[table]), table
    s3 = boto3.client("s3")
    versions = s3.list_object_versions(Bucket=bucket)
    keys = [v["Key"] for v in versions.get("Versions", []) + versions.get("DeleteMarkers", [])]
    assert [k for k in keys if "acme" in k and not k.startswith("exports/acme/")] == []
    assert any(k.startswith("events/tenant=globex/") for k in keys)


def test_the_export_has_everything_but_the_hashes_of_secrets(stack: Stack, bucket: str) -> None:
    fill(stack, "acme")

    job = remove(stack)
    stack.run_jobs()

    result = stack.call("GET", f"/jobs/{job}", roles="admin").body["result"]
    s3 = boto3.client("s3")
    manifest = json.loads(
        s3.get_object(Bucket=bucket, Key=f"{result['export']}/manifest.json")["Body"].read()
    )
    lines = [
        json.loads(line)
        for part in manifest["parts"]
        for line in gzip.decompress(s3.get_object(Bucket=bucket, Key=part["key"])["Body"].read())
        .decode()
        .splitlines()
    ]
    assert len(lines) == sum(manifest["items"].values())
    assert {"acme#keys", "acme#rules", "acme#services"} <= {line["pk"] for line in lines}
    assert all("hash" not in line and "token_hash" not in line for line in lines)


def test_who_is_leaving_is_refused_and_may_be_made_anew(stack: Stack, bucket: str) -> None:
    stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme"})
    job = remove(stack)
    from aetherlink.platform import rates

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
    monkeypatch.setattr("aetherlink.tenants.offboarding._PAGE", 5)
    monkeypatch.setattr("aetherlink.tenants.offboarding._PAGES_PER_STEP", 2)
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

    assert not [
        item for name in ("events-test", "projections-test") for item in everything()[name]
        if "acme" in item
    ]  # fmt: skip


def test_the_console_is_told_how_to_sign_in_and_no_secret(stack: Stack) -> None:
    answer = stack.call("GET", "/console/config.json", roles=None)

    assert answer.status == 200
    assert answer.body == {
        "auth_mode": "dev", "issuer": None, "client_id": None, "audience": None, "api": "..",
        "stage": "local", "version": answer.body["version"],
    }  # fmt: skip
