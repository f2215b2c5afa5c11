"""POST /events/cloudevents: the three content modes, and what is said of wrong ones."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.component.conftest import Answer, Stack

CE = {"ce-specversion": "1.0", "ce-id": "e1", "ce-source": "/crm", "ce-type": "lead.created"}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/crm",
    "type": "lead.created",
    "data": {"a": 1},
}
ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
NO_TEXTS: list[Any] = [7, True, ["x"], {}, "x\ny"]


def post(
    stack: Stack,
    body: Any,
    content_type: str | None = None,
    /,
    *,
    headers: Any = None,
    **given: Any,
) -> Answer:
    raw = body if isinstance(body, str) else json.dumps(body)
    named = {"Content-Type": content_type} if content_type else {}
    return stack.call(
        "POST", "/events/cloudevents", raw=raw, headers={**named, **(headers or {})}, **given
    )


def send(stack: Stack, message: HTTPMessage, **given: Any) -> Answer:
    return post(stack, message.body.decode(), headers=message.headers, **given)


def pointers(answer: Answer) -> list[str]:
    return [e["pointer"] for e in answer.body["errors"]]


ODD = CloudEvent(
    {
        "id": 'ä "1" 100%25',
        "source": "/crm/Köln site",
        "type": "lead.created",
        "subject": '50% "off" €😀',
        "datacontenttype": "application/json",
        "dataschema": "https://x.example/s?a=%20",
        "tenantid": "acme",
        "severity": "warning",
        "schemaversion": "3",
        "region": "eu west",
    },
    {"ü": "50% € 😀", "deep": [{"x": None}]},
)


@pytest.mark.parametrize("encode", [to_binary_event, to_structured_event])
def test_an_event_of_the_sdk_is_read_back_equal(stack: Stack, encode: Any) -> None:
    answer = send(stack, encode(ODD), tenant="acme", roles="agent")

    assert answer.status == 202
    assert (answer.body["stored"], answer.body["duplicate"]) == (True, False)
    (event,) = stack.recent("acme")
    assert event["event_id"] == 'ä "1" 100%25'
    assert event["source"] == "/crm/Köln site"
    assert (event["event_type"], event["severity"]) == ("lead.created", "warning")
    assert (event["tenant_id"], event["schema_version"]) == ("acme", "3")
    assert event["payload"] == {"ü": "50% € 😀", "deep": [{"x": None}]}
    assert event["attributes"] == {
        "subject": '50% "off" €😀',
        "datacontenttype": "application/json",
        "dataschema": "https://x.example/s?a=%20",
        "region": "eu west",
    }


def test_the_same_event_in_another_mode_is_the_same_event(stack: Stack) -> None:
    send(stack, to_binary_event(ODD), tenant="acme")

    answer = send(stack, to_structured_event(ODD), tenant="acme")

    assert (answer.status, answer.body["duplicate"]) == (202, True)


def test_an_answer_to_one_event_is_that_of_publishing_it(stack: Stack) -> None:
    answer = post(stack, EVENT, ONE)

    assert answer.body.pop("received_at").endswith("Z")
    assert (answer.status, answer.body) == (
        202,
        {
            "status": "ok",
            "stored": True,
            "event_type": "lead.created",
            "event_id": "e1",
            "duplicate": False,
        },
    )
    assert "attributes" not in stack.recent()[0]


def test_header_names_ignore_case(stack: Stack) -> None:
    headers = {name.upper(): value for name, value in CE.items()}

    answer = post(stack, {"a": 1}, headers={**headers, "CONTENT-TYPE": "application/json"})

    assert (answer.status, answer.body["event_id"]) == (202, "e1")


def test_a_body_that_the_gateway_encoded_is_read(stack: Stack) -> None:
    raw = base64.b64encode('{"ü": 1}'.encode()).decode()

    assert post(stack, raw, "application/json", headers=CE, is_base64=True).status == 202
    assert stack.recent()[0]["payload"] == {"ü": 1}


def test_extensions_keep_their_types(stack: Stack) -> None:
    post(stack, {**EVENT, "flag": True, "number": 7, "text": "7"}, ONE)

    assert stack.recent()[0]["attributes"] == {"flag": True, "number": 7, "text": "7"}


def test_the_time_is_event_time(stack: Stack) -> None:
    post(stack, {**EVENT, "time": "2020-01-01T01:00:00+01:00"}, ONE)

    assert stack.recent() == []
    assert post(stack, {**EVENT, "time": "2020-01-01T00:00:00Z"}, ONE).body["expired"] is True


def test_a_batch_is_accepted_as_a_whole(stack: Stack) -> None:
    answer = post(stack, [{**EVENT, "id": f"e{n}"} for n in range(20)], MANY)

    assert (answer.status, answer.body["status"], answer.body["stored"]) == (202, "ok", 20)
    assert [r["event_id"] for r in answer.body["results"]] == [f"e{n}" for n in range(20)]
    assert len(stack.recent()) == 20


def test_a_batch_may_be_empty(stack: Stack) -> None:
    answer = post(stack, [], MANY)

    assert (answer.status, answer.body) == (
        202,
        {"status": "ok", "count": 0, "stored": 0, "failed": 0, "results": []},
    )


def test_a_batch_of_which_a_part_is_taken_is_207(stack: Stack) -> None:
    events = [
        EVENT,
        {**EVENT, "id": "e2", "data": "text"},
        {**EVENT, "id": "e3", "specversion": "0.3"},
        {**EVENT, "id": "e4", "tenantid": "globex"},
        {**EVENT, "id": "e5", "type": "ops.alert.raised"},
        5,
    ]

    answer = post(stack, events, MANY, tenant="acme", roles="agent")

    assert answer.status == 207
    results = answer.body["results"]
    assert [r["http_status"] for r in results] == [200, 422, 400, 403, 403, 422]
    assert [r.get("event_id") for r in results] == ["e1", "e2", "e3", "e4", "e5", None]
    assert results[1]["errors"][0]["pointer"] == "/data"


def test_a_batch_over_five_hundred_is_413(stack: Stack) -> None:
    answer = post(stack, [{**EVENT, "id": str(n)} for n in range(501)], MANY)

    assert (answer.status, answer.body["title"]) == (413, "Too large")


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"id": None}, 400, "Missing required attribute: id"),
        ({"source": ""}, 400, "Missing required attribute: source"),
        ({"type": None}, 400, "Missing required attribute: type"),
        ({"specversion": "0.3"}, 400, 'specversion must be "1.0", got "0.3"'),
        ({"type": "x"}, 400, "Unknown event_type 'x'"),
        ({"type": "ops.alert.raised"}, 403, "is emitted by the platform itself"),
        ({"type": "security.rbac.violation"}, 403, "is emitted by the platform itself"),
        ({"tenantid": "globex"}, 403, "You may not act for tenant 'globex'"),
        ({"data": {"x": "x" * 270_000}}, 413, "256 KB"),
        ({"ext": "x" * 20_000}, 413, "16 KB"),
    ],
)
def test_a_bad_event_is_a_plain_problem(
    stack: Stack, given: dict[str, Any], status: int, said: str
) -> None:
    answer = post(stack, {**EVENT, **given}, ONE, tenant="acme", roles="agent")

    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert said in answer.body["detail"]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"data": None}, "/data"),
        ({"data": []}, "/data"),
        ({"type": "autoheal.failed", "data": {"service": "a"}}, "/data"),
        ({"type": "autoheal.attempted", "data": {"service": "", "reason": "r"}}, "/data/service"),
        ({"time": "yesterday"}, "/time"),
        ({"severity": "fatal"}, "/severity"),
        ({"id": "x" * 129}, "/id"),
        ({"id": "batch"}, "/id"),
        ({"id": 5}, "/id"),
        ({"source": "s" * 257}, "/source"),
        ({"tenantid": "a b"}, "/tenantid"),
        ({"schemaversion": "v" * 33}, "/schemaversion"),
        ({"subject": ["x"]}, "/subject"),
        ({"schemaversion": 1.5}, "/schemaversion"),
        ({"tenantid": ["acme"]}, "/tenantid"),
        ({"time": ""}, "/time"),
        *(
            ({name: wrong}, f"/{name}")
            for name in ("id", "source", "type", "subject", "datacontenttype", "dataschema", "time")
            for wrong in NO_TEXTS
        ),
        *(({name: "x\x7f"}, f"/{name}") for name in ("tenantid", "severity", "schemaversion", "x")),
        *(({name: ""}, f"/{name}") for name in ("subject", "datacontenttype", "dataschema")),
        *(
            ({"id": f"x{wrong}"}, "/id")
            for wrong in ("\x00", "\x1f", "\x85", "\ufdd0", "\uffff", "\U0010fffe")
        ),
    ],
)
def test_a_wrong_attribute_is_422_under_its_own_name(
    stack: Stack, given: dict[str, Any], pointer: str
) -> None:
    answer = post(stack, {**EVENT, **given}, ONE)

    assert answer.status == 422
    assert set(pointers(answer)) == {pointer}


def test_every_wrong_attribute_is_named(stack: Stack) -> None:
    wrong: dict[str, Any] = {
        "id": 5,
        "source": "a\tb",
        "type": ["x"],
        "subject": "",
        "datacontenttype": 1,
    }

    answer = post(stack, {**EVENT, **wrong, "region": 0.5, "Zone": "a", "data": "text"}, ONE)

    assert answer.status == 422
    assert sorted(pointers(answer)) == [
        "/Zone", "/data", "/datacontenttype", "/id", "/region", "/source", "/subject", "/type",
    ]  # fmt: skip


def test_a_header_is_checked_like_the_attribute_it_stands_for(stack: Stack) -> None:
    for name in ("id", "source", "type", "subject", "tenantid", "region"):
        answer = post(stack, {}, headers={**CE, f"ce-{name}": "a%0Ab"})
        assert (answer.status, pointers(answer)) == (422, [f"/{name}"])


def test_a_pointer_to_a_header_is_escaped(stack: Stack) -> None:
    assert pointers(post(stack, {}, headers={**CE, "ce-a~b": "%FF"})) == ["/a~0b"]


@pytest.mark.parametrize("raw", ["{", "NaN", '{"a": -Infinity}', "[" * 100_000, '{"a": "\\ud800"}'])
@pytest.mark.parametrize("headers", [{"Content-Type": ONE}, {"Content-Type": MANY}, CE])
def test_bad_json_is_422_in_every_mode(stack: Stack, raw: str, headers: Any) -> None:
    assert post(stack, raw, headers=headers).status == 422


def test_bytes_that_are_not_utf8_are_422(stack: Stack) -> None:
    raw = base64.b64encode(b'{"a": "\xff"}').decode()

    assert post(stack, raw, headers=CE, is_base64=True).status == 422


@pytest.mark.parametrize("value", ["%FF", "\ud800"])
def test_a_header_that_is_no_text_is_422(stack: Stack, value: str) -> None:
    for name in ("ce-subject", "ce-source"):
        assert post(stack, {}, headers={**CE, name: value}).status == 422


@pytest.mark.parametrize(
    ("content_type", "headers", "body"),
    [
        ("text/plain", {}, EVENT),
        ("application/json", {}, {"a": 1}),
        ("application/json", {}, [EVENT]),
        ("application/cloudevents+avro", {}, EVENT),
        ("text/plain", CE, {"a": 1}),
        ("application/json; charset=latin-1", CE, {"a": 1}),
    ],
)
def test_another_kind_of_body_is_415_and_says_which_are_read(
    stack: Stack, content_type: str, headers: Any, body: Any
) -> None:
    answer = post(stack, body, content_type, headers=headers)

    assert (answer.status, answer.body["title"]) == (415, "Unsupported media type")
    assert "json" in answer.body["detail"] or "utf-8" in answer.body["detail"]


def test_plain_json_with_a_specversion_is_taken_for_an_event(stack: Stack) -> None:
    assert post(stack, EVENT, "application/json").status == 202


def test_an_event_of_a_tenant_is_that_tenants(stack: Stack) -> None:
    post(stack, EVENT, ONE, tenant="acme", roles="agent")

    assert [e["event_id"] for e in stack.recent("acme")] == ["e1"]
    assert stack.recent("globex") == []


def test_an_operator_names_a_tenant_by_the_extension(stack: Stack) -> None:
    post(stack, {}, headers={**CE, "ce-tenantid": "acme"})

    assert [e["event_id"] for e in stack.recent("acme")] == ["e1"]


@pytest.mark.parametrize(("roles", "status"), [("viewer", 403), (None, 401), ("agent", 202)])
def test_only_publishers_publish_cloudevents(stack: Stack, roles: str | None, status: int) -> None:
    assert post(stack, EVENT, ONE, roles=roles).status == status


def test_the_kind_that_counts_is_the_clients_content_type_alone(stack: Stack) -> None:
    headers = {"x-content-type": MANY, "sent": MANY, "content_type": MANY}

    assert post(stack, [EVENT], "application/json", headers=headers).status == 415
