"""Bodies: how large they may be, what counts as JSON, how it is written."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from aetherlink.kernel.errors import Flaw, TooLargeError, UnprocessableError

# An API Gateway proxy event, or the answer to one.
Proxy = dict[str, Any]

MAX_BODY_BYTES = 4 * 1024 * 1024
# Lambda hands an answer on as JSON: quotes and backslashes in the body cost one byte more there, and
# 6 MB (6,291,556 bytes) is all it takes; the rest is for headers.
_MAX_WIRE_BYTES = 6_200_000
# Of a body that is free text, in characters.
MAX_FREE_TEXT = 12_000
_BODY_TOO_LARGE = f"A request body may have {MAX_BODY_BYTES:,} bytes (4 MB) at most"


def text_in(event: Proxy) -> str:
    """The body as text. Raises TooLargeError over 4 MB, UnprocessableError for what is no UTF-8."""
    raw = event.get("body") or ""
    if len(raw) > MAX_BODY_BYTES * 2:
        raise TooLargeError(_BODY_TOO_LARGE)
    try:
        octets = base64.b64decode(raw) if event.get("isBase64Encoded") else raw.encode()
        text = octets.decode()
    except ValueError as error:
        raise UnprocessableError((Flaw("", "is not UTF-8 text"),)) from error
    if len(octets) > MAX_BODY_BYTES:
        raise TooLargeError(_BODY_TOO_LARGE)
    return text


def any_text_in(event: Proxy) -> str:
    """The beginning of the body as text, whatever it is: for a route that is not about its body."""
    raw = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(raw[:MAX_FREE_TEXT])
    # Whole groups of four characters, each of which is three bytes.
    octets = base64.b64decode(raw[: MAX_FREE_TEXT // 3 * 4] + "===")
    return octets.decode(errors="replace")


def check_answer(answer: Proxy) -> None:
    """Raises TooLargeError for an answer that could not be sent: lists cut their pages before, and
    what has no pages says so rather than failing on its way out."""
    text = answer.get("body") or ""
    # One character may have four bytes, or be written as two.
    if len(text) * 4 <= MAX_BODY_BYTES:
        return
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_BODY_BYTES or size + text.count('"') + text.count("\\") > _MAX_WIRE_BYTES:
        raise TooLargeError(
            f"The answer would have {size:,} bytes, and 4 MB is what can be sent; ask for less, by a "
            "smaller limit, a filter, or one tenant"
        )


def parse_json(text: str) -> Any:
    """JSON as RFC 8259 has it; of a name that comes twice, the last one counts. Raises
    UnprocessableError for what Python alone would let through."""
    try:
        parsed = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in text:
            # An escaped lone surrogate is legal JSON and no text: it can be neither stored nor sent.
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UnprocessableError(
            (Flaw("", "has half a surrogate pair, which is no text"),)
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnprocessableError((Flaw("", f"is not valid JSON: {str(error)[:120]}"),)) from error
    return parsed


def parse_object(text: str) -> dict[str, Any]:
    """A request body. (Of an array Powertools would take the first element and drop the others.)"""
    parsed = parse_json(text)
    if not isinstance(parsed, dict):
        kind = "an array" if isinstance(parsed, list) else f"{text.strip()[:20]}"
        raise UnprocessableError((Flaw("", f"must be a JSON object, got {kind}"),))
    return parsed


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:32]} is too large")
    return number
