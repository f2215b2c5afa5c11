"""CloudEvents: what the SDK writes is read back equal, older and sloppy forms unharmed, faults named."""

from __future__ import annotations

import base64
import json
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.conversion import to_binary as old_binary
from cloudevents.v1.http import CloudEvent as OldCloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherlink.events.cloudevents import Admission, Received, decode, envelope_of
from aetherlink.events.model import Envelope, Event, Published
from aetherlink.kernel.errors import (
    ControlPlaneError,
    Flaw,
    ForbiddenError,
    InvalidError,
    TooLargeError,
    UnprocessableError,
    UnsupportedMediaTypeError,
)
from aetherlink.kernel.tenancy import Caller
from aetherlink.platform.http import parse_json

# What a String may hold (spec, Type System).
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"]).filter(
    lambda c: not (0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE)
)
ODD = st.sampled_from(["%", '"', " ", "%20", "%zz", "\\", "é", "€", "😀", "+", ";", ",", "/"])
TEXT = st.lists(CHARACTERS | ODD, min_size=1, max_size=12).map("".join)
NAMES = st.from_regex(r"x[a-z0-9]{0,19}", fullmatch=True)
SCALARS = (
    TEXT
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
DATA = st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=3), max_size=4)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)


@st.composite
def events(draw: st.DrawFn, values: Any = TEXT) -> CloudEvent:
    attributes: dict[str, Any] = {
        "id": draw(TEXT),
        "source": draw(TEXT),
        "type": draw(TEXT.filter(lambda t: not t.startswith(("ops.", "security.")))),
        "subject": draw(TEXT),
        "time": draw(TIMES),
        "datacontenttype": draw(
            st.sampled_from(["application/json", "application/vnd.x+json; charset=utf-8"])
        ),
        **draw(st.dictionaries(NAMES, values, max_size=4)),
    }
    return CloudEvent(attributes, draw(DATA))


def headers_of(message: Any) -> tuple[dict[str, str], str]:
    headers = {name.lower(): value for name, value in message.headers.items()}
    return headers, headers.get("content-type", "")


def read(headers: dict[str, str], content_type: str, text: str) -> dict[str, Any]:
    received = decode(headers, content_type, text, parse_json)
    assert not received.is_batch
    (event,) = received.events
    return envelope_of(event, parse_json)


def assert_same(envelope: dict[str, Any], event: CloudEvent) -> None:
    sent = dict(event.get_attributes())
    kept = Envelope.model_validate({**envelope, "severity": "info"})
    assert (kept.event_id, kept.source, kept.event_type) == (
        sent.pop("id"),
        sent.pop("source"),
        sent.pop("type"),
    )
    assert kept.timestamp == sent.pop("time")
    assert kept.payload == event.get_data()
    assert sent.pop("specversion") == "1.0"
    assert kept.attributes == sent


# ---- what the SDK writes


@given(events())
@settings(max_examples=200, deadline=None)
def test_binary_mode_reads_back_what_the_sdk_wrote(event: CloudEvent) -> None:
    message = to_binary_event(event)

    assert all(value.isascii() and value == value.strip() for value in message.headers.values())
    assert_same(read(*headers_of(message), message.body.decode()), event)


@given(events(TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1)))
@settings(max_examples=200, deadline=None)
def test_structured_mode_reads_back_what_the_sdk_wrote(event: CloudEvent) -> None:
    message = to_structured_event(event)

    assert_same(read(*headers_of(message), message.body.decode()), event)


