"""Each vendor's wire format from the other side: what a request must have, and answers and errors as
the vendor's own clients read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Body = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """`path` is what a request's ends in, below the provider's own name."""

    path: str
    asked: Callable[[Body], tuple[str, str]]
    answer: Callable[[Body, str], Body]
    error: Callable[[int], tuple[Body, Mapping[str, str]]]


class RefusedError(ValueError):
    """The vendor would answer 400."""


def _need(body: Body, **types: type | tuple[type, ...]) -> None:
    for name, wanted in types.items():
        if not isinstance(body.get(name), wanted):
            raise RefusedError(f"{name}: a {wanted} is required")


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _turns(messages: list[Body], roles: set[str]) -> str:
    """What is asked: the turn that brings data, else the last one; turns have to be of `roles`."""
    for message in messages:
        if message.get("role") not in roles or "content" not in message:
            raise RefusedError(f"messages: a role of {sorted(roles)} and content are required")
    said = [_text(message["content"]) for message in messages]
    return next((text for text in said if text.startswith("<data>")), said[-1])


# ------------------------------------------------------------------ Anthropic


def _anthropic_asked(body: Body) -> tuple[str, str]:
    _need(body, model=str, max_tokens=int, messages=list)
    extra = set(body) - {
        "model", "max_tokens", "messages", "system", "temperature", "top_p", "stop_sequences", "stream",
        "metadata",
    }  # fmt: skip
    if extra or not body["messages"] or body["messages"][0].get("role") != "user":
        raise RefusedError(f"extra {extra}, or the first message is not the user's")
    return _text(body.get("system", "")), _turns(body["messages"], {"user", "assistant"})


def _anthropic_answer(body: Body, text: str) -> Body:
    return {
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": _tokens(str(body["messages"])), "output_tokens": _tokens(text)},
    }


def _anthropic_error(status: int) -> tuple[Body, Mapping[str, str]]:
    kinds = {
        400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
        404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error",
    }  # fmt: skip
    kind = kinds.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": f"mock {kind}"}}, {}


# ------------------------------------------------------------------ OpenAI


def _openai_asked(body: Body) -> tuple[str, str]:
    _need(body, model=str, messages=list)
    said = _turns(body["messages"], {"system", "developer", "user", "assistant"})
    system = "\n".join(
        _text(m["content"]) for m in body["messages"] if m["role"] in ("system", "developer")
    )
    return system, said


def _openai_answer(body: Body, text: str) -> Body:
    asked, said = _tokens(str(body["messages"])), _tokens(text)
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def _openai_error(status: int) -> tuple[Body, Mapping[str, str]]:
    error = {"message": f"mock error {status}", "type": "mock_error", "param": None, "code": None}
    return {"error": error}, {}


# ------------------------------------------------------------------ Ollama


def _ollama_asked(body: Body) -> tuple[str, str]:
    _need(body, model=str, messages=list)
    if body.get("stream") is not False:
        raise RefusedError("this mock does not stream")
    said = _turns(body["messages"], {"system", "user", "assistant"})
    return "\n".join(m["content"] for m in body["messages"] if m["role"] == "system"), said


def _ollama_answer(body: Body, text: str) -> Body:
    return {
        "model": body["model"],
        "created_at": "2026-11-23T12:00:00.000000Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1_000_000,
        "prompt_eval_count": _tokens(str(body["messages"])),
        "eval_count": _tokens(text),
    }


def _ollama_error(status: int) -> tuple[Body, Mapping[str, str]]:
    return {"error": f"mock error {status}"}, {}


# ------------------------------------------------------------------ Bedrock


def _bedrock_asked(body: Body) -> tuple[str, str]:
    _need(body, messages=list)
    said = _turns(body["messages"], {"user", "assistant"})
    return _text(body.get("system", [])), said


def _bedrock_answer(body: Body, text: str) -> Body:
    asked, said = _tokens(str(body["messages"])), _tokens(text)
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": asked, "outputTokens": said, "totalTokens": asked + said},
        "metrics": {"latencyMs": 1},
    }


def _bedrock_error(status: int) -> tuple[Body, Mapping[str, str]]:
    kinds = {
        400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
        408: "ModelTimeoutException", 429: "ThrottlingException", 503: "ServiceUnavailableException",
    }  # fmt: skip
    kind = kinds.get(status, "InternalServerException")
    return {"message": f"mock {kind}"}, {"x-amzn-errortype": kind}


FORMATS: dict[str, Format] = {
    "claude": Format("/v1/messages", _anthropic_asked, _anthropic_answer, _anthropic_error),
    "openai": Format("/v1/chat/completions", _openai_asked, _openai_answer, _openai_error),
    "ollama": Format("/api/chat", _ollama_asked, _ollama_answer, _ollama_error),
    "bedrock": Format("/converse", _bedrock_asked, _bedrock_answer, _bedrock_error),
}
