"""How long events are kept: policies, pruning, the hourly report, and what a change does."""

from __future__ import annotations

import importlib
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from aetherlink import wiring
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text, utc_now
from tests.component.conftest import Context, Stack

DAY = timedelta(days=1)


def publish(stack: Stack, tenant: str, event_id: str, age: timedelta) -> Any:
    return stack.publish(tenant=tenant, event_id=event_id, timestamp=to_text(utc_now() - age)).body


def ids(stack: Stack, tenant: str | None) -> list[str]:
    return sorted(e["event_id"] for e in stack.recent(tenant) if e["event_id"].startswith("e"))


def set_days(stack: Stack, tenant: str, days: object, **given: Any) -> Any:
    path = f"/events/retention/tenants/{tenant}"
    return stack.call("PUT", path, query={"retention_days": str(days)}, **given)


def prune(stack: Stack, tenant: str | None = None) -> dict[str, dict[str, Any]]:
    answer = stack.call("POST", "/events/prune", tenant=tenant)
    assert answer.status == 200, answer.body
    assert answer.body["status"] == "ok"
    scopes = answer.body["scopes"]
    assert answer.body["total_pruned"] == sum(scope["pruned_count"] for scope in scopes)
    return {scope["scope"]: scope for scope in scopes}


def keep(stack: Stack) -> Any:
    return importlib.import_module("functions.retention.keeper").lambda_handler({}, Context())


def stored(tenant: str) -> dict[str, datetime]:
    """What the table holds of a tenant: ids, and until when."""
    table = boto3.client("dynamodb").scan(TableName="events-test")["Items"]
    return {
        item["pk"]["S"].partition("#")[2]: datetime.fromtimestamp(
            int(item["expires_at"]["N"]), tz=utc_now().tzinfo
        )
        for item in table
        if item["pk"]["S"].startswith(f"{tenant}#e")
    }


def test_the_settings_are_shown(stack: Stack) -> None:
    answer = stack.call("GET", "/events/retention")

    assert answer.status == 200
    assert {
        "retention_days": 30,
        "interval_seconds": 3600,
        "archive_enabled": False,
        "archive_dir": None,
    }.items() <= answer.body.items()
    assert stack.call("GET", "/events/retention", roles="viewer").status == 403


def test_policies_are_set_listed_and_reverted(stack: Stack) -> None:
    answer = set_days(stack, "acme", 90)
    assert answer.status == 200
    assert abs(from_text(answer.body.pop("updated_at")) - utc_now()) < timedelta(seconds=10)
    assert answer.body.pop("job_id")
    assert answer.body == {"status": "ok", "tenant_id": "acme", "retention_days": 90}
    set_days(stack, "globex", 1)

    listed = stack.call("GET", "/events/retention/tenants")
    assert listed.body == {
        "status": "ok",
        "tenant_policies": {"acme": 90, "globex": 1},
        "global_default_days": 30,
    }
    own = stack.call("GET", "/events/retention/tenants", tenant="acme")
    assert own.body["tenant_policies"] == {"acme": 90}
    reverted = stack.call("DELETE", "/events/retention/tenants/acme")
    assert reverted.body.pop("job_id")
    assert reverted.body == {
        "status": "ok",
        "tenant_id": "acme",
        "reverted_to_global": True,
        "global_default_days": 30,
    }
    again = stack.call("DELETE", "/events/retention/tenants/acme")
    assert (again.status, again.body["job_id"]) == (200, None)
    listed = stack.call("GET", "/events/retention/tenants")
    assert listed.body["tenant_policies"] == {"globex": 1}


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [
        ("0", 400, "retention_days must be >= 1"),
        ("-5", 400, "retention_days must be >= 1"),
        ("3651", 400, "retention_days must be <= 3650"),
        ("a week", 422, "query/retention_days"),
        ("1.5", 422, "query/retention_days"),
    ],
)
def test_a_retention_that_cannot_be_is_refused(
    stack: Stack, days: str, status: int, words: str
) -> None:
    answer = set_days(stack, "acme", days)

    assert (answer.status, words in str(answer.body)) == (status, True)
    assert stack.call("GET", "/events/retention/tenants").body["tenant_policies"] == {}


def test_bad_requests_about_policies(stack: Stack) -> None:
    path = "/events/retention/tenants/acme"
    assert stack.call("PUT", path).status == 422
    assert stack.call("PUT", path, query={"retention_days": "3"}, roles="viewer").status == 403
    assert set_days(stack, "system", 3).status == 400
    assert stack.call("DELETE", "/events/retention/tenants/system").status == 400
    assert set_days(stack, "no%20tenant", 3).status == 422


