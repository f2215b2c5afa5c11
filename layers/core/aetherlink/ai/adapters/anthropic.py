"""Anthropic's Messages API (docs.anthropic.com, "Messages"), in the version that its client 2.12 sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.adapters import Sent, bearer
from aetherlink.ai.model import Completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Prompt

VERSION = "2026-10-21"


class Anthropic:
    def request(self, provider: Provider, prompt: Prompt, key: str) -> Sent:
        body: dict[str, Any] = {
            "model": provider.model,
            "max_tokens": min(prompt.max_tokens, provider.max_tokens),
            "messages": [{"role": str(t.by), "content": t.text} for t in prompt.turns],
        }
        if prompt.system:
            body["system"] = prompt.system
        if provider.samples and prompt.top_p is not None:
            body["top_p"] = prompt.top_p
        elif provider.samples and prompt.temperature is not None:
            # Older models take one of the two.
            body["temperature"] = prompt.temperature
        if prompt.stop:
            body["stop_sequences"] = list(prompt.stop)
        headers = {"anthropic-version": VERSION, **bearer(key)}
        return Sent("/v1/messages", headers, body)

    def parse(self, answer: Mapping[str, Any]) -> Completion:
        usage = answer["usage"]
        cached = (usage.get("cache_creation_input_tokens") or 0) + (
            usage.get("cache_read_input_tokens") or 0
        )
        return Completion(
            text="".join(str(p["text"]) for p in answer["content"] if p["type"] == "text"),
            input_tokens=int(usage["input_tokens"]) + int(cached),
            output_tokens=int(usage["output_tokens"]),
            model=str(answer.get("model", "")),
            is_cut=answer.get("stop_reason") == "max_tokens",
        )
