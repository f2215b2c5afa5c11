"""Every failure a caller can be told about. `platform.http` maps each to a status once.

ControlPlaneError
├── InvalidError            400  the request makes no sense as it stands
├── UnauthenticatedError    401  nobody we know is calling
├── ForbiddenError          403  we know who it is, and they may not
├── NotFoundError           404  no such thing, or not theirs (the two look alike)
├── MethodNotAllowedError   405  the path exists, the method does not
├── ConflictError           409  it is there already, or somebody was faster
│   └── StillRunningError        the same request is being carried out; says when to ask again
├── TooLargeError           413  more than we take, with the limit
├── UnsupportedMediaTypeError 415  a body of a kind we do not read; names those we do
├── UnprocessableError      422  well-formed, but a field is wrong; names each field
├── TooManyRequestsError    429  more at once than we take; says when to come back
├── UnavailableError        503  a part of ours did not answer; try again
├── UpstreamError           502  everybody whom we asked for it failed
└── TenantBreachError       500  code of ours reached for another tenant's data, and was stopped
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ControlPlaneError(Exception):
    """Base of all expected failures; anything else is a bug and becomes a 500."""

    title = "Internal error"

    @property
    def extensions(self) -> dict[str, Any]:
        """Further members of the problem, for who acts on it by program."""
        return {}


class InvalidError(ControlPlaneError):
    title = "Bad request"


class UnauthenticatedError(ControlPlaneError):
    title = "Authentication required"


class ForbiddenError(ControlPlaneError):
    title = "Forbidden"


class NotFoundError(ControlPlaneError):
    title = "Not found"


class MethodNotAllowedError(ControlPlaneError):
    title = "Method not allowed"

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class ConflictError(ControlPlaneError):
    title = "Conflict"


class StillRunningError(ConflictError):
    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooLargeError(ControlPlaneError):
    title = "Too large"


class UnsupportedMediaTypeError(ControlPlaneError):
    title = "Unsupported media type"


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one field: a JSON pointer into the body, and a sentence."""

    pointer: str
    detail: str


class UnprocessableError(ControlPlaneError):
    title = "Unprocessable content"

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        super().__init__("; ".join(f"{flaw.pointer or 'body'}: {flaw.detail}" for flaw in flaws))
        self.flaws = flaws


class TooManyRequestsError(ControlPlaneError):
    title = "Too many requests"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(ControlPlaneError):
    title = "Temporarily unavailable"

    def __init__(self, message: str, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamError(ControlPlaneError):
    title = "Upstream failed"


class TenantBreachError(ControlPlaneError):
    """Nobody outside can do anything about it: the answer is a 500 without details."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side")