def test_reads_obey_a_policy_at_once_and_in_both_directions(stack: Stack) -> None:
    for tenant in ("short", "usual", "long"):
        for number, age in enumerate((DAY / 2, 2 * DAY, 20 * DAY)):
            publish(stack, tenant, f"e{number}", age)
    stack.relay()

    set_days(stack, "short", 1)
    set_days(stack, "long", 90)
    assert [ids(stack, t) for t in ("short", "usual", "long")] == [
        ["e0"],
        ["e0", "e1", "e2"],
        ["e0", "e1", "e2"],
    ]
    assert len(ids(stack, None)) == 7
    assert stack.call("GET", "/events/e1", tenant="short").status == 404
    assert stack.call("GET", "/events/stats", tenant="short").body["total"] == 1
    stack.run_jobs()
    assert stack.call("GET", "/events/stats").body["total"] == 7

    set_days(stack, "short", 5)
    assert ids(stack, "short") == ["e0", "e1"]
    assert stack.call("GET", "/events/stats", tenant="short").body["total"] == 2
    stack.run_jobs()
    assert stack.call("GET", "/events/stats").body["total"] == 8


def test_the_specs_own_walk_through(stack: Stack) -> None:
    """v1.20, Testing Results: a 2-day-old event of a tenant that keeps one day is pruned."""
    for tenant, days in (("tenant-qa", 1), ("tenant-premium", 90), ("tenant-acme", 60)):
        set_days(stack, tenant, days)
        publish(stack, tenant, "e-old", 2 * DAY)
    stack.relay()

    scopes = prune(stack)

    assert list(scopes) == ["system", "tenant-acme", "tenant-premium", "tenant-qa"]
    qa = scopes["tenant-qa"]
    assert abs(from_text(qa.pop("cutoff")) - (utc_now() - DAY)) < timedelta(seconds=10)
    assert qa == {
        "scope": "tenant-qa",
        "retention_days": 1,
        "pruned_count": 1,
        "archived_count": 0,
    }
    assert [scopes[s]["pruned_count"] for s in ("system", "tenant-acme", "tenant-premium")] == [
        0
    ] * 3
    assert (stored("tenant-qa"), len(stored("tenant-premium"))) == ({}, 1)
    (report,) = stack.recent("tenant-qa", event_type="ops.events.pruned")
    assert report["severity"] == "info"
    assert {
        "scope": "tenant-qa",
        "pruned_count": 1,
        "retention_days": 1,
        "archived": 0,
        "strategy": "per-tenant-retention",
    }.items() <= report["payload"].items()
    assert stack.recent("tenant-acme", event_type="ops.events.pruned") == []
    assert prune(stack)["tenant-qa"]["pruned_count"] == 0


def test_a_tenants_own_prune_touches_nobody_else(stack: Stack) -> None:
    for tenant in ("acme", "globex"):
        set_days(stack, tenant, 1)
        publish(stack, tenant, "e-old", 2 * DAY)
    stack.relay()

    assert list(prune(stack, "acme")) == ["acme"]
    assert (stored("acme"), len(stored("globex"))) == ({}, 1)


def test_an_event_past_its_retention_says_so_and_is_kept_for_dedupe(stack: Stack) -> None:
    set_days(stack, "acme", 1)
    first = publish(stack, "acme", "e1", 2 * DAY)
    again = publish(stack, "acme", "e1", 2 * DAY)

    assert (first["expired"], first["duplicate"]) == (True, False)
    assert (again["expired"], again["duplicate"]) == (True, True)
    assert ids(stack, "acme") == []


def test_a_longer_policy_keeps_what_is_stored_for_longer(stack: Stack) -> None:
    set_days(stack, "acme", 2)
    stack.run_jobs()
    for number in range(3):
        publish(stack, "acme", f"e{number}", number * DAY / 2)
    publish(stack, "globex", "e0", DAY)
    stack.relay()
    before, theirs = stored("acme"), stored("globex")

    job_id = set_days(stack, "acme", 60).body["job_id"]
    assert stack.call("GET", f"/jobs/{job_id}").body["state"] == "queued"
    stack.run_jobs()

    job = stack.call("GET", f"/jobs/{job_id}").body
    assert (job["state"], job["kind"], job["done"]) == ("done", "retention.apply", 3)
    assert job["result"] == {"restamped": 3}
    after = stored("acme")
    assert all(after[e] - before[e] > 57 * DAY for e in before)
    assert stored("globex") == theirs
    # Nothing of that is news to anybody.
    assert stack.records()
    assert stack.call("GET", "/events/stats", tenant="acme").body["total"] == 3


def test_what_a_longer_policy_shows_again_is_counted_as_it_is_stored(stack: Stack) -> None:
    """Some of what had passed the shorter retention is gone: the counts must not bring it back."""
    for number in range(6):
        publish(stack, "acme", f"e{number}", number * DAY + timedelta(hours=1))
    stack.relay()
    set_days(stack, "acme", 2)
    stack.run_jobs()
    # As TTL does: it takes what it likes of what has expired.
    for number in (3, 5):
        key = {"pk": {"S": f"acme#e{number}"}, "sk": {"S": "test"}}
        boto3.client("dynamodb").delete_item(TableName="events-test", Key=key)
    assert stack.call("GET", "/events/stats").body["total"] == 2

    set_days(stack, "acme", 30)
    stack.run_jobs()

    assert ids(stack, "acme") == ["e0", "e1", "e2", "e4"]
    for tenant in ("acme", None):
        assert stack.call("GET", "/events/stats", tenant=tenant).body["total"] == 4


