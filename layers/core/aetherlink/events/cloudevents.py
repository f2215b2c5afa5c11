"""CloudEvents 1.0: what an HTTP request carries, and each event in it as an envelope.

Sources: CloudEvents spec 1.0.2, its JSON event format, and its HTTP binding ("binding" below).
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from aetherlink.events.compatibility import escaped
from aetherlink.events.model import is_from_platform
from aetherlink.kernel.errors import (
    Flaw,
    ForbiddenError,
    InvalidError,
    TooLargeError,
    UnprocessableError,
    UnsupportedMediaTypeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.events.model import Event, Published
    from aetherlink.kernel.tenancy import Caller


# What an attribute is called in our envelope. All others are kept under their own name.
_OURS = {
    "id": "event_id",
    "source": "source",
    "type": "event_type",
    "time": "timestamp",
    "tenantid": "tenant_id",
    "severity": "severity",
    "schemaversion": "schema_version",
}
_THEIRS = {ours: name for name, ours in _OURS.items()} | {"payload": "data"}
_REQUIRED = ("id", "source", "type")
_NO_ATTRIBUTES = frozenset({"specversion", "data", "data_base64"})
# The spec's own: text that is not empty (spec, Required and Optional Attributes).
_TEXTS = frozenset({*_REQUIRED, "subject", "time", "datacontenttype", "dataschema"})

# The spec asks for 20 characters at most and obliges nobody.
_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
# Characters that a String may not have (spec, Type System): control characters, halves of surrogate
# pairs, and Unicode's noncharacters, the last two of each plane among them.
_LAST_TWO = "".join(
    chr(last) for end in range(0x10000, 0x110001, 0x10000) for last in (end - 2, end - 1)
)
_NO_TEXT = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_LAST_TWO}]")
_INTEGERS = range(-(2**31), 2**31)
# They are stored beside the payload, in an item of 400 KB at most.
MAX_ATTRIBUTES_BYTES = 16 * 1024

_JSON = re.compile(r"[^/\s]+/(?:[^/\s]+\+)?json", re.ASCII)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)

_FORMS = (
    "send application/cloudevents+json (one event), application/cloudevents-batch+json (an array of "
    "events), or application/json with the event's attributes in ce-* headers, ce-specversion among them"
)


@dataclass(frozen=True)
class Received:
    """The events of a request as the JSON format has them, unchecked."""

    events: tuple[Any, ...]
    is_batch: bool = False


def decode(
    headers: Mapping[str, str], content_type: str, text: str, parse: Callable[[str], Any]
) -> Received:
    """What a request carries. `headers` have lower-case names.

    A CloudEvents media type decides (binding §3); otherwise the ce- headers do. A JSON body with a
    `specversion` is taken for one event even where it is called plain JSON: many clients do that.
    """
    kind = _media_type(content_type)
    if kind == "application/cloudevents-batch+json":
        return _batch(parse(text))
    if kind == "application/cloudevents+json":
        return Received((parse(text),))
    if kind.startswith("application/cloudevents"):
        raise UnsupportedMediaTypeError(f"The event format {kind[:80]} is not read here; {_FORMS}")
    if any(f"ce-{name}" in headers for name in ("specversion", *_REQUIRED)):
        return Received((_from_headers(headers, content_type, text, parse),))
    # A client that names no type: API Gateway calls it application/json.
    if kind in ("", "application/json"):
        event = parse(text)
        if isinstance(event, dict) and "specversion" in event:
            return Received((event,))
    shown = f" under {kind[:80]}" if kind else ""
    raise UnsupportedMediaTypeError(f"There is no CloudEvent{shown}; {_FORMS}")


def envelope_of(event: Any, parse: Callable[[str], Any]) -> dict[str, Any]:
    """The envelope that an event of the JSON format becomes. Its fields are text as the spec has it.

    Attributes that our envelope has no field for stand in `attributes`.
    """
    if not isinstance(event, dict):
        raise UnprocessableError((Flaw("", "must be a JSON object, a CloudEvent"),))
    _check_required(event)
    given = {name: v for name, v in event.items() if name not in _NO_ATTRIBUTES and v is not None}
    flaws = [flaw for name, value in given.items() for flaw in _flaws_of(name, value)]
    payload = _data(event, parse, flaws)
    if flaws:
        raise UnprocessableError(tuple(flaws))
    kept = {name: value for name, value in given.items() if name not in _OURS}
    size = len(json.dumps(kept, ensure_ascii=False).encode())
    if size > MAX_ATTRIBUTES_BYTES:
        raise TooLargeError(
            f"Attributes and extensions may have {MAX_ATTRIBUTES_BYTES:,} bytes (16 KB) in all, "
            f"got {size:,}"
        )
    envelope = {ours: given[name] for name, ours in _OURS.items() if name in given}
    envelope["payload"] = payload
    return {**envelope, "attributes": kept} if kept else envelope


class Publishing(Protocol):
    """What admitting CloudEvents needs of the publisher."""

    def prepare(self, caller: Caller, body: Any) -> Event: ...
    def store(self, event: Event) -> Published: ...


class Admission:
    """A publisher of CloudEvents: their form in, and their names in what is said about them."""

    def __init__(self, publisher: Publishing, parse: Callable[[str], Any]) -> None:
        self._publisher = publisher
        self._parse = parse

    def publish(self, caller: Caller, body: Any) -> Published:
        return self.store(self.prepare(caller, body))

    def prepare(self, caller: Caller, body: Any) -> Event:
        envelope = envelope_of(body, self._parse)
        try:
            return self._publisher.prepare(caller, envelope)
        except UnprocessableError as error:
            raise _in_their_words(error) from error

    def store(self, event: Event) -> Published:
        return self._publisher.store(event)


def _media_type(content_type: str) -> str:
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise UnsupportedMediaTypeError(f"charset must be utf-8, got {charset[1][:40]}")
    return content_type.partition(";")[0].strip().lower()


def _batch(parsed: Any) -> Received:
    if not isinstance(parsed, list):
        raise UnprocessableError((Flaw("", "must be a JSON array of CloudEvents"),))
    return Received(tuple(parsed), is_batch=True)


def _from_headers(
    headers: Mapping[str, str], content_type: str, text: str, parse: Callable[[str], Any]
) -> dict[str, Any]:
    """Binary mode: attributes in headers, the body is the data."""
    event: dict[str, Any] = {
        name[3:]: _header_text(name, value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if "data" in event or "data_base64" in event:
        raise InvalidError("ce-data is no attribute: in binary mode the body is the data")
    # Content-Type says it; a header of that name must not be sent (binding §3.1.1).
    event.pop("datacontenttype", None)
    if content_type:
        kind = _media_type(content_type)
        if not _JSON.fullmatch(kind):
            raise UnsupportedMediaTypeError(
                "The data becomes the event's payload and must be JSON: application/json or a type "
                f"that ends in +json, got {kind[:80]}"
            )
        event["datacontenttype"] = content_type
    if text:
        event["data"] = _parsed(text, parse, "/data")
    return event


def _header_text(header: str, value: str) -> str:
    """An attribute's text (binding §3.1.3.2): quotes first, then one round of percent-decoding.

    A value quoted as a whole is how older producers wrote blanks. A quote inside a value, and a `%`
    that begins no escape, come from producers that do not encode at all, and stay.
    """
    value = value.strip(" \t")
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        flaw = Flaw(
            f"/{escaped(header[3:])}", f"the header {header} has %-escapes that are not UTF-8"
        )
        raise UnprocessableError((flaw,)) from error


def _check_required(event: dict[str, Any]) -> None:
    version = event.get("specversion")
    if version in (None, ""):
        raise InvalidError(
            'Missing required attribute: specversion, which must be "1.0" '
            "(in binary mode the header ce-specversion)"
        )
    if version != "1.0":
        raise InvalidError(f'specversion must be "1.0", got {json.dumps(version)[:40]}')
    for name in _REQUIRED:
        if event.get(name) in (None, ""):
            raise InvalidError(
                f"Missing required attribute: {name} (in binary mode the header ce-{name})"
            )
    if isinstance(event["type"], str) and is_from_platform(event["type"]):
        # Before anything is said of the data, as for any other way to publish.
        raise ForbiddenError(
            f"{event['type'][:128]} is emitted by the platform itself and cannot be published"
        )


def _flaws_of(name: str, value: Any) -> list[Flaw]:
    """What is wrong with an attribute, whether the spec's own or an extension."""
    if not _NAME.fullmatch(name):
        return [Flaw(f"/{escaped(name)}", "an attribute's name has 1 to 64 letters a-z and digits")]
    if name in _TEXTS and not (isinstance(value, str) and value):
        return [Flaw(f"/{name}", "must be text that is not empty")]
    if isinstance(value, str):
        wrong = _NO_TEXT.search(value)
        return [Flaw(f"/{name}", f"has the character U+{ord(wrong[0]):04X}")] if wrong else []
    if isinstance(value, bool) or (isinstance(value, int) and value in _INTEGERS):
        return []
    return [Flaw(f"/{name}", "must be text, a boolean, or a whole number of 32 bits")]


