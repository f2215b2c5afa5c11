"""The archive's rules: when an hour goes in, what a part is, what a request may say."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from aetherlink.archive.model import (
    DamagedError,
    Known,
    Manifest,
    Mark,
    Pack,
    Part,
    Range,
    Restore,
    end_of,
    event_in,
    hour_of,
    lines,
    marks_of,
    part_of,
    start_of,
)
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.tenancy import TenantId

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
EIGHT = datetime(2026, 11, 23, 8, tzinfo=UTC)
MANIFEST = Manifest(ACME, "2026-11-23T08")


def an_event(minute: int = 0, tenant: TenantId = ACME, **changed: Any) -> Event:
    made = announce(
        "service.unregistered",
        source="test",
        tenant_id=tenant,
        payload={"service": "a", "share": 0.1, "name": "Zoë"},
        now=EIGHT + timedelta(minutes=minute),
        event_id=f"e{minute}",
        severity=Severity.WARNING,
    )
    return made.model_copy(update=changed)


def a_mark(touched: timedelta, waiting: timedelta | None = None) -> Mark:
    """A mark of the hour from eight, by when after eight it was touched."""
    since = EIGHT + (touched if waiting is None else waiting)
    return Mark(ACME, "2026-11-23T08", EIGHT + touched, since)


def packed(*events: Event) -> tuple[Part, bytes]:
    pack = Pack()
    for event in events:
        pack.add(event)
    body = pack.close()
    return part_of(MANIFEST, body, pack.count), body


def test_an_hour_is_named_by_its_beginning() -> None:
    assert hour_of(EIGHT + timedelta(minutes=59, seconds=59)) == "2026-11-23T08"
    assert start_of("2026-11-23T08") == EIGHT
    assert end_of("2026-11-23T08") == EIGHT + timedelta(hours=1)


@pytest.mark.parametrize(
    ("mark", "minutes", "is_due"),
    [
        (a_mark(timedelta(minutes=5)), 70, False),
        (a_mark(timedelta(minutes=5)), 71, True),
        # Touched a minute ago: more may be on its way to the index.
        (a_mark(timedelta(minutes=70)), 71, False),
        (a_mark(timedelta(minutes=70)), 73, True),
        # A late event, days after.
        (a_mark(timedelta(days=3)), 3 * 1440 + 3, True),
        # An hour that never comes to rest.
        (a_mark(timedelta(minutes=300), waiting=timedelta(minutes=121)), 301, False),
        (a_mark(timedelta(minutes=301), waiting=timedelta(minutes=121)), 302, True),
    ],
)
def test_an_hour_is_due_when_it_is_over_and_at_rest_or_has_waited_long(
    mark: Mark, minutes: int, is_due: bool
) -> None:
    assert mark.is_due(EIGHT + timedelta(minutes=minutes)) is is_due


def test_a_batch_marks_each_tenant_and_hour_once_by_event_time() -> None:
    late = an_event(3, received_at=EIGHT + timedelta(hours=30))

    marks = marks_of([an_event(1), late, an_event(2), an_event(61), an_event(1, GLOBEX)])

    assert [(m.tenant_id, m.hour) for m in marks] == [
        ("acme", "2026-11-23T08"),
        ("acme", "2026-11-23T09"),
        ("globex", "2026-11-23T08"),
    ]
    assert marks[0].touched_at == EIGHT + timedelta(hours=30)
    assert marks[0].waiting_since == EIGHT + timedelta(minutes=1)


def test_the_same_events_give_the_same_object() -> None:
    assert packed(an_event(1), an_event(2)) == packed(an_event(1), an_event(2))


def test_a_part_lies_under_its_tenant_and_hour_and_is_named_by_its_content() -> None:
    part, _ = packed(an_event())

    assert part.key == (
        f"events/tenant=acme/date=2026-11-23/hour=08/part-{part.sha256[:16]}.ndjson.gz"
    )
    assert MANIFEST.key == "events/tenant=acme/date=2026-11-23/hour=08/manifest.json"


def test_an_event_comes_back_as_it_was() -> None:
    event = an_event(7, attributes={"dataref": "x"}, client_ip="203.0.113.7")
    part, body = packed(event)

    (line,) = lines(part, body)

    assert event_in(line) == event
    assert event_in(line).position == event.position


def test_an_object_that_is_not_what_the_manifest_says_is_found_out() -> None:
    part, body = packed(an_event(1), an_event(2))
    short = Part(part.key, 3, part.sha256, part.bytes)

    def complaint(given: Part, content: bytes | None) -> str:
        with pytest.raises(DamagedError) as damaged:
            list(lines(given, content))
        return str(damaged.value)

    assert complaint(part, None) == "is missing"
    assert complaint(part, body[:-1] + b"x").startswith("has the SHA-256")
    assert complaint(short, body) == "has 2 events, the manifest says 3"
    for content in (b"not gzip", gzip.compress(b"{"), gzip.compress(b"7\n"), body[:-9]):
        given = part_of(MANIFEST, content, 2)
        assert complaint(given, content).startswith("cannot be read")


def test_a_pack_is_full_by_count_or_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aetherlink.archive.model.MAX_EVENTS", 2)
    pack = Pack()
    pack.add(an_event(1))
    assert not pack.is_full
    pack.add(an_event(2))
    assert pack.is_full

    monkeypatch.setattr("aetherlink.archive.model.MAX_RAW_BYTES", 10)
    small = Pack()
    small.add(an_event(1))
    assert small.is_full


def test_what_is_known_is_told_by_its_position() -> None:
    known = Known()
    assert an_event(1).position not in known
    known.add(an_event(1).position)
    assert an_event(1).position in known
    assert an_event(2).position not in known


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"until": "2026-11-23T08:00:00Z"}, "since"),
        ({"since": "2026-11-23T08:00:00Z"}, "until"),
        ({"since": "2026-11-23T08:00:00Z", "until": "2026-11-23T08:00:00Z"}, "until"),
        ({"since": "2026-11-23T08:00:00Z", "until": "2026-11-22T08:00:00Z"}, "until"),
        ({"since": "yesterday", "until": "2026-11-22T08:00:00Z"}, "since"),
        ({"since": 7, "until": "2026-11-22T08:00:00Z"}, "since"),
        ({"since": "2026-11-21", "until": "2026-11-22", "sinze": "x"}, "sinze"),
    ],
)
def test_a_range_that_is_none_is_refused_by_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Range.model_validate(given)

    assert refused.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize("days", [0, 31])
def test_restored_events_stay_for_1_to_30_days(days: int) -> None:
    asked = {"since": "2026-11-21", "until": "2026-11-22"}

    assert Restore.model_validate(asked).keep_days == 7
    with pytest.raises(ValidationError):
        Restore.model_validate({**asked, "keep_days": days})


def test_a_manifest_is_plain_json() -> None:
    part, _ = packed(an_event())
    manifest = MANIFEST.with_part(part, EIGHT)

    assert json.loads(json.dumps(manifest.body())) == {
        "tenant_id": "acme",
        "hour": "2026-11-23T08",
        "parts": [{"key": part.key, "count": 1, "sha256": part.sha256, "bytes": part.bytes}],
        "count": 1,
        "archived_at": "2026-11-23T08:00:00.000000Z",
    }
