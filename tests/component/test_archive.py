"""The archive on moto's S3: in, looked at, compared, and back; and what happens while S3 fails."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from aetherlink import wiring
from aetherlink.archive.model import Mark, Range, Report, Restore, hour_of
from aetherlink.archive.service import Archive
from aetherlink.events.model import Event
from aetherlink.kernel.errors import ForbiddenError
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.kernel.time import to_text, utc_now
from aetherlink.platform import config
from aetherlink.relay.records import from_stream
from tests.component.conftest import Stack

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
# An hour that is over; and one that is past the retention of 30 days.
CLOSED = (utc_now() - timedelta(hours=3)).replace(minute=10, second=0, microsecond=0)
LONG_AGO = CLOSED - timedelta(days=31)


def _forget() -> None:
    """Handlers and what they are wired to, so that the next import builds them anew."""
    for name in [name for name in sys.modules if name.startswith("functions.")]:
        del sys.modules[name]
    for cached in (config.config, *vars(wiring).values()):
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


@pytest.fixture
def archiving(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("ARCHIVE_ENABLED", "true")
    _forget()
    boto3.client("s3").create_bucket(Bucket="archive-test")
    yield stack
    _forget()


def publish(stack: Stack, event_id: str, at: datetime = CLOSED, tenant: str = "acme") -> None:
    answer = stack.publish(tenant=tenant, event_id=event_id, timestamp=to_text(at))
    assert answer.status == 200, answer.body


def mark(stack: Stack) -> None:
    """What the relay does."""
    wiring.due_store().mark(record.read() for record in from_stream(stack.records()))


def archive_at(now: datetime, tenant: TenantId | None = None) -> Report:
    return wiring.archive().archive_due(now, utc_now() + timedelta(minutes=4), tenant)


def archived(stack: Stack) -> Report:
    mark(stack)
    return archive_at(utc_now() + timedelta(minutes=3))


def objects() -> dict[str, bytes]:
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket="archive-test").get("Contents", [])
    return {
        o["Key"]: s3.get_object(Bucket="archive-test", Key=o["Key"])["Body"].read() for o in found
    }


def ids_in_parts() -> list[str]:
    return sorted(
        json.loads(line)["event_id"]
        for key, body in objects().items()
        if key.endswith(".ndjson.gz")
        for line in gzip.decompress(body).splitlines()
    )


def marks() -> list[Mark]:
    return wiring.due_store().closed(utc_now() + timedelta(days=400))


def listed(stack: Stack, tenant: str | None = "acme", **query: str) -> Any:
    answer = stack.call("GET", "/events/archive", tenant=tenant, query=query)
    assert answer.status == 200, answer.body
    return answer.body


def ask(stack: Stack, what: str, tenant: str | None = "acme", **body: Any) -> Any:
    """Start a job over everything, run it, and read what came of it."""
    wanted = {"since": to_text(LONG_AGO - timedelta(days=1)), "until": to_text(utc_now()), **body}
    started = stack.call("POST", f"/events/archive/{what}", tenant=tenant, body=wanted)
    assert started.status == 202, started.body
    assert stack.run_jobs() == []
    return stack.call("GET", f"/jobs/{started.body['job_id']}", tenant=tenant).body


def item(event_id: str) -> dict[str, Any] | None:
    key = {"pk": {"S": f"acme#{event_id}"}, "sk": {"S": "test"}}
    found = boto3.client("dynamodb").get_item(TableName="events-test", Key=key).get("Item")
    return dict(found) if found else None


def remove(event_id: str) -> None:
    """What TTL does."""
    key = {"pk": {"S": f"acme#{event_id}"}, "sk": {"S": "test"}}
    boto3.client("dynamodb").delete_item(TableName="events-test", Key=key)


@pytest.fixture
def broken_s3(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """S3 does not answer while the list is not empty."""
    broken = [True]
    make = BaseClient._make_api_call  # type: ignore[attr-defined] # botocore's own seam

    def call(client: Any, operation: str, arguments: Any) -> Any:
        if broken and client.meta.service_model.service_name == "s3":
            raise EndpointConnectionError(endpoint_url="https://s3.amazonaws.com")
        return make(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return broken


def test_a_closed_hour_goes_into_the_archive_with_its_manifest(archiving: Stack) -> None:
    publish(archiving, "e2", CLOSED + timedelta(minutes=2))
    publish(archiving, "e1")
    publish(archiving, "other", tenant="globex")

    report = archived(archiving)

    assert (report.hours, report.events, report.waiting, report.failures) == (2, 3, 0, ())
    folder = f"events/tenant=acme/date={CLOSED:%Y-%m-%d}/hour={CLOSED:%H}"
    found = objects()
    manifest = json.loads(found[f"{folder}/manifest.json"])
    (part,) = manifest["parts"]
    assert part["key"] == f"{folder}/part-{part['sha256'][:16]}.ndjson.gz"
    assert (manifest["tenant_id"], manifest["hour"]) == ("acme", hour_of(CLOSED))
    assert (manifest["count"], part["count"], part["bytes"]) == (2, 2, len(found[part["key"]]))
    lines = [json.loads(line) for line in gzip.decompress(found[part["key"]]).splitlines()]
    assert [line["event_id"] for line in lines] == ["e1", "e2"]
    assert lines[0] == archiving.recent(tenant="acme", since=to_text(CLOSED))[1]
    assert marks() == []


def test_an_hour_that_is_open_or_was_just_touched_waits(archiving: Stack) -> None:
    publish(archiving, "now", utc_now())
    publish(archiving, "late")
    mark(archiving)

    report = archive_at(utc_now() + timedelta(minutes=1))

    assert (report.hours, objects()) == (0, {})
    assert len(wiring.due_store().closed(utc_now() + timedelta(days=1))) == 2


def test_a_late_event_makes_a_second_part_and_nothing_is_in_twice(archiving: Stack) -> None:
    publish(archiving, "e1")
    archived(archiving)
    publish(archiving, "late", CLOSED + timedelta(minutes=1))

    report = archived(archiving)

    assert (report.hours, report.events) == (1, 1)
    assert ids_in_parts() == ["e1", "late"]
    (manifest,) = listed(archiving)["objects"]
    assert (manifest["count"], len(manifest["parts"])) == (2, 2)
    assert json.loads(objects()[manifest["key"]]) == {
        name: value for name, value in manifest.items() if name != "key"
    }


def test_a_record_that_is_relayed_again_adds_nothing(archiving: Stack) -> None:
    publish(archiving, "e1")
    records = archiving.records()
    for _ in range(2):
        wiring.due_store().mark(record.read() for record in from_stream(records))
        archive_at(utc_now() + timedelta(minutes=3))

    assert ids_in_parts() == ["e1"]
    assert marks() == []


def test_a_mark_is_never_made_older(archiving: Stack) -> None:
    publish(archiving, "e1")
    publish(archiving, "e2")
    first, second = (record.read() for record in from_stream(archiving.records()))

    wiring.due_store().mark([second])
    wiring.due_store().mark([first])

    assert [m.touched_at for m in marks()] == [second.received_at]


def test_an_event_that_comes_while_its_hour_is_archived_keeps_the_mark(
    archiving: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(archiving, "e1")
    mark(archiving)
    archive = wiring.archive()
    file = archive._filing.file  # type: ignore[union-attr] # it is on here

    def meanwhile(*arguments: Any) -> Any:
        filed = file(*arguments)
        publish(archiving, "e2")
        mark(archiving)
        return filed

    monkeypatch.setattr(archive._filing, "file", meanwhile)
    now = utc_now() + timedelta(minutes=3)
    archive.archive_due(now, utc_now() + timedelta(minutes=4))

    assert ids_in_parts() == ["e1"]
    assert archive_at(now).events == 1
    assert ids_in_parts() == ["e1", "e2"]


def test_an_hour_that_never_comes_to_rest_is_archived_and_stays_marked(archiving: Stack) -> None:
    publish(archiving, "e1")
    mark(archiving)
    (waiting,) = marks()
    wiring.due_store().renew(waiting, utc_now() - timedelta(hours=4))

    report = archive_at(utc_now())

    assert (report.hours, report.waiting, ids_in_parts()) == (1, 0, ["e1"])
    (left,) = marks()
    assert left.waiting_since > utc_now() - timedelta(minutes=3)


def test_a_large_hour_is_split_and_goes_on_where_the_deadline_stopped_it(
    archiving: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aetherlink.archive.model.MAX_EVENTS", 50)
    for number in range(230):
        publish(archiving, f"e{number:03}", CLOSED + timedelta(seconds=number))
    mark(archiving)
    now = utc_now() + timedelta(minutes=3)

    # The deadline comes as soon as the hour was begun.
    archive = wiring.archive()
    clock = iter([utc_now(), utc_now(), utc_now(), *[now + timedelta(hours=1)] * 99])
    archive._now = lambda: next(clock)
    archive._filing._now = archive._now  # type: ignore[union-attr] # it is on here
    first = archive.archive_due(now, now)
    second = archive_at(now)

    assert 0 < first.events < 230
    assert (first.hours, first.waiting) == (0, 1)
    assert (second.hours, first.events + second.events) == (1, 230)
    assert ids_in_parts() == [f"e{number:03}" for number in range(230)]
    (manifest,) = listed(archiving)["objects"]
    assert max(part["count"] for part in manifest["parts"]) == 50


def test_what_was_stored_before_the_archive_was_turned_on_is_archived_too(
    archiving: Stack,
) -> None:
    publish(archiving, "old", LONG_AGO)
    publish(archiving, "new")
    archiving.records()
    # As the relay did then: it counted, and marked nothing.
    wiring.journal().enter([e for t in (LONG_AGO, CLOSED) for e in stored_at(t)])
    assert marks() == []

    run_keeper()

    assert ids_in_parts() == ["new", "old"]
    assert marks() == []


def test_a_prune_takes_nothing_for_archived_that_was_never_marked(archiving: Stack) -> None:
    publish(archiving, "old", LONG_AGO)
    long_since = utc_now() + timedelta(hours=1)
    (entry,) = [
        s.entry
        for shard in range(2)
        for s in wiring.upkeep_store().oldest(ACME, shard, above="", until=CLOSED, limit=9)[0]
    ]
    archive = wiring.archive()
    archive._now = lambda: long_since

    assert archive.secure(ACME, [entry]) == [entry]
    assert ids_in_parts() == ["old"]


def stored_at(instant: datetime) -> list[Event]:
    pages = wiring.event_store().stored_between(ACME, instant, instant + timedelta(hours=1))
    return [event for page in pages for event in page]


def run_keeper() -> None:
    keeper = wiring.keeper()
    later = utc_now() + timedelta(minutes=5)
    keeper._now = keeper._archive._now = lambda: later
    keeper.run()


def test_one_tenant_may_be_archived_alone(archiving: Stack) -> None:
    publish(archiving, "e1")
    publish(archiving, "other", tenant="globex")
    mark(archiving)
    hours = {hour_of(CLOSED), "2020-01-01T00"}

    archive_at(utc_now() + timedelta(minutes=3), ACME)

    assert ids_in_parts() == ["e1"]
    assert wiring.archive().unarchived(ACME, hours) == set()
    assert wiring.archive().unarchived(GLOBEX, hours) == {hour_of(CLOSED)}


def test_while_s3_fails_nothing_expires_and_each_day_it_is_said_once(
    archiving: Stack, broken_s3: list[bool]
) -> None:
    # Past its retention: it stays for 48 hours after it came, no longer.
    publish(archiving, "old", LONG_AGO)
    publish(archiving, "new")
    mark(archiving)
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + timedelta(days=2, hours=1)

    soon = archive_at(utc_now() + timedelta(minutes=3))
    assert (soon.hours, soon.waiting, soon.prolonged) == (0, 2, 0)
    assert [f.error for f in soon.failures] == [
        "The bucket archive-test could not be reached; try again"
    ] * 2
    runs = [first + timedelta(hours=hours) for hours in (0, 1, 20, 24, 40, 46)]
    for now in runs:
        report = archive_at(now)
        assert (report.hours, report.waiting) == (0, 2)
        kept = item("old")
        assert kept is not None
        assert int(kept["expires_at"]["N"]) >= (now + timedelta(hours=24)).timestamp()
        assert report.behind_hours >= 24

    store = wiring.event_store()
    said = [
        event
        for day in (-1, 0, 1, 2, 3)
        for event in store.by_id(
            ACME, f"archive-failed-acme-{first + timedelta(days=day):%Y-%m-%d}"
        )
    ]
    # The first run of each day says it.
    days = {now.date(): now for now in reversed(runs)}
    assert [event.timestamp for event in said] == sorted(days.values())
    assert (said[0].event_type, str(said[0].severity)) == ("ops.archive.failed", "error")
    assert said[0].payload["tenant"] == "acme"
    assert said[0].payload["oldest_hour"] == hour_of(LONG_AGO)
    assert said[0].payload["waiting"] == 2
    assert said[0].payload["hours_behind"] >= 24
    assert said[0].payload["error"] == "The bucket archive-test could not be reached; try again"

    broken_s3.clear()
    after = archive_at(first + timedelta(hours=48))
    assert (after.hours, after.behind_hours, after.failures) == (2, 0, ())
    assert ids_in_parts() == ["new", "old"]
    assert marks() == []


def test_an_event_that_is_gone_is_not_put_back_by_keeping_it_longer(
    archiving: Stack, broken_s3: list[bool]
) -> None:
    publish(archiving, "old", LONG_AGO)
    entries = list(
        wiring.event_store().expiring_between(
            ACME, LONG_AGO, utc_now(), before=utc_now() + timedelta(days=3)
        )
    )
    remove("old")

    assert wiring.event_store().keep_until(entries[0], utc_now() + timedelta(days=5)) is False
    assert item("old") is None


def test_one_hour_that_fails_holds_up_no_other(archiving: Stack) -> None:
    publish(archiving, "e1", LONG_AGO)
    publish(archiving, "e2")
    archived(archiving)
    (damaged,) = [o["parts"][0]["key"] for o in listed(archiving)["objects"][1:]]
    boto3.client("s3").put_object(Bucket="archive-test", Key=damaged, Body=b"x")
    publish(archiving, "late1", LONG_AGO)
    publish(archiving, "late2")

    report = archived(archiving)

    assert (report.hours, report.waiting) == (1, 1)
    assert [(f.hour, damaged in f.error) for f in report.failures] == [(hour_of(LONG_AGO), True)]


def test_the_keeper_says_how_far_behind_it_is(
    archiving: Stack, capsys: pytest.CaptureFixture[str], broken_s3: list[bool]
) -> None:
    handler = importlib.import_module("functions.retention.keeper").lambda_handler
    publish(archiving, "e1")
    mark(archiving)
    (waiting,) = marks()
    wiring.due_store().renew(waiting, utc_now() - timedelta(hours=30, minutes=5))

    def measured() -> dict[str, Any]:
        handler({}, None)
        lines = [json.loads(x) for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
        (metric,) = [line for line in lines if "_aws" in line]
        return dict(metric)

    behind = measured()
    broken_s3.clear()
    caught_up = measured()

    assert (behind["ArchiveBehindHours"], behind["Stage"]) == (30, "local")
    (directive,) = behind["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("AetherLink", [["Stage"]])
    assert caught_up["ArchiveBehindHours"] == 0


def test_the_list_goes_newest_first_in_pages_and_by_time(archiving: Stack) -> None:
    hours = [CLOSED - timedelta(hours=n) for n in range(5)]
    for number, at in enumerate(hours):
        publish(archiving, f"e{number}", at)
    archived(archiving)

    first = listed(archiving, limit="3")
    rest = listed(archiving, limit="3", cursor=first["next_cursor"])
    within = listed(archiving, since=to_text(hours[3]), until=to_text(hours[1]))

    assert first["archive_enabled"] is True
    assert first["archive_dir"] == "s3://archive-test/events"
    assert [o["hour"] for o in first["objects"]] == [hour_of(at) for at in hours[:3]]
    assert [o["hour"] for o in rest["objects"]] == [hour_of(at) for at in hours[3:]]
    assert (first["count"], rest["count"], rest["next_cursor"]) == (3, 2, None)
    assert [o["hour"] for o in within["objects"]] == [hour_of(at) for at in hours[1:4]]


def test_who_sees_every_tenant_lists_all_and_a_tenant_its_own(archiving: Stack) -> None:
    publish(archiving, "e1")
    publish(archiving, "e2", tenant="globex")
    archived(archiving)

    def tenants(tenant: str | None, **query: str) -> list[str]:
        return [o["tenant_id"] for o in listed(archiving, tenant, **query)["objects"]]

    assert tenants(None) == ["globex", "acme"]
    assert tenants("acme") == ["acme"]
    assert tenants(None, tenant_id="globex") == ["globex"]
    assert tenants("initech") == []
    cursor = listed(archiving, None, limit="1")["next_cursor"]
    assert tenants(None, limit="1", cursor=cursor) == ["acme"]
    foreign = archiving.call("GET", "/events/archive", tenant="acme", query={"cursor": cursor})
    assert foreign.status == 400


def test_a_stranger_names_no_tenant_that_is_not_its_own(archiving: Stack) -> None:
    stranger = Caller("s", frozenset({Role.OPERATOR}), GLOBEX)
    asked = {"tenant_id": "acme", "since": "2026-11-21", "until": "2026-11-22"}

    with pytest.raises(ForbiddenError):
        wiring.archive().verify(stranger, Range.model_validate(asked))
    with pytest.raises(ForbiddenError):
        wiring.archive().restore(stranger, Restore.model_validate(asked))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events/archive"),
        ("POST", "/events/archive/verify"),
        ("POST", "/events/archive/restore"),
    ],
)
def test_the_archive_is_for_operators(archiving: Stack, method: str, path: str) -> None:
    assert archiving.call(method, path, roles="agent", tenant="acme").status == 403
    assert archiving.call(method, path, roles=None).status == 401


def test_a_range_that_ends_before_it_begins_is_refused(archiving: Stack) -> None:
    body = {"since": "2026-11-22T00:00:00Z", "until": "2026-11-21T00:00:00Z"}

    answer = archiving.call("POST", "/events/archive/verify", tenant="acme", body=body)

    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == ["/until"]


@pytest.mark.parametrize("bound", ["since", "until"])
@pytest.mark.parametrize(
    "at",
    ["0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00-23:59",
     "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59+23:59"],
)  # fmt: skip
def test_the_list_takes_the_first_and_the_last_instant_there_is(
    archiving: Stack, bound: str, at: str
) -> None:
    publish(archiving, "e1")
    archived(archiving)
    is_within = (bound == "since") == at.startswith("0001")

    assert listed(archiving, **{bound: at})["count"] == int(is_within)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_an_instant_beyond_them_is_refused(archiving: Stack, at: str) -> None:
    for name in ("since", "until"):
        answer = archiving.call("GET", "/events/archive", tenant="acme", query={name: at})
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, f"query/{name}")
        body = {"since": "2026-11-21", "until": "2026-11-22", name: at}
        for what in ("verify", "restore"):
            path = f"/events/archive/{what}"
            answer = archiving.call("POST", path, tenant="acme", body=body)
            assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, f"/{name}")


@pytest.mark.parametrize("what", ["verify", "restore"])
def test_a_job_over_all_of_time_comes_to_its_end(archiving: Stack, what: str) -> None:
    publish(archiving, "e1", LONG_AGO)
    archived(archiving)
    remove("e1")

    job = ask(archiving, what, since="0001-01-01", until="9999-12-31T23:59:59.999999Z")

    assert (job["state"], job["done"], job["result"]["problems"]) == ("done", 1, [])
    shown = ["e1"] if what == "restore" else []
    assert [event["event_id"] for event in archiving.recent(tenant="acme")] == shown


FORGED = ["", "\x00", "1\x00", "\ud800", "~\x00", "é", "9" * 1100, "globex#", "2026-11-23",
          "2026-11-23T08#", "2026-11-23T08#a b", "2026-11-23T08#globex\n"]  # fmt: skip


@pytest.mark.parametrize("position", FORGED)
def test_a_cursor_with_a_made_up_place_is_refused(archiving: Stack, position: str) -> None:
    for tenant in ("acme", None):
        cursor = encode_cursor(position, "archive", tenant or "*", "", "")
        answer = archiving.call("GET", "/events/archive", tenant=tenant, query={"cursor": cursor})
        assert answer.status == 400


def test_days_are_a_number(archiving: Stack) -> None:
    body = {"since": "2026-11-21", "until": "2026-11-22", "keep_days": True}

    answer = archiving.call("POST", "/events/archive/restore", tenant="acme", body=body)

    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == ["/keep_days"]


def test_a_whole_archive_verifies_without_problems(archiving: Stack) -> None:
    for number in range(3):
        publish(archiving, f"e{number}", CLOSED - timedelta(hours=number))
    publish(archiving, "other", tenant="globex")
    archived(archiving)
    publish(archiving, "late")
    archived(archiving)

    own, everyone = ask(archiving, "verify"), ask(archiving, "verify", tenant=None)

    assert (own["state"], own["kind"], own["done"], own["total"]) == (
        "done",
        "archive.verify",
        3,
        3,
    )
    assert own["result"] == {"objects": 4, "events": 4, "problems": []}
    assert everyone["result"] == {"objects": 5, "events": 5, "problems": []}
    assert (everyone["done"], everyone["total"]) == (4, 4)


def test_nothing_in_the_range_is_nothing_to_verify(archiving: Stack) -> None:
    job = ask(archiving, "verify")

    assert (job["state"], job["done"], job["total"]) == ("done", 0, 0)
    assert job["result"] == {"objects": 0, "events": 0, "problems": []}


def test_verify_finds_what_was_damaged_or_lost(archiving: Stack) -> None:
    for number in range(4):
        publish(archiving, f"e{number}", CLOSED - timedelta(hours=number))
    archived(archiving)
    newest, second, third, _whole = listed(archiving)["objects"]
    s3 = boto3.client("s3")
    s3.put_object(Bucket="archive-test", Key=newest["parts"][0]["key"], Body=gzip.compress(b"{}"))
    s3.delete_object(Bucket="archive-test", Key=second["parts"][0]["key"])
    s3.put_object(Bucket="archive-test", Key=third["key"], Body=b"{}")

    result = ask(archiving, "verify")["result"]

    problems = {problem["key"]: problem["detail"] for problem in result["problems"]}
    assert problems.keys() == {
        newest["parts"][0]["key"],
        second["parts"][0]["key"],
        third["key"],
    }
    assert problems[newest["parts"][0]["key"]].startswith("has the SHA-256")
    assert problems[second["parts"][0]["key"]] == "is missing"
    assert (result["objects"], result["events"]) == (4, 2)


def test_restored_events_come_back_as_they_were_and_are_listed_again(archiving: Stack) -> None:
    publish(archiving, "e1", LONG_AGO)
    publish(archiving, "e2", LONG_AGO + timedelta(minutes=1))
    before = {name: item(name) for name in ("e1", "e2")}
    archived(archiving)
    remove("e1")
    remove("e2")
    assert archiving.recent(tenant="acme") == []

    job = ask(archiving, "restore", keep_days=2)

    assert job["result"] == {"restored": 2, "already_there": 0, "problems": []}
    assert (job["done"], job["total"]) == (1, 1)
    found = archiving.recent(tenant="acme")
    assert [event["event_id"] for event in found] == ["e2", "e1"]
    for event in found:
        stays = datetime.fromisoformat(event["restored_until"]) - utc_now()
        assert timedelta(days=1, hours=23) < stays < timedelta(days=2)
        after = item(event["event_id"])
        assert after is not None
        changed = {"restored_until", "expires_at"}
        assert {n: v for n, v in after.items() if n not in changed} == {
            n: v for n, v in (before[event["event_id"]] or {}).items() if n not in changed
        }
        until = datetime.fromtimestamp(int(after["expires_at"]["N"]), UTC)
        assert until >= utc_now() + timedelta(days=1, hours=23)
    assert archiving.recent(tenant="globex") == []
    assert archiving.call("GET", "/events/e1", tenant="acme").status == 200


def test_restored_events_of_the_platform_show_in_every_tenants_list(archiving: Stack) -> None:
    body = {"event_type": "lead.created", "source": "test", "payload": {}, "event_id": "s1",
            "timestamp": to_text(LONG_AGO)}  # fmt: skip
    archiving.call("POST", "/events/publish", roles="admin", tenant="system", body=body)
    archived(archiving)
    key = {"pk": {"S": "system#s1"}, "sk": {"S": "test"}}
    boto3.client("dynamodb").delete_item(TableName="events-test", Key=key)
    wanted = {"since": to_text(LONG_AGO), "until": to_text(CLOSED), "keep_days": 2}
    assert archiving.recent(tenant="acme") == []

    started = archiving.call(
        "POST", "/events/archive/restore", roles="admin", tenant="system", body=wanted
    )
    assert (started.status, archiving.run_jobs()) == (202, [])

    for tenant in ("acme", "globex", "system", None):
        assert [event["event_id"] for event in archiving.recent(tenant=tenant)] == ["s1"]


def test_what_is_there_and_shown_is_left_alone(archiving: Stack) -> None:
    publish(archiving, "e1")
    publish(archiving, "outside", CLOSED + timedelta(minutes=20))
    archived(archiving)
    remove("outside")

    job = ask(archiving, "restore", until=to_text(CLOSED + timedelta(minutes=20)))

    assert job["result"] == {"restored": 0, "already_there": 1, "problems": []}
    assert "restored_until" not in (item("e1") or {})
    assert item("outside") is None


def test_what_is_there_but_past_its_retention_is_shown_again(archiving: Stack) -> None:
    publish(archiving, "e1", LONG_AGO)
    archived(archiving)

    job = ask(archiving, "restore")

    assert job["result"]["restored"] == 1
    assert [event["event_id"] for event in archiving.recent(tenant="acme")] == ["e1"]


def test_a_second_restore_keeps_them_longer_and_what_the_first_one_showed(
    archiving: Stack,
) -> None:
    publish(archiving, "older", LONG_AGO - timedelta(hours=5))
    publish(archiving, "old", LONG_AGO)
    archived(archiving)
    remove("older")
    remove("old")
    ask(archiving, "restore", keep_days=1)

    again = ask(archiving, "restore", keep_days=9, since=to_text(LONG_AGO))
    shorter = ask(archiving, "restore", keep_days=3, since=to_text(LONG_AGO))

    assert again["result"]["restored"] == 1
    assert shorter["result"] == {"restored": 0, "already_there": 1, "problems": []}
    assert [e["event_id"] for e in archiving.recent(tenant="acme")] == ["old", "older"]


def test_a_damaged_part_is_not_restored_from(archiving: Stack) -> None:
    publish(archiving, "e1", LONG_AGO)
    publish(archiving, "e2", LONG_AGO + timedelta(hours=1))
    archived(archiving)
    remove("e1")
    remove("e2")
    part = listed(archiving)["objects"][1]["parts"][0]["key"]
    boto3.client("s3").put_object(Bucket="archive-test", Key=part, Body=gzip.compress(b"{}"))

    result = ask(archiving, "restore")["result"]

    assert (result["restored"], [p["key"] for p in result["problems"]]) == (1, [part])
    assert (item("e1"), item("e2") is None) == (None, False)


def test_a_restored_event_is_not_archived_again(archiving: Stack) -> None:
    publish(archiving, "e1", LONG_AGO)
    archived(archiving)
    remove("e1")
    ask(archiving, "restore")
    publish(archiving, "late", LONG_AGO)

    archived(archiving)

    assert ids_in_parts() == ["e1", "late"]


def test_only_who_started_a_job_reads_it(archiving: Stack) -> None:
    publish(archiving, "e1")
    archived(archiving)
    job_id = ask(archiving, "verify")["job_id"]

    for roles, tenant in (("admin", "acme"), ("operator", "globex"), ("operator", None)):
        assert archiving.call("GET", f"/jobs/{job_id}", roles=roles, tenant=tenant).status == 404


def test_s3_that_does_not_answer_leaves_a_job_open(archiving: Stack, broken_s3: list[bool]) -> None:
    broken_s3.clear()
    publish(archiving, "e1")
    archived(archiving)
    broken_s3.append(True)
    body = {"since": to_text(LONG_AGO), "until": to_text(utc_now())}
    started = archiving.call("POST", "/events/archive/verify", tenant="acme", body=body).body

    assert len(archiving.run_jobs()) == 1
    broken_s3.clear()
    assert archiving.run_jobs() == []

    job = archiving.call("GET", f"/jobs/{started['job_id']}", tenant="acme").body
    assert (job["state"], job["result"]["events"]) == ("done", 1)


def test_with_the_archive_off_there_is_nothing_to_see_and_nothing_to_ask_for(stack: Stack) -> None:
    body = {"since": "2026-11-21", "until": "2026-11-22"}

    assert listed(stack) == {
        "status": "ok",
        "archive_enabled": False,
        "archive_dir": None,
        "count": 0,
        "objects": [],
        "next_cursor": None,
    }
    for what in ("verify", "restore"):
        answer = stack.call("POST", f"/events/archive/{what}", tenant="acme", body=body)
        assert answer.status == 409
        assert "ArchiveEnabled" in answer.body["detail"]
    off: Archive = wiring.archive()
    assert off.archive_due(utc_now(), utc_now()) == Report()
    assert off.unarchived(ACME, ["2026-11-21T00"]) == set()