def _data(event: dict[str, Any], parse: Callable[[str], Any], flaws: list[Flaw]) -> Any:
    """The event's data; what is wrong with it is added to `flaws`."""
    kind = event.get("datacontenttype")
    if any(flaw.pointer == "/datacontenttype" for flaw in flaws):
        kind = None
    if isinstance(kind, str) and not _JSON.fullmatch(kind.partition(";")[0].strip().lower()):
        flaws.append(
            Flaw(
                "/datacontenttype",
                "must be application/json or a type that ends in +json, since the data becomes the "
                f"event's payload, got {kind[:80]}",
            )
        )
        return None
    place, data = "/data", event.get("data")
    if event.get("data_base64") is not None:
        place = "/data_base64"
        if data is not None:
            flaws.append(Flaw(place, "cannot stand beside data"))
            return None
        data = _unpacked(event["data_base64"], parse)
    if not isinstance(data, dict):
        got = "nothing" if data is None else json.dumps(data, ensure_ascii=False)[:60]
        flaws.append(
            Flaw(place, f"must be a JSON object, which becomes the event's payload, got {got}")
        )
    return data


def _unpacked(given: Any, parse: Callable[[str], Any]) -> Any:
    try:
        text = base64.b64decode(given, validate=True).decode()
    except (ValueError, TypeError) as error:
        flaw = Flaw("/data_base64", "must be JSON text in UTF-8, encoded as base64")
        raise UnprocessableError((flaw,)) from error
    return _parsed(text, parse, "/data_base64")


def _parsed(text: str, parse: Callable[[str], Any], place: str) -> Any:
    try:
        return parse(text)
    except UnprocessableError as error:
        raise UnprocessableError(
            tuple(Flaw(place + flaw.pointer, flaw.detail) for flaw in error.flaws)
        ) from error


def _in_their_words(error: UnprocessableError) -> UnprocessableError:
    """The error with pointers into the CloudEvent rather than into the envelope made of it."""
    return UnprocessableError(tuple(Flaw(_renamed(f.pointer), f.detail) for f in error.flaws))


def _renamed(pointer: str) -> str:
    root, first, *inner = pointer.split("/") if "/" in pointer else (pointer, "")
    if first == "attributes" and inner:
        return "/".join(("", *inner))
    return "/".join((root, _THEIRS.get(first, first), *inner)) if first else pointer