def test_the_schedule_reports_what_passed_and_removes_what_ttl_would_keep(stack: Stack) -> None:
    for number in range(5):
        publish(stack, "acme", f"e{number}", number * DAY + timedelta(hours=1))
    publish(stack, "globex", "e0", DAY)
    stack.relay()
    assert keep(stack)["pruned"] == 0
    set_days(stack, "acme", 3)
    stack.run_jobs()

    assert keep(stack)["pruned"] == 2

    assert sorted(stored("acme")) == ["e0", "e1", "e2"]
    (report,) = stack.recent("acme", event_type="ops.events.pruned")
    assert (report["payload"]["pruned_count"], report["tenant_id"]) == (2, "acme")
    assert stack.recent("globex", event_type="ops.events.pruned") == []
    assert keep(stack)["pruned"] == 0


def test_the_schedule_reports_what_ttl_removed(stack: Stack) -> None:
    publish(stack, "acme", "e-old", 29 * DAY)
    publish(stack, "acme", "e-new", DAY)
    stack.relay()
    assert keep(stack)["pruned"] == 0
    reported = wiring.retention_keeper()._pruning
    later = utc_now() + 2 * DAY
    reported._now = reported._keeping._now = lambda: later
    key = {"pk": {"S": "acme#e-old"}, "sk": {"S": "test"}}
    boto3.client("dynamodb").delete_item(TableName="events-test", Key=key)

    try:
        scope = reported.keep(TenantId("acme"), later + DAY)
    finally:
        reported._keeping._now = utc_now

    assert scope is not None
    assert scope.pruned_count == 1


def test_a_prune_that_takes_long_becomes_a_job(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_days(stack, "acme", 1)
    for number in range(4):
        publish(stack, "acme", f"e{number}", 3 * DAY)
    stack.relay()
    stack.run_jobs()
    monkeypatch.setattr("aetherlink.retention.service.PRUNE_SECONDS", 0)

    answer = stack.call("POST", "/events/prune").body

    assert (answer["total_pruned"], answer["complete"]) == (0, False)
    stack.run_jobs()
    job = stack.call("GET", f"/jobs/{answer['job_id']}").body
    assert (job["state"], job["result"]) == ("done", {"total_pruned": 4})
    assert stored("acme") == {}
    (report,) = stack.recent("acme", event_type="ops.events.pruned")
    assert report["payload"]["pruned_count"] == 4


def test_a_policy_said_again_is_applied_again_as_a_whole(stack: Stack) -> None:
    """An earlier job may have failed: what it left undone is done."""
    publish(stack, "acme", "e1", DAY)
    stack.relay()
    set_days(stack, "acme", 90)
    boto3.client("sqs").purge_queue(
        QueueUrl=boto3.client("sqs").get_queue_url(QueueName="jobs-test")["QueueUrl"]
    )
    before = stored("acme")["e1"]

    job_id = set_days(stack, "acme", 90).body["job_id"]
    stack.run_jobs()

    assert stack.call("GET", f"/jobs/{job_id}").body["result"] == {"restamped": 1}
    assert stored("acme")["e1"] - before > 50 * DAY


def test_a_changed_parameter_is_applied_to_who_has_no_policy(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_days(stack, "own", 5)
    for tenant in ("acme", "own"):
        publish(stack, tenant, "e1", DAY)
    stack.relay()
    stack.run_jobs()
    keep(stack)
    before = stored("acme")["e1"], stored("own")["e1"]
    monkeypatch.setattr(wiring.keeping(), "default", timedelta(days=60))
    wiring.keeping()._read_at = None

    keep(stack)
    assert stack.run_jobs() == []

    assert stored("acme")["e1"] - before[0] == timedelta(days=30)
    assert stored("own")["e1"] == before[1]
    assert stack.call("GET", "/events/stats").body["total"] == 2
    wiring.keeping()._read_at = None


def test_an_event_that_took_anothers_place_survives_the_prune_of_that(stack: Stack) -> None:
    set_days(stack, "acme", 1)
    publish(stack, "acme", "e1", 3 * DAY)
    upkeep = wiring.upkeep_store()
    found = [
        s.entry
        for shard in range(2)
        for s in upkeep.oldest(TenantId("acme"), shard, above="", until=utc_now(), limit=9)[0]
    ]
    key = {"pk": {"S": "acme#e1"}, "sk": {"S": "test"}}
    boto3.client("dynamodb").delete_item(TableName="events-test", Key=key)
    publish(stack, "acme", "e1", timedelta(minutes=1))

    assert upkeep.remove(found, utc_now()) == 0
    assert ids(stack, "acme") == ["e1"]
