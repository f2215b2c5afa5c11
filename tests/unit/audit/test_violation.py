"""Five denials of one subject within a minute are one event, however often they are looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aetherlink.audit.model import Record
from aetherlink.audit.violation import violations
from aetherlink.kernel.time import to_text

START = datetime(2026, 11, 23, 8, 30, 5, tzinfo=UTC)


def denials(
    *seconds: float, subject: str = "ann", decision: str = "deny", tenant: str = "acme"
) -> list[Record]:
    return [
        Record(
            id=f"{subject}-{n}",
            at=to_text(START + timedelta(seconds=second)),
            tenant_id=tenant,
            subject=subject,
            key_id=None,
            roles=[],
            action="GET /events/recent",
            resource="/events/recent",
            service="command-center",
            decision=decision,
            status=403,
            reason="",
            ip="203.0.113.7",
            trace_id="t",
            changes=[],
        )
        for n, second in enumerate(seconds)
    ]


def test_five_within_a_minute_are_a_violation() -> None:
    found = violations(denials(0, 1, 2, 3, 50))

    assert len(found) == 1
    event = found[0].event(START)
    assert event.event_type == "security.rbac.violation"
    assert (event.tenant_id, event.severity) == ("acme", "warning")
    assert event.source == "aether-command-center"
    assert event.payload == {
        "subject": "ann",
        "key_id": None,
        "count": 5,
        "window_seconds": 60,
        "last_action": "GET /events/recent",
        "ip": "203.0.113.7",
    }


def test_four_are_none() -> None:
    assert violations(denials(0, 1, 2, 3)) == []


def test_five_within_61_seconds_are_none() -> None:
    assert violations(denials(0, 1, 2, 3, 60)) == []


def test_a_window_may_cross_the_minute() -> None:
    assert [v.minute for v in violations(denials(50, 51, 52, 53, 60))] == ["2026-11-23T08:31"]


def test_admitted_requests_do_not_count() -> None:
    assert violations([*denials(0, 1, 2, 3), *denials(4, decision="allow")]) == []


def test_subjects_and_tenants_are_counted_apart() -> None:
    mixed = denials(0, 1, 2) + denials(3, 4, subject="bob") + denials(5, 6, tenant="globex")

    assert violations(mixed) == []


def test_however_many_there_are_in_a_minute_it_is_the_same_event() -> None:
    few, many = violations(denials(0, 1, 2, 3, 4)), violations(denials(*range(40)))

    assert len(many) == 1
    assert few[0].event(START).event_id == many[0].event(START).event_id


def test_the_order_in_which_they_are_read_does_not_matter() -> None:
    there, back = denials(0, 1, 2, 3, 4, 5), denials(0, 1, 2, 3, 4, 5)[::-1]

    assert [v.event(START) for v in violations(there)] == [v.event(START) for v in violations(back)]
