"""The HTTP edge every API function shares: permission, errors as problem+json, one log line."""

from __future__ import annotations

import base64
import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.depends import Depends
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.event_handler.request import Request  # noqa: TC002 - read at run time

from aetherlink.kernel.access import ROUTES, is_change
from aetherlink.kernel.errors import (
    ConflictError,
    ControlPlaneError,
    Flaw,
    ForbiddenError,
    InvalidError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
    UnprocessableError,
    UnsupportedMediaTypeError,
)
from aetherlink.kernel.tenancy import Caller
from aetherlink.kernel.time import to_text, utc_now
from aetherlink.platform import auditing, rates, tally
from aetherlink.platform.config import config
from aetherlink.platform.idempotency import once
from aetherlink.platform.identity import CHALLENGE, authorise, identify
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    ByTicket = Callable[[str, Mapping[str, str]], Caller]

MAX_BODY_BYTES = 4 * 1024 * 1024
# Characters that an answer spends on saying what is wrong: Lambda answers with 6 MB at most, and a
# small body can have a great many flaws.
_ROOM = 100_000
_ROOM_OF_AN_ITEM = 1_500

STATUS_BY_ERROR: dict[type[ControlPlaneError], int] = {
    InvalidError: 400,
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    MethodNotAllowedError: 405,
    ConflictError: 409,
    TooLargeError: 413,
    UnsupportedMediaTypeError: 415,
    UnprocessableError: 422,
    TooManyRequestsError: 429,
    UnavailableError: 503,
}

HTTP_BAD_REQUEST = 400
HTTP_SERVER_ERROR = 500

Proxy = dict[str, Any]


def create_app() -> APIGatewayRestResolver:
    app = APIGatewayRestResolver(
        enable_validation=True, json_body_deserializer=parse_object, serializer=to_json
    )
    app.exception_handler(RequestValidationError)(_refuse_fields)
    app.exception_handler(RequestUnsupportedContentType)(_refuse_fields)
    return app


def serve(
    app: APIGatewayRestResolver,
    service: str,
    *,
    by_ticket: ByTicket | None = None,
    keys_may_be_cached: bool = False,
) -> Callable[[Proxy, Any], Proxy]:
    """The Lambda handler of `app`: admits the caller, runs the route, and never leaks an exception.

    The role check stands here, before Powertools validates the body, because a stranger is to learn
    nothing of what a valid body would be. `service` names the part in the request log.
    `by_ticket` makes a caller of `?ticket=` and the headers, for who cannot send credentials.
    `keys_may_be_cached` believes a key that was looked up up to 30 seconds ago: for publishing alone,
    which pays one AWS call. That bounds how long a revoked key still publishes.
    """

    def lambda_handler(event: Proxy, context: Any) -> Proxy:
        started = time.perf_counter()
        sent_as = _content_type(event)
        event = _normalised(event)
        caller: Caller | None = None
        reason = ""
        try:
            caller = _caller(event, by_ticket, may_be_cached=keys_may_be_cached)
            _admit(event, caller)
            app.context["caller"] = caller
            app.context["sent"] = Sent(sent_as, event["headers"], event["body"])
            answer = once(event, caller, lambda: _resolve(app, event, context))
        except ControlPlaneError as error:
            answer, reason = problem(error, event), str(error)
        except Exception:  # noqa: BLE001 - the edge: a bug becomes a 500 without its details
            logger.exception("unexpected failure", path=event["resource"])
            answer = problem(ControlPlaneError(_OUR_FAULT), event)
        finally:
            app.context.clear()
        _record(answer, event, caller, service, reason)
        _finish(answer, event)
        _log_request(answer, event, caller, service, started)
        return answer

    return lambda_handler


def _resolve(app: APIGatewayRestResolver, event: Proxy, context: Any) -> Proxy:
    answer: Proxy = app.resolve(event, context)
    return answer


def _record(answer: Proxy, event: Proxy, caller: Caller | None, service: str, reason: str) -> None:
    """Count the request; append it to the audit if it changed something or was denied.

    Denied is who we know and refuse. Who shows no valid credential is nobody, and only counted: a
    flood of 401 must not become a flood of writes.
    """
    status = answer["statusCode"]
    tally.count(service, event["resource"], status, caller)
    if caller is None:
        return
    is_denied = status == STATUS_BY_ERROR[ForbiddenError]
    # A server error may have come after the change.
    may_have_changed = status < HTTP_BAD_REQUEST or status >= HTTP_SERVER_ERROR
    if is_denied or (may_have_changed and is_change(event["httpMethod"], event["resource"])):
        auditing.append(event, caller, service=service, status=status, reason=reason)


