"""How a service wants to be looked at, and healed: the `heal` of a registration. Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from aetherlink.kernel.shape import Given

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_URL = 2048
# What is remembered of a service's attempts; the limit cannot be above it.
MAX_ATTEMPTS = 20
_BEGINS = "whsec_"
_SECRET_BYTES = range(24, 65)


class ActionKind(StrEnum):
    HTTP = "http"
    ECS = "ecs"
    LAMBDA = "lambda"
    SSM = "ssm"


class ProbePlan(Given):
    """How to see whether it is well. `heartbeat`: its lease alone says so, nobody calls it (for what
    stands where we cannot reach)."""

    kind: str = Field(default="http", pattern=r"^(http|heartbeat)$")
    status: list[int] = Field(
        default=[], max_length=20, description="Statuses that are well; empty, any 2xx"
    )
    body: str | None = Field(
        default=None, min_length=1, max_length=256, description="A text that the answer must hold"
    )
    max_latency_ms: int | None = Field(default=None, ge=1, le=10_000)
    timeout_seconds: float = Field(default=2.5, ge=0.1, le=10)
    failures: int = Field(default=3, ge=1, le=10, description="In a row, then it is down")
    successes: int = Field(default=2, ge=1, le=10, description="In a row, then it is up again")

    @field_validator("status")
    @classmethod
    def _are_statuses(cls, given: list[int]) -> list[int]:
        if any(not 200 <= status <= 599 for status in given):  # noqa: PLR2004 - final statuses
            raise ValueError("must be HTTP statuses from 200 to 599")
        return given


class HealPlan(Given):
    """`{"action": "http", "url": "https://…/restart"}`, and what of it is to be different.

    Without an action it is watched and never healed. What each action needs is checked here; whether it
    may be done at all, by parameter HealTargets.
    """

    action: ActionKind | None = None
    url: str | None = Field(default=None, max_length=MAX_URL, description="http: what is called")
    method: str = Field(default="POST", pattern=r"^(POST|PUT)$")
    secret: str | None = Field(
        default=None,
        max_length=128,
        repr=False,
        description="http: what the call is signed with (whsec_…); absent, one is made and shown once",
    )
    cluster: str | None = Field(default=None, max_length=255, description="ecs")
    service: str | None = Field(default=None, max_length=255, description="ecs")
    function: str | None = Field(default=None, max_length=170, description="lambda: name or ARN")
    document: str | None = Field(default=None, max_length=128, description="ssm: an Automation")
    parameters: dict[str, list[str]] = Field(default={}, max_length=20, description="ssm")
    attempts: int = Field(default=5, ge=1, le=MAX_ATTEMPTS, description="Within the window")
    window_seconds: int = Field(default=3_600, ge=60, le=86_400)
    settle_seconds: int = Field(
        default=60, ge=5, le=900, description="How long it may take to be well after an action"
    )
    approval: bool = Field(default=False, description="Somebody has to agree each time")
    probe: ProbePlan = Field(default_factory=ProbePlan)

    @field_validator("url")
    @classmethod
    def _is_http(cls, given: str | None) -> str | None:
        return given if given is None else http_url(given)

    @field_validator("secret")
    @classmethod
    def _is_a_secret(cls, given: str | None) -> str | None:
        if given is None:
            return None
        try:
            length = len(b64decode(given.removeprefix(_BEGINS), validate=True))
        except (ValueError, binascii.Error):
            length = 0
        if not given.startswith(_BEGINS) or length not in _SECRET_BYTES:
            raise ValueError("must be whsec_ and then 24 to 64 bytes in base64 (Standard Webhooks)")
        return given

    @model_validator(mode="after")
    def _is_whole(self) -> HealPlan:
        needed = _NEEDED.get(self.action, ())
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"action {self.action} needs {name}")
        for action, names in _NEEDED.items():
            for name in names:
                if name not in needed and getattr(self, name):
                    raise ValueError(f"{name} is for action {action} alone")
        return self

    @property
    def target(self) -> str:
        """What is acted on, as parameter HealTargets names it; "" for a hook."""
        if self.action is ActionKind.ECS:
            return f"ecs:{self.cluster}/{self.service}"
        if self.action is ActionKind.LAMBDA:
            return f"lambda:{self.function}"
        return f"ssm:{self.document}" if self.action is ActionKind.SSM else ""


_NEEDED: Mapping[ActionKind | None, tuple[str, ...]] = {
    ActionKind.HTTP: ("url",),
    ActionKind.ECS: ("cluster", "service"),
    ActionKind.LAMBDA: ("function",),
    ActionKind.SSM: ("document",),
}


def http_url(given: str) -> str:
    """`given`, if it has the form of a URL that can be called. Its address is checked when it is
    called, by the guarded outbound client. Raises ValueError."""
    try:
        parts = urlsplit(given)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_host = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not has_host or given.strip() != given:
        raise ValueError("must be an http or https URL such as https://billing.example/ping")
    return given


def as_sent(plan: HealPlan) -> dict[str, Any]:
    """What of a plan is kept and shown: what was said, without its secret."""
    return plan.model_dump(mode="json", exclude={"secret"}, exclude_unset=True)


class Targets:
    """Parameter HealTargets: `<tenant>=<target>`, comma-separated; `*` stands for any tenant. What is
    not in it is not acted on; hooks need not be, their addresses are the outbound client's matter.
    """

    def __init__(self, parameter: str) -> None:
        pairs = (entry.strip().partition("=") for entry in parameter.split(",") if entry.strip())
        self._allowed = frozenset((tenant, target) for tenant, _, target in pairs)

    def allow(self, tenant: str, plan: HealPlan) -> bool:
        target = plan.target
        return not target or bool({(tenant, target), ("*", target)} & self._allowed)
