"""Publishing events and reading them back."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from aetherlink.events.model import Filters
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.time import from_text, to_text
from tests.component.conftest import Answer, Stack

HEAL = {"service": "a", "action": "restart", "error": "boom"}


def publish(stack: Stack, **given: Any) -> Answer:
    """A lead event unless `given` says otherwise; ABSENT leaves a field out."""
    called = {key: given.pop(key) for key in ("roles", "tenant") if key in given}
    body = {"event_type": "lead.created", "source": "crm", "payload": {}, **given}
    body = {name: value for name, value in body.items() if value is not ABSENT}
    return stack.call("POST", "/events/publish", body=body, **called)


ABSENT = object()


def ago(**given: float) -> str:
    return to_text(datetime.now(UTC) - timedelta(**given))


def ids(stack: Stack, tenant: str | None = None, **query: str) -> list[str]:
    return [event["event_id"] for event in stack.recent(tenant=tenant, **query)]


# ---- publishing


def test_a_published_event_is_acknowledged(stack: Stack) -> None:
    answer = publish(stack, event_id="e1")

    received_at = answer.body.pop("received_at")
    assert abs(datetime.now(UTC) - from_text(received_at)) < timedelta(seconds=30)
    assert answer.body == {
        "status": "ok",
        "stored": True,
        "event_type": "lead.created",
        "event_id": "e1",
        "duplicate": False,
    }


def test_an_event_without_an_id_gets_a_uuid7(stack: Stack) -> None:
    event_id = publish(stack).body["event_id"]

    assert (len(event_id), event_id[14]) == (36, "7")
    assert ids(stack) == [event_id]


def test_an_event_is_read_back_flat_with_what_we_know_of_it(stack: Stack) -> None:
    payload = {"ratio": 0.1, "big": 12345678901234567890, "deep": [{"x": None}], "ü": "🚀"}
    answer = publish(
        stack,
        event_id="e1",
        payload=payload,
        timestamp=ago(minutes=1),
        severity="warning",
        schema_version=2,
        roles="agent",
        tenant="acme",
    )

    event = stack.call("GET", "/events/e1", tenant="acme").body
    kept = ("event_id", "event_type", "source", "tenant_id", "severity", "payload")
    assert {name: event[name] for name in kept} == {
        "event_id": "e1",
        "event_type": "lead.created",
        "source": "crm",
        "tenant_id": "acme",
        "severity": "warning",
        "payload": payload,
    }
    assert event["received_at"] == answer.body["received_at"]
    assert (event["client_ip"], event["trace_id"]) == ("203.0.113.7", "req-1")
    assert (event["published_by"], event["schema_version"]) == ("dev:agent", "2")


@pytest.mark.parametrize("roles", ["agent", "operator", "admin"])
def test_a_publisher_publishes(stack: Stack, roles: str) -> None:
    assert publish(stack, roles=roles).status == 200


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"event_type": ABSENT}, "event_type is required"),
        ({"event_type": None}, "event_type is required"),
        ({"event_type": ""}, "event_type is required"),
        ({"event_type": ABSENT, "source": ABSENT}, "event_type is required"),
        ({"event_type": "x"}, "Unknown event_type 'x'"),
        ({"event_type": "Lead.Created"}, "Unknown event_type 'Lead.Created'"),
        ({"event_type": "x", "source": ABSENT}, "Unknown event_type 'x'"),
        ({"source": ABSENT}, "Missing required field: source"),
        ({"source": None}, "Missing required field: source"),
        ({"source": ""}, "Missing required field: source"),
        ({"payload": ABSENT}, "Missing required field: payload"),
        ({"payload": None}, "Missing required field: payload"),
        ({"source": ABSENT, "payload": ABSENT}, "Missing required field: source"),
    ],
)
def test_a_missing_field_or_unknown_type_is_400(stack: Stack, given: Any, detail: str) -> None:
    answer = publish(stack, **given)

    assert (answer.status, answer.body["detail"]) == (400, detail)


@pytest.mark.parametrize("raw", ["[]", "1", '"lead.created"', "null", "true", '[{"a":1}]'])
def test_a_body_that_is_no_object_is_422(stack: Stack, raw: str) -> None:
    answer = stack.call("POST", "/events/publish", raw=raw)

    assert (answer.status, answer.body["title"]) == (422, "Unprocessable content")


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"event_type": 7}, "/event_type"),
        ({"source": 7}, "/source"),
        ({"source": "s" * 257}, "/source"),
        ({"payload": []}, "/payload"),
        ({"payload": "text"}, "/payload"),
        ({"timestamp": "yesterday"}, "/timestamp"),
        ({"timestamp": 1_700_000_000}, "/timestamp"),
        ({"timestamp": "2026-02-30T00:00:00Z"}, "/timestamp"),
        ({"severity": "fatal"}, "/severity"),
        ({"severity": 3}, "/severity"),
        ({"severity": ""}, "/severity"),
        ({"event_id": ""}, "/event_id"),
        ({"event_id": "x" * 129}, "/event_id"),
        ({"event_id": 5}, "/event_id"),
        ({"schema_version": "v" * 33}, "/schema_version"),
        ({"schema_version": True}, "/schema_version"),
        ({"tenant_id": "a b"}, "/tenant_id"),
        ({"tenant_id": "a#b"}, "/tenant_id"),
        ({"colour": "red"}, "/colour"),
        ({"a/b~c": "red"}, "/a~1b~0c"),
        ({"attributes": {"x": []}}, "/attributes/x"),
        ({"attributes": {"a/b~c": 1.5}}, "/attributes/a~1b~0c"),
        ({"attributes": {"str": {"int": 1}}}, "/attributes/str"),
        ({"attributes": []}, "/attributes"),
    ],
)
def test_a_wrong_field_of_the_envelope_is_422_and_named(
    stack: Stack, given: Any, pointer: str
) -> None:
    answer = publish(stack, **given)

    assert (answer.status, [e["pointer"] for e in answer.body["errors"]]) == (422, [pointer])


@pytest.mark.parametrize(
    ("event_type", "payload", "pointer"),
    [
        ("autoheal.failed", {"service": "a", "action": "b"}, "/payload"),
        ("autoheal.failed", {**HEAL, "error": 5}, "/payload/error"),
        ("autoheal.attempted", {"service": "", "reason": "r"}, "/payload/service"),
        ("autoheal.succeeded", {"service": "a"}, "/payload"),
        ("service.health.failed", {}, "/payload"),
        (
            "ai.provider.used",
            {"provider": "p", "intent": "i", "latency_ms": -1},
            "/payload/latency_ms",
        ),
        ("ai.fallback.used", {"successful_provider": "p"}, "/payload"),
        ("ai.fallback.failed", {"provider_chain": []}, "/payload"),
    ],
)
def test_a_payload_that_breaks_its_schema_is_422_and_named(
    stack: Stack, event_type: str, payload: Any, pointer: str
) -> None:
    answer = publish(stack, event_type=event_type, payload=payload)

    assert answer.status == 422
    assert {e["pointer"] for e in answer.body["errors"]} == {pointer}
    assert ids(stack) == []


def test_a_payload_may_have_more_fields_than_its_schema(stack: Stack) -> None:
    answer = publish(stack, event_type="autoheal.failed", payload={**HEAL, "extra": [1]})

    assert answer.status == 200


@pytest.mark.parametrize("given", ["WARNING", "Warning", "wArNiNg"])
def test_a_severity_is_read_in_any_case(stack: Stack, given: str) -> None:
    publish(stack, severity=given)

    assert stack.recent()[0]["severity"] == "warning"


@pytest.mark.parametrize("given", [ABSENT, None])
def test_a_severity_that_is_not_given_is_info(stack: Stack, given: Any) -> None:
    publish(stack, severity=given)

    assert stack.recent()[0]["severity"] == "info"


@pytest.mark.parametrize("given", [ABSENT, None, ""])
def test_an_event_without_a_time_happened_when_it_came(stack: Stack, given: Any) -> None:
    received_at = publish(stack, timestamp=given).body["received_at"]

    assert stack.recent()[0]["timestamp"] == received_at


def test_a_time_without_an_offset_is_utc(stack: Stack) -> None:
    stated = ago(hours=3)
    publish(stack, timestamp=stated.rstrip("Z"))

    assert stack.recent()[0]["timestamp"] == stated


def test_a_time_with_an_offset_is_turned_into_utc(stack: Stack) -> None:
    stated = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    local = (stated + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")
    publish(stack, timestamp=local)

    assert stack.recent()[0]["timestamp"] == to_text(stated)


def test_a_time_more_than_five_minutes_ahead_gives_way_to_arrival(stack: Stack) -> None:
    stated = ago(minutes=-6)
    received_at = publish(stack, timestamp=stated).body["received_at"]

    (event,) = stack.recent()
    assert (event["timestamp"], event["original_timestamp"]) == (received_at, stated)


def test_a_time_a_little_ahead_is_believed(stack: Stack) -> None:
    stated = ago(minutes=-4)
    publish(stack, timestamp=stated)

    (event,) = stack.recent()
    assert (event["timestamp"], "original_timestamp" in event) == (stated, False)


def test_an_event_past_its_retention_is_taken_and_shown_nowhere(stack: Stack) -> None:
    answer = publish(stack, event_id="old", timestamp=ago(days=30, seconds=1))
    stack.relay()

    assert (answer.status, answer.body["expired"]) == (200, True)
    assert ids(stack) == []
    assert ids(stack, tenant="default") == []
    assert ids(stack, since="2020-01-01T00:00:00Z") == []
    assert stack.call("GET", "/events/old").status == 404


def test_an_event_just_within_its_retention_is_shown(stack: Stack) -> None:
    answer = publish(stack, event_id="old", timestamp=ago(days=29, hours=23, minutes=55))

    assert "expired" not in answer.body
    assert ids(stack) == ["old"]


def test_the_same_event_again_is_a_duplicate_and_stored_once(stack: Stack) -> None:
    first = publish(stack, event_id="e1", payload={"n": 1})
    again = publish(stack, event_id="e1", payload={"n": 2})

    assert (again.status, again.body["duplicate"]) == (200, True)
    assert again.body["received_at"] == first.body["received_at"]
    assert [event["payload"] for event in stack.recent()] == [{"n": 1}]


def test_an_expired_event_again_is_a_duplicate_too(stack: Stack) -> None:
    old = ago(days=40)
    publish(stack, event_id="e1", timestamp=old)

    again = publish(stack, event_id="e1", timestamp=old).body
    assert (again["duplicate"], again["expired"]) == (True, True)


def test_the_same_id_from_another_source_is_another_event(stack: Stack) -> None:
    publish(stack, event_id="e1", source="crm")

    assert publish(stack, event_id="e1", source="billing").body["duplicate"] is False
    assert ids(stack) == ["e1", "e1"]


def test_the_same_id_of_another_tenant_is_another_event(stack: Stack) -> None:
    publish(stack, event_id="e1", tenant="acme")

    assert publish(stack, event_id="e1", tenant="globex").body["duplicate"] is False


@pytest.mark.parametrize(
    "word",
    ["recent", "publish", "schema", "stats", "stream", "batch", "archive", "retention", "prune",
     "cloudevents"],
)  # fmt: skip
def test_an_id_that_names_a_route_is_422(stack: Stack, word: str) -> None:
    answer = publish(stack, event_id=word)

    assert (answer.status, answer.body["errors"]) == (
        422,
        [
            {
                "pointer": "/event_id",
                "detail": f"'{word}' is the name of a route and cannot be an event id",
            }
        ],
    )


@pytest.mark.parametrize(
    "event_id",
    [
        "x" * 128,
        "ü" * 128,
        "🚀" * 128,
        "a/b/c",
        "100%",
        "%2F",
        "a b",
        "a#b",
        "a+b",
        "a?b=c&d",
        "RECENT",
        "日本語",
        "..",
        "{event_id}",
        "\\",
    ],
)
def test_any_id_of_up_to_128_characters_comes_back(stack: Stack, event_id: str) -> None:
    assert publish(stack, event_id=event_id).body["event_id"] == event_id

    answer = stack.call("GET", "/events/" + quote(event_id, safe=""))
    assert (answer.status, answer.body["event_id"]) == (200, event_id)
    assert ids(stack) == [event_id]


@pytest.mark.parametrize("source", ["s" * 256, "ü" * 256, "a/b", "a#b", "\u0000"])
def test_any_source_of_up_to_256_characters_comes_back(stack: Stack, source: str) -> None:
    publish(stack, event_id="e1", source=source)

    assert stack.call("GET", "/events/e1").body["source"] == source
    assert ids(stack, source=source) == ["e1"]


def test_a_payload_of_256_kb_is_taken_and_one_more_byte_is_413(stack: Stack) -> None:
    around = len('{"text":""}')
    largest = 256 * 1024 - around

    assert publish(stack, payload={"text": "x" * largest}).status == 200
    answer = publish(stack, payload={"text": "x" * (largest + 1)})
    assert (answer.status, answer.body["detail"]) == (
        413,
        "payload must have 262,144 bytes (256 KB) at most as JSON, got 262,145",
    )


def test_a_payload_is_measured_in_bytes(stack: Stack) -> None:
    assert publish(stack, payload={"text": "ü" * (128 * 1024)}).status == 413


@pytest.mark.parametrize("roles", ["agent", "operator", "admin"])
@pytest.mark.parametrize(
    "event_type",
    ["ops.alert.raised", "ops.alert.resolved", "ops.alert.delivery.failed", "ops.endpoint.disabled",
     "ops.events.pruned", "ops.archive.failed", "security.rbac.violation"],
)  # fmt: skip
def test_what_only_the_platform_emits_is_403_whatever_the_role(
    stack: Stack, event_type: str, roles: str
) -> None:
    assert publish(stack, event_type=event_type, roles=roles).status == 403


# ---- whose an event is


def test_an_event_without_a_tenant_belongs_to_default(stack: Stack) -> None:
    publish(stack)

    assert stack.recent()[0]["tenant_id"] == "default"


def test_an_operator_publishes_for_any_tenant_it_names(stack: Stack) -> None:
    publish(stack, tenant="acme", tenant_id="globex")

    assert stack.recent(tenant="globex")[0]["tenant_id"] == "globex"


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_an_agent_publishes_for_its_own_tenant_alone(stack: Stack, tenant: str | None) -> None:
    answer = publish(stack, roles="agent", tenant=tenant, tenant_id="globex")

    assert (answer.status, answer.body["detail"]) == (403, "You may not act for tenant 'globex'")


def test_an_agent_may_name_its_own_tenant(stack: Stack) -> None:
    assert publish(stack, roles="agent", tenant="acme", tenant_id="acme").status == 200


@pytest.mark.parametrize("roles", ["agent", "operator"])
def test_only_an_admin_publishes_into_system(stack: Stack, roles: str) -> None:
    assert publish(stack, roles=roles, tenant_id="system").status == 403
    assert publish(stack, roles=roles, tenant="system").status == 403
    assert publish(stack, roles="admin", tenant_id="system").status == 200


def test_system_events_show_in_every_tenants_view(stack: Stack) -> None:
    publish(stack, event_id="s1", roles="admin", tenant_id="system")

    assert ids(stack, tenant="acme") == ["s1"]
    assert ids(stack, tenant="globex") == ["s1"]
    assert stack.call("GET", "/events/s1", tenant="acme").status == 200


def test_a_tenant_sees_only_its_own_events(stack: Stack) -> None:
    publish(stack, event_id="a1", tenant="acme")
    publish(stack, event_id="g1", tenant="globex")
    stack.relay()

    assert ids(stack, tenant="acme") == ["a1"]
    assert stack.call("GET", "/events/g1", tenant="acme").status == 404
    assert ids(stack, tenant="acme", event_type="lead.created") == ["a1"]


def test_a_tenant_may_be_named_by_who_may_see_it(stack: Stack) -> None:
    publish(stack, event_id="g1", tenant="globex")

    assert ids(stack, tenant="acme", tenant_id="globex") == ["g1"]
    answer = stack.call("GET", "/events/g1", tenant="acme", query={"tenant_id": "globex"})
    assert answer.status == 200


def test_a_malformed_tenant_in_the_query_is_422(stack: Stack) -> None:
    assert stack.call("GET", "/events/recent", query={"tenant_id": "a b"}).status == 422


def test_the_view_over_all_tenants_holds_everyones_events_once(stack: Stack) -> None:
    publish(stack, event_id="a1", tenant="acme", timestamp=ago(minutes=3))
    publish(stack, event_id="d1", timestamp=ago(minutes=2))
    publish(stack, event_id="g1", tenant="globex", timestamp=ago(minutes=1))
    publish(stack, event_id="s1", roles="admin", tenant_id="system")
    stack.relay()

    assert ids(stack) == ["s1", "g1", "d1", "a1"]
    assert ids(stack, source="crm", until=ago(seconds=90)) == ["d1", "a1"]


def test_an_event_of_any_tenant_is_found_by_who_sees_them_all(stack: Stack) -> None:
    publish(stack, event_id="a1", tenant="acme")
    stack.relay()

    assert stack.call("GET", "/events/a1").body["tenant_id"] == "acme"


def test_a_redelivered_record_adds_nothing_to_the_view_over_all_tenants(stack: Stack) -> None:
    publish(stack, event_id="a1", tenant="acme")
    stack.relay()
    stack.delivered = 0
    stack.relay()

    assert ids(stack) == ["a1"]


# ---- lists


def test_events_come_newest_first_by_event_time_then_arrival(stack: Stack) -> None:
    same = ago(minutes=5)
    publish(stack, event_id="first", timestamp=same)
    publish(stack, event_id="second", timestamp=same)
    publish(stack, event_id="oldest", timestamp=ago(hours=5))
    publish(stack, event_id="newest")

    assert ids(stack) == ["newest", "second", "first", "oldest"]


def _sample(stack: Stack) -> None:
    publish(stack, event_id="1", source="crm", severity="info", tenant="acme")
    publish(stack, event_id="2", source="web", severity="warning", tenant="acme")
    publish(stack, event_id="3", source="crm", severity="critical", tenant="acme",
            event_type="autoheal.failed", payload=HEAL)  # fmt: skip
    publish(stack, event_id="4", source="web", severity="critical", tenant="acme",
            event_type="autoheal.failed", payload=HEAL)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["4", "3", "2", "1"]),
        ({"event_type": "lead.created"}, ["2", "1"]),
        ({"source": "crm"}, ["3", "1"]),
        ({"severity": "critical"}, ["4", "3"]),
        ({"severity": "CRITICAL"}, ["4", "3"]),
        ({"severity": "info"}, ["1"]),
        ({"severity": "warning"}, ["2"]),
        ({"severity": "error"}, []),
        ({"event_type": "autoheal.failed", "source": "web"}, ["4"]),
        ({"event_type": "lead.created", "severity": "warning"}, ["2"]),
        ({"source": "web", "severity": "critical"}, ["4"]),
        ({"event_type": "autoheal.failed", "source": "crm", "severity": "critical"}, ["3"]),
        ({"event_type": "lead.created", "source": "crm", "severity": "critical"}, []),
        ({"event_type": "unheard.of"}, []),
        ({"source": "nobody"}, []),
        ({"severity": "fatal"}, []),
        ({"tenant_id": "nobody"}, []),
        ({"event_type": "", "source": "", "severity": "", "since": "", "until": "",
          "cursor": "", "tenant_id": ""}, ["4", "3", "2", "1"]),
    ],
)  # fmt: skip
def test_each_filter_narrows_and_they_combine(
    stack: Stack, query: dict[str, str], expected: list[str]
) -> None:
    _sample(stack)

    assert ids(stack, tenant="acme", **query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [({}, 4), ({"severity": "critical"}, 2), ({"source": "web", "event_type": "lead.created"}, 1)],
)
def test_filters_narrow_the_view_over_all_tenants_too(
    stack: Stack, query: dict[str, str], expected: int
) -> None:
    _sample(stack)
    stack.relay()

    assert len(ids(stack, **query)) == expected


def test_since_and_until_include_their_own_instant(stack: Stack) -> None:
    one, two, three = ago(minutes=3), ago(minutes=2), ago(minutes=1)
    for name, at in (("1", one), ("2", two), ("3", three)):
        publish(stack, event_id=name, timestamp=at)

    assert ids(stack, since=two) == ["3", "2"]
    assert ids(stack, until=two) == ["2", "1"]
    assert ids(stack, since=two, until=two) == ["2"]
    assert ids(stack, since=three, until=one) == []
    assert ids(stack, since=two, until=three, event_type="lead.created") == ["3", "2"]


def test_a_bound_may_have_an_offset_whose_plus_became_a_blank(stack: Stack) -> None:
    publish(stack, event_id="1", timestamp=ago(minutes=30))
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    text = (hour_ago + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S 02:00")

    assert ids(stack, since=text) == ["1"]
    assert ids(stack, until=text) == []


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", "12:00", "0000-01-01T00:00:00Z"])
def test_a_bound_that_is_no_time_is_422(stack: Stack, name: str, given: str) -> None:
    answer = stack.call("GET", "/events/recent", query={name: given})

    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, f"query/{name}")


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1.5", "many"])
def test_a_limit_outside_1_to_200_is_422(stack: Stack, limit: str) -> None:
    assert stack.call("GET", "/events/recent", query={"limit": limit}).status == 422


@pytest.mark.parametrize(("limit", "count"), [("1", 1), ("4", 4), ("200", 4)])
def test_a_limit_within_1_to_200_is_taken(stack: Stack, limit: str, count: int) -> None:
    _sample(stack)

    answer = stack.call("GET", "/events/recent", tenant="acme", query={"limit": limit})
    assert (answer.status, answer.body["count"]) == (200, count)


def test_a_page_without_a_limit_has_50(stack: Stack) -> None:
    for n in range(51):
        publish(stack, event_id=str(n))

    answer = stack.call("GET", "/events/recent")
    assert (answer.body["count"], answer.body["next_cursor"] is None) == (50, False)


@pytest.mark.parametrize("limit", ["1", "2", "3", "7"])
@pytest.mark.parametrize("tenant", ["acme", None])
def test_pages_hold_every_event_once_and_end_with_null(
    stack: Stack, limit: str, tenant: str | None
) -> None:
    same = ago(minutes=1)
    for n in range(7):
        publish(stack, event_id=str(n), tenant="acme", timestamp=same)
    stack.relay()

    seen: list[str] = []
    cursor = ""
    while True:
        query = {"limit": limit, "cursor": cursor}
        page = stack.call("GET", "/events/recent", tenant=tenant, query=query).body
        seen += [event["event_id"] for event in page["events"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_an_event_that_arrives_between_pages_shifts_none(stack: Stack) -> None:
    for n in range(4):
        publish(stack, event_id=str(n))
    page = stack.call("GET", "/events/recent", query={"limit": "2"}).body
    publish(stack, event_id="late")

    assert ids(stack, cursor=page["next_cursor"]) == ["1", "0"]


def _cursor(stack: Stack) -> str:
    _sample(stack)
    page = stack.call("GET", "/events/recent", tenant="acme", query={"limit": "1"})
    return str(page.body["next_cursor"])


@pytest.mark.parametrize(
    ("tenant", "query"),
    [
        ("globex", {}),
        (None, {}),
        ("acme", {"source": "crm"}),
        ("acme", {"severity": "critical"}),
        ("acme", {"event_type": "lead.created"}),
        ("acme", {"since": "2026-01-01T00:00:00Z"}),
        ("acme", {"tenant_id": "globex"}),
    ],
)
def test_a_cursor_of_another_question_is_400(
    stack: Stack, tenant: str | None, query: dict[str, str]
) -> None:
    cursor = _cursor(stack)

    answer = stack.call("GET", "/events/recent", tenant=tenant, query={**query, "cursor": cursor})
    assert answer.status == 400
    assert answer.body["detail"].startswith("This cursor belongs to another question")


def test_a_tampered_cursor_is_400(stack: Stack) -> None:
    cursor = _cursor(stack)
    changed = cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:]

    for given in (changed, cursor[:-4], cursor + "AAAA", "x", "ü", "bnVsbA", "W10", "MQ", "e30"):
        answer = stack.call("GET", "/events/recent", tenant="acme", query={"cursor": given})
        assert (given, answer.status) == (given, 400)


FORGED = ["", "\x00", "2026\x00", "\ud800", "\ue000", "é", "~~", "2026", "9" * 1100,
          "2026-11-23T08:30:00" + "9" * 1100, "2026-11-23T08:30:00\x00", "acme#e1"]  # fmt: skip


@pytest.mark.parametrize("position", FORGED)
@pytest.mark.parametrize("tenant", ["acme", None])
def test_a_cursor_with_a_made_up_position_is_400(
    stack: Stack, position: str, tenant: str | None
) -> None:
    cursor = encode_cursor(position, tenant or "*", *Filters().question())

    answer = stack.call("GET", "/events/recent", tenant=tenant, query={"cursor": cursor})
    assert (answer.status, answer.body["title"]) == (400, "Bad request")


def test_a_forged_cursor_shows_nothing_of_another_tenant(stack: Stack) -> None:
    publish(stack, event_id="a1", tenant="acme")
    publish(stack, event_id="g1", tenant="globex")
    (theirs,) = stack.recent("globex")
    top = f"{theirs['timestamp']}~"
    foreign, own = (encode_cursor(top, t, *Filters().question()) for t in ("globex", "acme"))

    answer = stack.call("GET", "/events/recent", tenant="acme", query={"cursor": foreign})
    assert answer.status == 400
    assert ids(stack, tenant="acme", cursor=own) == ["a1"]


@pytest.mark.parametrize(
    "at",
    ["0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00-23:59",
     "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59+23:59"],
)  # fmt: skip
@pytest.mark.parametrize("tenant", ["acme", None])
def test_lists_take_the_first_and_the_last_instant_there_is(
    stack: Stack, tenant: str | None, at: str
) -> None:
    publish(stack, event_id="e1", tenant="acme")
    stack.relay()
    is_first = at.startswith("0001")

    assert ids(stack, tenant=tenant, since=at) == (["e1"] if is_first else [])
    assert ids(stack, tenant=tenant, until=at) == ([] if is_first else ["e1"])
    assert ids(stack, tenant=tenant, since=at, until=at, severity="error") == []


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_an_instant_beyond_them_is_422(stack: Stack, at: str) -> None:
    for name in ("since", "until"):
        assert stack.call("GET", "/events/recent", query={name: at}).status == 422


def test_an_answer_stays_under_4_mb_and_goes_on(stack: Stack) -> None:
    for n in range(18):
        publish(stack, event_id=str(n), payload={"text": "x" * 250_000})

    page = stack.call("GET", "/events/recent", query={"limit": "200"}).body
    assert page["count"] == 13
    rest = ids(stack, cursor=page["next_cursor"])
    assert [e["event_id"] for e in page["events"]] + rest == [str(n) for n in range(17, -1, -1)]


def test_a_damaged_item_is_left_out_of_lists(stack: Stack) -> None:
    publish(stack, event_id="good", tenant="acme")
    table = importlib.import_module("functions.events.api").reading._events._table
    table.put({"pk": "acme#bad", "sk": "crm", "timeline": "acme#0", "at": "9-by-hand"})

    assert ids(stack, tenant="acme") == ["good"]


# ---- one event


def test_an_id_that_several_sources_used_is_409_and_names_them(stack: Stack) -> None:
    publish(stack, event_id="e1", source="web")
    publish(stack, event_id="e1", source="crm")

    answer = stack.call("GET", "/events/e1")
    assert (answer.status, answer.body["title"], answer.body["detail"]) == (
        409,
        "Conflict",
        "Several sources used the id e1: crm, web. Name one with ?source=",
    )


def test_a_source_settles_which_event_is_meant(stack: Stack) -> None:
    publish(stack, event_id="e1", source="web")
    publish(stack, event_id="e1", source="crm")

    answer = stack.call("GET", "/events/e1", query={"source": "web"})
    assert (answer.status, answer.body["source"]) == (200, "web")
    assert stack.call("GET", "/events/e1", query={"source": "x"}).status == 404


def test_no_number_of_sources_hides_the_one_that_is_named(stack: Stack) -> None:
    for number in range(25):
        publish(stack, event_id="e1", source=f"s{number:02}", tenant="acme")
    stack.relay()

    for tenant in ("acme", None):
        answer = stack.call("GET", "/events/e1", tenant=tenant, query={"source": "s24"})
        assert (answer.status, answer.body.get("source")) == (200, "s24")


def test_a_great_many_sources_are_not_all_named(stack: Stack) -> None:
    for number in range(25):
        publish(stack, event_id="e1", source=f"s{number:02}")

    answer = stack.call("GET", "/events/e1")
    assert answer.status == 409
    assert answer.body["detail"].endswith("s18, s19 and others. Name one with ?source=")


def test_events_past_their_retention_hide_none_that_is_shown(stack: Stack) -> None:
    for number in range(25):
        publish(stack, event_id="e1", source=f"s{number:02}", timestamp=ago(days=31))
    publish(stack, event_id="e1", source="web")

    assert stack.call("GET", "/events/e1").body.get("source") == "web"


def test_a_tenants_own_event_comes_before_the_platforms_of_the_same_name(stack: Stack) -> None:
    publish(stack, event_id="e1", roles="admin", tenant_id="system", payload={"whose": "all"})
    assert stack.call("GET", "/events/e1", tenant="acme").body["payload"] == {"whose": "all"}
    publish(stack, event_id="e1", tenant="acme", payload={"whose": "acme"})

    for query in ({}, {"source": "crm"}):
        answer = stack.call("GET", "/events/e1", tenant="acme", query=query)
        assert (answer.status, answer.body.get("payload")) == (200, {"whose": "acme"})
    named = {"tenant_id": "system"}
    answer = stack.call("GET", "/events/e1", tenant="acme", query=named)
    assert answer.body["payload"] == {"whose": "all"}


def test_the_same_id_of_another_source_of_the_platform_is_409(stack: Stack) -> None:
    publish(stack, event_id="e1", roles="admin", tenant_id="system", source="core")
    publish(stack, event_id="e1", tenant="acme")

    answer = stack.call("GET", "/events/e1", tenant="acme")
    assert (answer.status, "core, crm" in answer.body["detail"]) == (409, True)


def test_who_sees_every_tenant_finds_a_source_that_only_another_tenant_has(stack: Stack) -> None:
    publish(stack, event_id="e1", source="crm")
    publish(stack, event_id="e1", source="web", tenant="acme")
    stack.relay()

    answer = stack.call("GET", "/events/e1", query={"source": "web"})
    assert (answer.status, answer.body.get("tenant_id")) == (200, "acme")


def test_a_damaged_item_is_no_event(stack: Stack) -> None:
    table = importlib.import_module("functions.events.api").reading._events._table
    table.put({"pk": "acme#bad", "sk": "crm", "timeline": "acme#0", "at": "9-by-hand"})

    for query in ({}, {"source": "crm"}):
        assert stack.call("GET", "/events/bad", tenant="acme", query=query).status == 404


def test_an_event_that_is_not_there_is_404(stack: Stack) -> None:
    answer = stack.call("GET", "/events/nope")

    assert (answer.status, answer.body["detail"]) == (404, "Event nope not found")


# ---- schemas


def test_the_registered_types_are_listed_with_their_schemas(stack: Stack) -> None:
    body = stack.call("GET", "/events/schema").body

    by_type = {shown["event_type"]: shown for shown in body["schemas"]}
    assert (body["status"], body["count"], len(by_type)) == ("ok", 25, 25)
    shown = by_type["autoheal.failed"]
    assert set(shown) == {"event_type", "required", "description", "version", "schema"}
    assert shown["required"] == ["event_type", "source", "payload"]
    assert shown["schema"]["required"] == ["service", "action", "error"]


def test_one_type_is_shown(stack: Stack) -> None:
    body = stack.call("GET", "/events/schema/service.health.failed").body

    assert (body["status"], body["event_type"]) == ("ok", "service.health.failed")
    assert body["schema"]["required"] == ["service"]


def test_an_unknown_type_is_404(stack: Stack) -> None:
    answer = stack.call("GET", "/events/schema/x.y")

    assert (answer.status, answer.body["detail"]) == (404, "Unknown event_type 'x.y'")


def test_a_payload_too_deep_to_be_shown_is_refused(stack: Stack) -> None:
    def nested(levels: int) -> dict[str, Any]:
        payload: dict[str, Any] = {}
        for _ in range(levels):
            payload = {"a": payload}
        return payload

    assert stack.publish("lead.created", tenant="acme", payload=nested(300)).status == 422
    assert stack.publish("lead.created", tenant="acme", payload=nested(98)).status == 200
    assert len(stack.recent("acme")) == 1