def current_caller(request: Request) -> Caller:
    caller: Caller = request.context["caller"]
    return caller


By = Annotated[Caller, Depends(current_caller)]


@dataclass(frozen=True)
class Sent:
    """A request's body as it came, for a route that takes more than a JSON object.

    `content_type` is the client's own, which the headers no longer show; "" if it sent none.
    """

    content_type: str
    headers: Mapping[str, str]
    text: str


def sent_body(request: Request) -> Sent:
    sent: Sent = request.context["sent"]
    return sent


AsSent = Annotated[Sent, Depends(sent_body)]


def path_text(request: Request, name: str) -> str:
    """A path parameter as the client meant it, with its percent-escapes undone once."""
    return unquote(str((request.path_parameters or {})[name]))


def parse_json(text: str) -> Any:
    """JSON as RFC 8259 has it. Raises UnprocessableError for what Python alone would let through."""
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


def answered(body: Any, status: int) -> Response[Any]:
    """A route's answer with a status other than 200."""
    return Response(status_code=status, content_type="application/json", body=body)


def problem(error: ControlPlaneError, event: Proxy) -> Proxy:
    """`error` as an RFC 9457 answer."""
    status = _status(error)
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": status,
        "detail": _cut(str(error), _ROOM),
        "instance": event.get("requestContext", {}).get("path") or event["path"],
        "trace_id": _trace_id(event),
        **_errors(error, _ROOM),
    }
    headers = {"Content-Type": "application/problem+json"}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, TooManyRequestsError):
        body["retry"] = error.retry_after_seconds * 1000
    if isinstance(error, (TooManyRequestsError, UnavailableError)):
        headers["Retry-After"] = str(getattr(error, "retry_after_seconds", 2))
    return {
        "statusCode": status,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "body": to_json(body),
        "isBase64Encoded": False,
    }


def item_problem(error: Exception) -> dict[str, Any]:
    """The same for one item of a batch, as members of its result. Any error that is none of ours is
    a bug, and shows nothing of itself."""
    known = error if isinstance(error, ControlPlaneError) else ControlPlaneError(_OUR_FAULT)
    return {
        "http_status": _status(known),
        "title": known.title,
        "detail": _cut(str(known), _ROOM_OF_AN_ITEM),
        **_errors(known, _ROOM_OF_AN_ITEM),
    }


def _status(error: ControlPlaneError) -> int:
    return next((STATUS_BY_ERROR[t] for t in type(error).__mro__ if t in STATUS_BY_ERROR), 500)


def _errors(error: ControlPlaneError, room: int) -> dict[str, Any]:
    """The member `errors`, where the error names fields: the first of them that there is room for."""
    if not isinstance(error, UnprocessableError):
        return {}
    shown: list[dict[str, str]] = []
    for flaw in error.flaws:
        room -= len(flaw.pointer) + len(flaw.detail)
        if shown and room < 0:
            more = len(error.flaws) - len(shown)
            shown.append({"pointer": "", "detail": f"and {more:,} more like these"})
            break
        # The first is shown whatever its length; a name of a megabyte can stand in it.
        pointer, detail = _cut(flaw.pointer, 1_000), _cut(flaw.detail, 1_000)
        shown.append({"pointer": pointer, "detail": detail})
    return {"errors": shown}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _content_type(event: Proxy) -> str:
    given = event.get("headers") or {}
    return next((str(v) for n, v in given.items() if v and str(n).lower() == "content-type"), "")


def _normalised(event: Proxy) -> Proxy:
    """The event with lower-case header names, a decoded body and a path that Powertools can match.

    The gateway has chosen the resource already; rebuilding the path from it keeps an id with an
    escaped slash in one segment.
    """
    given = event.get("headers") or {}
    headers = {str(name).lower(): str(value) for name, value in given.items() if value is not None}
    # Every body is JSON, whatever the client calls it: `curl -d` calls it a form.
    headers["content-type"] = "application/json"
    resource = event.get("resource") or event["path"]
    path = resource
    for name, value in (event.get("pathParameters") or {}).items():
        path = path.replace("{" + name + "}", quote(unquote(value or ""), safe=""))
        path = path.replace("{" + name + "+}", quote(unquote(value or ""), safe="/"))
    return {**event, "headers": headers, "resource": resource, "path": path}