@given(st.lists(events(), max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_batch_reads_back_what_the_sdk_wrote(sent: list[CloudEvent]) -> None:
    text = "[" + ",".join(to_structured_event(event).body.decode() for event in sent) + "]"

    received = decode({}, "application/cloudevents-batch+json", text, parse_json)

    assert (received.is_batch, len(received.events)) == (True, len(sent))
    for event, found in zip(sent, received.events, strict=True):
        assert_same(envelope_of(found, parse_json), event)


@given(events())
@settings(max_examples=50, deadline=None)
def test_data_as_base64_is_the_same_data(event: CloudEvent) -> None:
    octets = json.dumps(event.get_data()).encode()
    message = to_structured_event(CloudEvent(dict(event.get_attributes()), octets))

    assert "data_base64" in json.loads(message.body)
    assert_same(read(*headers_of(message), message.body.decode()), event)


# Not a `%` that happens to begin an escape: nobody can tell that from one that was meant.
PIECES = ["a", "é", "€", " ", "% ", "%zz", "100% sure", 'say "hi" now', "/"]
UNENCODED = st.lists(st.sampled_from(PIECES), min_size=1).map(lambda some: f"x{''.join(some)}x")


@given(UNENCODED)
def test_headers_that_an_old_sdk_did_not_encode_are_unharmed(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        event = OldCloudEvent({"type": "lead.created", "source": text, "subject": text}, {"a": 1})
        headers, body = old_binary(event)

    envelope = read({n.lower(): v for n, v in headers.items()}, "application/json", body.decode())

    assert (envelope["source"], envelope["attributes"]["subject"]) == (text, text)


# ---- headers by hand

CE = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "lead.created"}


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("a%2fb%2Fc", "a/b/c"),
        ("%61%62", "ab"),
        ("%2525", "%25"),
        ("50%", "50%"),
        ("50%2", "50%2"),
        ("%zz%20", "%zz "),
        ('"two words"', "two words"),
        ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ('"Euro%20x"', "Euro x"),
        ("%22quoted%22", '"quoted"'),
        ('say "hi"', 'say "hi"'),
        ('"unfinished', '"unfinished'),
        ("Grüße €", "Grüße €"),
        ("a+b", "a+b"),
        ("  padded\t", "padded"),
        ("%20kept%20", " kept "),
    ],
)
def test_a_header_is_unquoted_then_percent_decoded_once(header: str, text: str) -> None:
    assert read({**CE, "ce-subject": header}, "", "{}")["attributes"] == {"subject": text}


