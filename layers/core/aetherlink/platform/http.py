"""The HTTP edge every API function shares: permission, errors as problem+json, one log line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.depends import Depends
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.event_handler.request import Request  # noqa: TC002 - read at run time
from pydantic import BaseModel, ValidationError

from aetherlink.kernel.access import ROUTES, is_change, no_such_route
from aetherlink.kernel.errors import ControlPlaneError, Flaw, ForbiddenError, UnprocessableError
from aetherlink.kernel.reach import reach_of
from aetherlink.kernel.tenancy import Caller
from aetherlink.kernel.time import to_text, utc_now
from aetherlink.platform import auditing, boundary, headers, rates, tally
from aetherlink.platform.body import (
    MAX_BODY_BYTES,
    Proxy,
    any_text_in,
    check_answer,
    parse_json,
    parse_object,
    text_in,
    to_json,
)
from aetherlink.platform.config import config
from aetherlink.platform.idempotency import REPLAYED, once
from aetherlink.platform.identity import authorise, identify
from aetherlink.platform.problems import OUR_FAULT, STATUS_BY_ERROR, item_problem, problem
from aetherlink.platform.request import (
    check_headers,
    check_parameters,
    content_type,
    ip,
    normalised,
    trace_id,
)
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

    from aetherlink.platform.bearers import Bearer, Bearers

# What routes need of the edge.
__all__ = [
    "MAX_BODY_BYTES",
    "AsSent",
    "By",
    "Sent",
    "answered",
    "checked",
    "create_app",
    "current_caller",
    "item_problem",
    "options",
    "parse_json",
    "parse_object",
    "path_text",
    "problem",
    "sent_body",
    "serve",
    "to_json",
]

HTTP_BAD_REQUEST = 400
HTTP_SERVER_ERROR = 500

Model = TypeVar("Model", bound=BaseModel)


def create_app() -> APIGatewayRestResolver:
    app = APIGatewayRestResolver(
        enable_validation=True, json_body_deserializer=parse_object, serializer=to_json
    )
    app.exception_handler(RequestValidationError)(_refuse_fields)
    app.exception_handler(RequestUnsupportedContentType)(_refuse_fields)

    # Else Powertools answers in a form of its own.
    @app.not_found
    def elsewhere(_error: Exception) -> None:
        event = app.current_event
        no_such_route(event.http_method, event.path)

    return app


def serve(
    app: APIGatewayRestResolver,
    service: str,
    *,
    bearers: Bearers | None = None,
    keys_may_be_cached: bool = False,
) -> Callable[[Proxy, Any], Proxy]:
    """The Lambda handler of `app`: admits the caller, runs the route, and never leaks an exception.

    The role check stands here, before Powertools validates the body, because a stranger is to learn
    nothing of what a valid body would be. `service` names the part in the request log.
    `bearers` are the routes whose callers may show who they are elsewhere than in the headers.
    `keys_may_be_cached` believes a key that was looked up up to 30 seconds ago: for publishing alone,
    which pays one AWS call. That bounds how long a revoked key still publishes.
    """

    def lambda_handler(event: Proxy, context: Any) -> Proxy:
        started = time.perf_counter()
        sent_as = content_type(event)
        event = normalised(event)
        caller: Caller | None = None
        reason = ""
        try:
            bearer = (bearers or {}).get((event["httpMethod"], event["resource"]))
            caller = _caller(event, bearer, may_be_cached=keys_may_be_cached)
            _admit(event, caller, is_free_text=bearer is not None and bearer.alone)
            app.context["caller"] = caller
            app.context["sent"] = Sent(sent_as, event["headers"], event["body"])
            with boundary.within(reach_of(caller)):
                answer = once(event, caller, lambda: _resolve(app, event, context))
            if not is_change(event["httpMethod"], event["resource"]):
                check_answer(answer)
        except ControlPlaneError as error:
            answer, reason = problem(error, event), str(error)
        except Exception:  # noqa: BLE001 - the edge: a bug becomes a 500 without its details
            logger.exception("unexpected failure", path=event["resource"])
            answer = problem(ControlPlaneError(OUR_FAULT), event)
        finally:
            app.context.clear()
        _record(answer, event, caller, service, reason)
        headers.finish(answer, event, config(), trace_id(event))
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
    if caller and status == STATUS_BY_ERROR[ForbiddenError]:
        rates.note_standing(caller)
    tally.count(service, event["resource"], status, caller)
    if caller is None:
        return
    is_denied = status == STATUS_BY_ERROR[ForbiddenError]
    # A server error may have come after the change; a repeated answer changed nothing.
    is_done = status < HTTP_BAD_REQUEST and REPLAYED not in answer["multiValueHeaders"]
    may_have_changed = is_done or status >= HTTP_SERVER_ERROR
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


def answered(body: Any, status: int) -> Response[Any]:
    """A route's answer with a status other than 200."""
    return Response(status_code=status, content_type="application/json", body=body)


def options(event: APIGatewayProxyEvent) -> Response[str]:
    """The answer to OPTIONS, which the fallback takes for every path. Nobody has to be known."""
    status, given = headers.options(event.raw_event, config())
    return Response(status_code=status, body="", headers=given)


def _caller(event: Proxy, bearer: Bearer | None, *, may_be_cached: bool) -> Caller | None:
    """Who calls; None on a route that is open to anybody, or is the fallback (404, 405)."""
    check_headers(event)
    required = ROUTES.get((event["httpMethod"], event["resource"]))
    if required:
        caller = _identify(event, bearer, may_be_cached=may_be_cached)
        return replace(caller, check_tenant=rates.check_tenant)
    is_fallback = "+}" in event["resource"] or event["resource"] == "/"
    if required is None and not is_fallback:
        raise ForbiddenError("This route is not in the access table; nobody may use it")
    return None


def _admit(event: Proxy, caller: Caller | None, *, is_free_text: bool) -> None:
    """Let the caller in or raise; the body is text of at most 4 MB after this."""
    if caller:
        method, resource = event["httpMethod"], event["resource"]
        authorise(caller, ROUTES[method, resource], method, resource)
        rates.admit(caller, method, resource)
    check_parameters(event)
    event["body"] = any_text_in(event) if is_free_text else text_in(event)
    event["isBase64Encoded"] = False


def _identify(event: Proxy, bearer: Bearer | None, *, may_be_cached: bool) -> Caller:
    """The caller by its headers, or by what the route takes in their place."""
    sent = event["headers"]
    has_credentials = any(sent.get(name, "").strip() for name in _CREDENTIALS)
    secret = bearer.find(event) if bearer and (bearer.alone or not has_credentials) else None
    if bearer and secret and bearer.caller:
        caller = bearer.caller(secret, sent)
        return replace(caller, ip=ip(event), trace_id=trace_id(event))
    return identify(
        {**sent, "x-api-key": secret} if secret else sent,
        mode=config().auth_mode,
        ip=ip(event),
        trace_id=trace_id(event),
        may_be_cached=may_be_cached,
    )


_CREDENTIALS = ("authorization", "x-api-key", "x-user-roles")


def checked(model: type[Model], body: Any, *, at: str) -> Model:
    """`body` as `model`, for what a route put together itself; flaws are pointed at below `at`."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        flaws = (_flaw({**f, "loc": ("body", *f["loc"])}) for f in error.errors(include_url=False))
        raise UnprocessableError(
            tuple(replace(flaw, pointer=at + flaw.pointer) for flaw in flaws)
        ) from error


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
        client_ip=ip(event),
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        trace_id=trace_id(event),
    )
