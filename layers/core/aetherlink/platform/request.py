"""What the gateway hands over, in the one form that everything behind the edge reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from aetherlink.kernel.errors import Flaw, InvalidError, NotFoundError, UnprocessableError
from aetherlink.kernel.paging import WRONG_CURSOR

if TYPE_CHECKING:
    from aetherlink.platform.body import Proxy

# A sort key in DynamoDB has 1,024 bytes at most, and no id or name of ours is longer than 128
# characters. A cursor holds a position, which may be made of several.
MAX_VALUE_BYTES = 1_000
MAX_CURSOR_BYTES = 4_000

# Who sends one of these twice leaves it to chance which one is believed.
_ONCE = ("authorization", "x-api-key", "x-user-roles", "x-tenant-id", "idempotency-key")


# W3C Trace Context: version 00 has these four fields, later ones may have more; ff is no version.
_TRACEPARENT = re.compile(
    r"(?:00|(?!00|ff)(?P<later>[0-9a-f]{2}))-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?(later)(?:-.{0,200})?)",
    re.ASCII,
)


def normalised(event: Proxy) -> Proxy:
    """The event with lower-case header names, a decoded body and a path that Powertools can match.

    The gateway has chosen the resource already; rebuilding the path from it keeps an id with an
    escaped slash in one segment. Never raises: a refusal is answered with what this returns.
    """
    given = event.get("headers") or {}
    headers = {str(name).lower(): str(value) for name, value in given.items() if value is not None}
    # Every body is JSON, whatever the client calls it: `curl -d` calls it a form.
    headers["content-type"] = "application/json"
    resource = event.get("resource") or event["path"]
    path = resource
    for name, value in (event.get("pathParameters") or {}).items():
        path = path.replace("{" + name + "}", _segment(value, safe=""))
        path = path.replace("{" + name + "+}", _segment(value, safe="/"))
    return {**event, "headers": headers, "resource": resource, "path": path}


def content_type(event: Proxy) -> str:
    """The client's own; "" if it sent none."""
    given = event.get("headers") or {}
    return next((str(v) for n, v in given.items() if v and str(n).lower() == "content-type"), "")


def check_headers(event: Proxy) -> None:
    """Raises InvalidError where a header that decides who calls came more than once."""
    counts: dict[str, int] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        lowered = str(name).lower()
        counts[lowered] = counts.get(lowered, 0) + len(values or ())
    for name in _ONCE:
        if counts.get(name, 0) > 1:
            raise InvalidError(f"The header {name} was sent {counts[name]} times; once is right")


def check_parameters(event: Proxy) -> None:
    """Raises for a parameter that came twice or is longer than anything there is.

    No route has a parameter of several values; a contract test keeps it so.
    """
    for name, value in (event.get("pathParameters") or {}).items():
        if len(unquote(str(value or "")).encode("utf-8", "replace")) > MAX_VALUE_BYTES:
            raise NotFoundError(f"There is nothing of that name: the {name} is too long")
    flaws = []
    for name, values in (event.get("multiValueQueryStringParameters") or {}).items():
        size = max((len(str(v).encode("utf-8", "replace")) for v in values or ()), default=0)
        if len(values or ()) > 1:
            flaws.append(Flaw(f"query/{name}", f"was given {len(values)} times; once is right"))
        elif name == "cursor":
            if size > MAX_CURSOR_BYTES:
                raise InvalidError(WRONG_CURSOR)
        elif size > MAX_VALUE_BYTES:
            flaws.append(Flaw(f"query/{name}", f"may have {MAX_VALUE_BYTES:,} bytes at most"))
    if flaws:
        raise UnprocessableError(tuple(flaws))


def ip(event: Proxy) -> str:
    # From the gateway's own connection, never from X-Forwarded-For, which any caller can write.
    return str(_context(event).get("identity", {}).get("sourceIp") or "")


def trace_id(event: Proxy) -> str:
    """The W3C trace id the client sent (`traceparent`), else the gateway's request id."""
    sent = _TRACEPARENT.fullmatch(event["headers"].get("traceparent", ""))
    if sent and sent["trace"] != "0" * 32 and sent["parent"] != "0" * 16:
        return sent["trace"]
    return str(_context(event).get("requestId") or "")


def _context(event: Proxy) -> dict[str, Any]:
    return event.get("requestContext") or {}


def _segment(value: Any, *, safe: str) -> str:
    return quote(unquote(str(value or "")), safe=safe, errors="replace")