def _caller(event: Proxy, by_ticket: ByTicket | None, *, may_be_cached: bool) -> Caller | None:
    """Who calls; None on a route that is open to anybody, or is the fallback (404, 405)."""
    required = ROUTES.get((event["httpMethod"], event["resource"]))
    if required:
        return _identify(event, by_ticket, may_be_cached=may_be_cached)
    is_fallback = "+}" in event["resource"] or event["resource"] == "/"
    if required is None and not is_fallback:
        raise ForbiddenError("This route is not in the access table; nobody may use it")
    return None


def _admit(event: Proxy, caller: Caller | None) -> None:
    """Let the caller in or raise; the body is text of at most 4 MB after this."""
    if caller:
        method, resource = event["httpMethod"], event["resource"]
        authorise(caller, ROUTES[method, resource], method, resource)
        rates.admit(caller)
    event["body"] = _text_body(event)
    event["isBase64Encoded"] = False


def _identify(event: Proxy, by_ticket: ByTicket | None, *, may_be_cached: bool) -> Caller:
    """The caller by its headers; by a ticket only if it sends none that say who it is."""
    headers = event["headers"]
    has_credentials = any(headers.get(name, "").strip() for name in _CREDENTIALS)
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    # Of a GET alone: what sends no headers can do nothing else, and no ticket buys another.
    if by_ticket and ticket and not has_credentials and event["httpMethod"] == "GET":
        caller = by_ticket(ticket, headers)
        return replace(caller, ip=_ip(event), trace_id=_trace_id(event))
    return identify(
        headers,
        mode=config().auth_mode,
        ip=_ip(event),
        trace_id=_trace_id(event),
        may_be_cached=may_be_cached,
    )


_CREDENTIALS = ("authorization", "x-api-key", "x-user-roles")


def _text_body(event: Proxy) -> str:
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


_OUR_FAULT = "Something went wrong on our side"
_BODY_TOO_LARGE = f"A request body may have {MAX_BODY_BYTES:,} bytes (4 MB) at most"


def _refuse_fields(error: RequestValidationError) -> Response[str]:
    """Powertools' findings as a problem: body fields by JSON pointer, parameters by name."""
    flaws = tuple(_flaw(finding) for finding in error.errors())
    raise UnprocessableError(flaws)


def _flaw(finding: dict[str, Any]) -> Flaw:
    place, *inner = finding["loc"]
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in inner)
    given = finding.get("input")
    detail = str(finding["msg"]).removeprefix("Value error, ")
    if isinstance(given, (str, int, float, bool)) and str(given)[:60] not in detail:
        detail += f", got {json.dumps(given, ensure_ascii=False)[:60]}"
    return Flaw(pointer if place == "body" else f"{place}{pointer}", detail)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:32]} is too large")
    return number


def _ip(event: Proxy) -> str:
    # From the gateway's own connection, never from X-Forwarded-For, which any caller can write.
    return str(event.get("requestContext", {}).get("identity", {}).get("sourceIp") or "")


def _trace_id(event: Proxy) -> str:
    """The W3C trace id the client sent (`traceparent`), else the gateway's request id."""
    parts = event["headers"].get("traceparent", "").split("-")
    sent = parts[1] if len(parts) >= 4 else ""  # noqa: PLR2004 - version-trace-parent-flags
    if len(sent) == 32 and set(sent) <= set("0123456789abcdef") and set(sent) != {"0"}:  # noqa: PLR2004
        return sent
    return str(event.get("requestContext", {}).get("requestId") or "")


def _finish(answer: Proxy, event: Proxy) -> None:
    """Headers that every answer carries."""
    headers = answer.setdefault("multiValueHeaders", {})
    headers.setdefault("Cache-Control", ["no-store"])
    headers.setdefault("X-Content-Type-Options", ["nosniff"])
    headers["X-Trace-Id"] = [_trace_id(event)]


def _log_request(
    answer: Proxy, event: Proxy, caller: Caller | None, service: str, started: float
) -> None:
    logger.info(
        "request",
        ts=to_text(utc_now()),
        service=service,
        path=event["resource"],
        method=event["httpMethod"],
        roles=sorted(caller.roles) if caller else [],
        tenant=caller.tenant_id if caller else None,
        status=answer["statusCode"],
        client_ip=_ip(event),
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        trace_id=_trace_id(event),
    )
