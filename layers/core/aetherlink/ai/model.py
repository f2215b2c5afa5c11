"""What is asked of a provider, what it said, and how an attempt ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MICROS = 1_000_000


class Speaker(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True)
class Said:
    """One turn of a conversation."""

    by: Speaker
    text: str


@dataclass(frozen=True)
class Prompt:
    """A question as every adapter takes it. `schema` is what the answer must look like, for providers
    that can be told; None for free text."""

    system: str
    turns: tuple[Said, ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def followed(self, answer: str, question: str) -> Prompt:
        """The same conversation after an answer and another question."""
        more = (Said(Speaker.ASSISTANT, answer), Said(Speaker.USER, question))
        return replace(self, turns=(*self.turns, *more))

    @property
    def size(self) -> int:
        """Bytes of text in it."""
        texts = (self.system, *(turn.text for turn in self.turns))
        return sum(len(text.encode("utf-8", "replace")) for text in texts)


@dataclass(frozen=True)
class Completion:
    """What a provider said. `is_cut`: it would have said more than `max_tokens`."""

    text: str
    input_tokens: int
    output_tokens: int
    model: str = ""
    is_cut: bool = False


class Trouble(StrEnum):
    """Why an attempt came to nothing. `Failure.counts` says which of them a breaker counts."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    # The API's own envelope was none of its making.
    BAD_ANSWER = "bad_answer"
    # Ours to mend: the key, the account's credit, the URL or the model's name.
    UNAUTHORISED = "unauthorised"
    QUOTA = "quota"
    MISCONFIGURED = "misconfigured"
    # It does not take this request; another one it may.
    REJECTED = "rejected"
    # It answered, and what it said did not stand up to the check.
    BAD_OUTPUT = "bad_output"
    # Not asked at all.
    OPEN = "open"
    BUDGET = "budget"
    DEADLINE = "deadline"
    UNCONFIGURED = "unconfigured"


SKIPPED = frozenset({Trouble.OPEN, Trouble.BUDGET, Trouble.DEADLINE, Trouble.UNCONFIGURED})
# Availability. A request that a provider refuses says nothing of the next one, and one tenant's
# awkward text must not take a provider away from everybody.
COUNTED = frozenset(
    {Trouble.TIMEOUT, Trouble.CONNECT, Trouble.RATE_LIMITED, Trouble.SERVER_ERROR,
     Trouble.BAD_ANSWER, Trouble.UNAUTHORISED, Trouble.QUOTA, Trouble.MISCONFIGURED}
)  # fmt: skip
# One is enough: nothing heals these between two calls, and each further one would only cost time.
TELLING = frozenset(
    {Trouble.RATE_LIMITED, Trouble.UNAUTHORISED, Trouble.QUOTA, Trouble.MISCONFIGURED}
)
# The provider may have done the work, and may bill it.
_MAY_BE_BILLED = frozenset({Trouble.TIMEOUT, Trouble.BAD_ANSWER})


class ProviderError(Exception):
    """A call that came to no completion. The message is for people; it quotes no key and no prompt."""

    def __init__(
        self,
        message: str,
        trouble: Trouble,
        *,
        status: int | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @property
    def may_be_billed(self) -> bool:
        return self.trouble in _MAY_BE_BILLED


@dataclass(frozen=True)
class Attempt:
    """One provider's turn within a call. `trouble` None: it answered, and the answer stood."""

    provider: str
    trouble: Trouble | None = None
    said: str = ""
    status: int | None = None
    ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    model: str = ""
    repairs: int = 0
    # Seconds until asking again makes sense, where that is known.
    retry_after_seconds: int | None = None

    @property
    def was_skipped(self) -> bool:
        return self.trouble in SKIPPED

    def shown(self) -> dict[str, Any]:
        outcome = "ok" if self.trouble is None else "skipped" if self.was_skipped else "failed"
        return {
            "provider": self.provider,
            "status": outcome,
            "error": self.said or None,
            "error_class": str(self.trouble) if self.trouble else None,
            "http_status": self.status,
            "latency_ms": self.ms,
            "model": self.model or None,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_micros / MICROS,
            "repairs": self.repairs,
        }


@dataclass(frozen=True)
class Judged:
    """A check's verdict on an answer: what is taken from it, or what is wrong with it."""

    result: Any = None
    flaws: tuple[str, ...] = ()


@dataclass(frozen=True)
class Routed:
    """What came of a call. `provider` "": nobody answered. `degraded`: by rules, no model."""

    attempts: tuple[Attempt, ...]
    result: Any = None
    provider: str = ""
    model: str = ""
    degraded: bool = False
    completion: Completion | None = None
    latency_ms: int = 0
    order: tuple[str, ...] = field(default=())

    @property
    def input_tokens(self) -> int:
        return sum(attempt.input_tokens for attempt in self.attempts)

    @property
    def output_tokens(self) -> int:
        return sum(attempt.output_tokens for attempt in self.attempts)

    @property
    def cost_micros(self) -> int:
        return sum(attempt.cost_micros for attempt in self.attempts)

    @property
    def unlucky(self) -> tuple[Attempt, ...]:
        """Those before the one that answered, or all of them."""
        return tuple(attempt for attempt in self.attempts if attempt.trouble)
