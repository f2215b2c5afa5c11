"""Headers that every answer carries: what keeps browsers in bounds, and which pages may read it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from aetherlink.kernel.access import methods_of
from aetherlink.kernel.errors import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.platform.body import Proxy
    from aetherlink.platform.config import Config

Headers = dict[str, list[str]]

# No answer of the API is a page. The same are in the template, for what the gateway answers itself.
SECURITY: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Only where there is TLS: the local stage speaks plain HTTP.
STRICT_TRANSPORT: Final = "max-age=63072000; includeSubDomains"

_TAKEN = (
    "Authorization",
    "X-Api-Key",
    "Content-Type",
    "X-Tenant-ID",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
    "traceparent",
)
# A REST API hands WWW-Authenticate on under the second name.
_EXPOSED = (
    "ETag",
    "X-Trace-Id",
    "X-Next-Cursor",
    "Retry-After",
    "Idempotency-Replayed",
    "Allow",
    "WWW-Authenticate",
    "x-amzn-Remapped-WWW-Authenticate",
)
_PREFLIGHT_SECONDS = 600
NO_CONTENT = 204


@cache
def origins_in(text: str) -> frozenset[str]:
    """The origins of a comma list. `null` is what any sandboxed page calls itself: it is none."""
    named = (origin.strip() for origin in text.split(","))
    return frozenset(origin for origin in named if origin.startswith(("http://", "https://")))


def finish(answer: Proxy, event: Proxy, settings: Config, trace_id: str) -> None:
    """Give `answer` the headers that every answer carries; HEAD gets no body."""
    headers: Headers = answer.setdefault("multiValueHeaders", {})
    for name, value in SECURITY.items():
        headers.setdefault(name, [value])
    if settings.stage != "local":
        headers["Strict-Transport-Security"] = [STRICT_TRANSPORT]
    headers["X-Trace-Id"] = [trace_id]
    allowed = origins_in(settings.cors_origins)
    if allowed or event["httpMethod"] == "OPTIONS":
        headers["Vary"] = ["Origin"]
    origin = event["headers"].get("origin")
    if origin in allowed:
        headers["Access-Control-Allow-Origin"] = [origin]
        headers["Access-Control-Expose-Headers"] = [", ".join(_EXPOSED)]
    if event["httpMethod"] == "HEAD":
        answer["body"] = ""


def options(event: Proxy, settings: Config) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer to OPTIONS; those that all answers carry are left out.

    Raises NotFoundError for a path that does not exist, ForbiddenError for a page that asks before a
    request (a preflight) from an origin that is not in CorsOrigins.
    """
    methods = methods_of(event["path"])
    if not methods:
        raise NotFoundError(f"There is no {event['path']}; GET /openapi.json lists every path")
    headers = event["headers"]
    origin, wanted = headers.get("origin"), headers.get("access-control-request-method")
    if origin is None or wanted is None:
        return NO_CONTENT, {"Allow": _listed((*methods, "OPTIONS"))}
    if origin not in origins_in(settings.cors_origins):
        raise ForbiddenError("Pages of this origin may not call the API; CorsOrigins names who may")
    taken = (*_TAKEN, "X-User-Roles") if settings.auth_mode == "dev" else _TAKEN
    return NO_CONTENT, {
        "Access-Control-Allow-Methods": _listed(methods),
        "Access-Control-Allow-Headers": _listed(taken),
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
