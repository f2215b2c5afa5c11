"""Errors as clients read them: RFC 9457 problems, of a request and of one item of a batch."""

from __future__ import annotations

from typing import Any

from aetherlink.kernel.errors import (
    ConflictError,
    ControlPlaneError,
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
    UpstreamError,
)
from aetherlink.platform.body import Proxy, to_json
from aetherlink.platform.identity import CHALLENGE
from aetherlink.platform.request import trace_id

# Where OpenAI's clients are spoken to: of an error they show their users `error.message` alone.
OPENAI_PATHS = "/v1/"
# Characters that an answer spends on saying what is wrong: Lambda answers with 6 MB at most, and a
# small body can have a great many flaws.
_ROOM = 100_000
_ROOM_OF_AN_ITEM = 1_500
_ROOM_OF_A_PATH = 2_000

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
    UpstreamError: 502,
    UnavailableError: 503,
}
OUR_FAULT = "Something went wrong on our side"


def problem(error: ControlPlaneError, event: Proxy) -> Proxy:
    """`error` as the answer to a request."""
    status = _status(error)
    path = (event.get("requestContext") or {}).get("path") or event["path"]
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": status,
        "detail": _cut(str(error), _ROOM),
        "instance": _cut(str(path), _ROOM_OF_A_PATH),
        "trace_id": trace_id(event),
        **_errors(error, _ROOM),
        **error.extensions,
    }
    if str(event.get("resource", "")).startswith(OPENAI_PATHS):
        body["error"] = {"message": body["detail"], "type": error.title, "code": str(status)}
    headers = {"Content-Type": "application/problem+json"}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, TooManyRequestsError):
        body["retry"] = error.retry_after_seconds * 1000
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    return {
        "statusCode": status,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        # What a client sent may stand in it, and need not be text: half a surrogate pair cannot be sent.
        "body": to_json(body).encode("utf-8", "replace").decode(),
        "isBase64Encoded": False,
    }


def item_problem(error: Exception) -> dict[str, Any]:
    """The same for one item of a batch, as members of its result. Any error that is none of ours is
    a bug, and shows nothing of itself."""
    known = error if isinstance(error, ControlPlaneError) else ControlPlaneError(OUR_FAULT)
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