@pytest.mark.parametrize("header", ["%C0%A0", "%ff", "%E2%82", "%ED%A0%80"])
def test_escapes_that_are_not_utf8_are_refused(header: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        read({**CE, "ce-subject": header}, "", "{}")

    assert refused.value.flaws[0].pointer == "/subject"


def test_binary_mode_fills_the_envelope() -> None:
    headers = {
        **CE,
        "ce-time": "2026-11-23T08:30:00Z",
        "ce-tenantid": "acme",
        "ce-severity": "Warning",
        "ce-schemaversion": "2",
        "ce-dataschema": "https://x.example/s",
        "ce-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "ce-datacontenttype": "text/plain",
        "host": "x",
    }

    assert read(headers, "Application/JSON; Charset=UTF-8", '{"a": 1}') == {
        "event_id": "1",
        "source": "/s",
        "event_type": "lead.created",
        "timestamp": "2026-11-23T08:30:00Z",
        "tenant_id": "acme",
        "severity": "Warning",
        "schema_version": "2",
        "payload": {"a": 1},
        "attributes": {
            "dataschema": "https://x.example/s",
            "datacontenttype": "Application/JSON; Charset=UTF-8",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    }


# ---- which mode

EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "lead.created", "data": {}}


@pytest.mark.parametrize(
    ("content_type", "body", "is_batch"),
    [
        ("application/cloudevents+json", EVENT, False),
        ("Application/CloudEvents+JSON;charset=UTF-8", EVENT, False),
        ('application/cloudevents+json ; charset="utf-8"', EVENT, False),
        ("application/cloudevents-batch+json; charset=utf-8", [EVENT], True),
        ("application/cloudevents-batch+json", [], True),
        ("application/json", EVENT, False),
        ("", EVENT, False),
    ],
)
def test_the_media_type_tells_the_mode(content_type: str, body: Any, is_batch: bool) -> None:
    received = decode({}, content_type, json.dumps(body), parse_json)

    events = tuple(body) if is_batch else (body,)
    assert received == Received(events, is_batch=is_batch)


def test_a_structured_event_is_not_read_from_headers_that_repeat_it() -> None:
    headers = {**CE, "ce-id": "other"}

    assert read(headers, "application/cloudevents+json", json.dumps(EVENT))["event_id"] == "1"


@pytest.mark.parametrize(
    ("headers", "content_type", "body"),
    [
        ({}, "application/json", {"event_type": "lead.created"}),
        ({}, "application/json", [EVENT]),
        ({}, "text/plain", EVENT),
        ({}, "application/x-www-form-urlencoded", EVENT),
        ({}, "application/cloudevents+avro", EVENT),
        (CE, "application/cloudevents+xml", EVENT),
        ({}, "application/cloudevents", EVENT),
        ({}, "application/cloudevents-batch", [EVENT]),
        ({}, "application/cloudevents+json; charset=latin-1", EVENT),
        (CE, "text/plain", {}),
        (CE, "application/xml", {}),
        (CE, "application/json; charset=utf-16", {}),
    ],
)
def test_any_other_kind_is_unsupported(headers: Any, content_type: str, body: Any) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        decode(headers, content_type, json.dumps(body), parse_json)


def test_what_is_unsupported_says_what_is() -> None:
    with pytest.raises(UnsupportedMediaTypeError) as refused:
        decode({}, "text/plain", "x", parse_json)

    for form in ("cloudevents+json", "cloudevents-batch+json", "ce-specversion"):
        assert form in str(refused.value)


@pytest.mark.parametrize("body", ["{}", "1", "null", '"x"'])
def test_a_batch_is_an_array(body: str) -> None:
    with pytest.raises(UnprocessableError, match="must be a JSON array of CloudEvents"):
        decode({}, "application/cloudevents-batch+json", body, parse_json)


# ---- faults


@pytest.mark.parametrize("value", ["", None, "absent"])
@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_missing_attribute_is_named(name: str, value: Any) -> None:
    event = {k: v for k, v in EVENT.items() if k != name}
    if value != "absent":
        event[name] = value

    with pytest.raises(InvalidError, match=f"Missing required attribute: {name}"):
        envelope_of(event, parse_json)


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = {header: v for header, v in CE.items() if header != f"ce-{name}"}

    with pytest.raises(InvalidError, match=f"ce-{name}"):
        read(headers, "", "{}")


@pytest.mark.parametrize("version", ["0.3", "1.0.2", "1", 1.0, 1])
def test_another_version_is_refused(version: Any) -> None:
    with pytest.raises(InvalidError, match=r'specversion must be "1\.0", got '):
        envelope_of({**EVENT, "specversion": version}, parse_json)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"data": None}, "/data"),
        ({"data": "text"}, "/data"),
        ({"data": [1]}, "/data"),
        ({"data": 0}, "/data"),
        ({"data_base64": "e30="}, "/data_base64"),
        ({"data": None, "data_base64": "%%"}, "/data_base64"),
        ({"data": None, "data_base64": "e30"}, "/data_base64"),
        ({"data": None, "data_base64": "/w=="}, "/data_base64"),
        ({"data": None, "data_base64": "ew=="}, "/data_base64"),
        ({"data": None, "data_base64": "W10="}, "/data_base64"),
        ({"data": None, "data_base64": "bnVsbA=="}, "/data_base64"),
        ({"data": None, "data_base64": 7}, "/data_base64"),
        ({"data": None, "data_base64": "é"}, "/data_base64"),
        ({"datacontenttype": "text/plain"}, "/datacontenttype"),
        ({"datacontenttype": "application/json5"}, "/datacontenttype"),
        ({"datacontenttype": 5}, "/datacontenttype"),
        ({"subject": {}}, "/subject"),
        ({"ext": 1.5}, "/ext"),
        ({"ext": [1]}, "/ext"),
        ({"ext": 2**31}, "/ext"),
        ({"ext": "a\nb"}, "/ext"),
        ({"ext": "\x9f"}, "/ext"),
        ({"Ext": "a"}, "/Ext"),
        ({"my_ext": "a"}, "/my_ext"),
        ({"a/b": "a"}, "/a~1b"),
        ({"": "a"}, "/"),
        ({"x" * 65: "a"}, "/" + "x" * 65),
    ],
)
def test_a_wrong_member_is_named(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        envelope_of({**EVENT, **given}, parse_json)

    assert [flaw.pointer for flaw in refused.value.flaws] == [pointer]


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "NaN", '{"a": Infinity}', "[" * 100_000])
def test_binary_data_that_is_no_json_object_is_named(text: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        read(CE, "application/json", text)

    assert [flaw.pointer for flaw in refused.value.flaws] == ["/data"]


@pytest.mark.parametrize("header", ["ce-data", "ce-data_base64"])
def test_data_is_no_header(header: str) -> None:
    with pytest.raises(InvalidError, match="the body is the data"):
        read({**CE, header: "e30="}, "", "{}")


@pytest.mark.parametrize("event", [None, 1, "x", [], [EVENT]])
def test_what_is_no_object_is_no_event(event: Any) -> None:
    with pytest.raises(UnprocessableError, match="must be a JSON object, a CloudEvent"):
        envelope_of(event, parse_json)


def test_null_attributes_are_absent_ones() -> None:
    event = {**EVENT, "subject": None, "ext": None, "tenantid": None, "time": None}

    assert envelope_of(event, parse_json) == {
        "event_id": "1",
        "source": "/s",
        "event_type": "lead.created",
        "payload": {},
    }


def test_attributes_keep_their_types() -> None:
    event = {**EVENT, "flag": True, "number": -5, "text": "5", "off": False, "zero": 0}

    kept = Envelope.model_validate(envelope_of(event, parse_json)).attributes
    assert json.dumps(kept) == (
        '{"flag": true, "number": -5, "text": "5", "off": false, "zero": 0}'
    )


def test_attributes_have_a_limit_together() -> None:
    event: dict[str, Any] = {**EVENT, "a": "€" * 3000, "b": "€" * 3000}

    with pytest.raises(TooLargeError, match=r"16,384 bytes \(16 KB\) in all, got 18,0"):
        envelope_of(event, parse_json)


@pytest.mark.parametrize("event_type", ["ops.alert.raised", "security.x"])
@pytest.mark.parametrize("data", [{}, None])
def test_platform_types_are_refused_before_anything_is_said_of_the_data(
    event_type: str, data: Any
) -> None:
    with pytest.raises(ForbiddenError):
        envelope_of({**EVENT, "type": event_type, "data": data}, parse_json)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8),
       st.dictionaries(st.sampled_from([*EVENT, "data_base64", "subject", "datacontenttype"]),
                       st.none() | st.text() | st.integers() | st.just("1.0")))  # fmt: skip
def test_whatever_is_sent_is_an_envelope_or_a_refusal(data: Any, given: dict[str, Any]) -> None:
    try:
        envelope_of({**EVENT, "data": data, **given}, parse_json)
    except ControlPlaneError:
        pass


# ---- admission


class Refusing:
    def __init__(self, pointer: str) -> None:
        self.pointer = pointer

    def prepare(self, caller: Caller, body: Any) -> Event:
        raise UnprocessableError((Flaw(self.pointer, "is wrong"),))

    def store(self, event: Event) -> Published:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("", ""),
        ("/payload", "/data"),
        ("/payload/a/payload", "/data/a/payload"),
        ("/event_id", "/id"),
        ("/event_type", "/type"),
        ("/timestamp", "/time"),
        ("/tenant_id", "/tenantid"),
        ("/schema_version", "/schemaversion"),
        ("/source", "/source"),
        ("/attributes/subject", "/subject"),
    ],
)
def test_a_refusal_names_the_cloudevents_own_fields(ours: str, theirs: str) -> None:
    admission = Admission(Refusing(ours), parse_json)

    with pytest.raises(UnprocessableError) as refused:
        admission.publish(Caller("x", frozenset(), None), EVENT)

    assert [flaw.pointer for flaw in refused.value.flaws] == [theirs]


def test_base64_of_json_text_is_decoded() -> None:
    packed = base64.b64encode('{"ü": 1}'.encode()).decode()
    event = {**EVENT, "data": None, "data_base64": packed, "datacontenttype": "application/json"}

    assert envelope_of(event, parse_json)["payload"] == {"ü": 1}
