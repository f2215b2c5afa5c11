"""OpenAI's chat completions, which many others speak too (platform.openai.com, "Chat Completions")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.adapters import Sent, bearer
from aetherlink.ai.model import Completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Prompt

_OWN = "https://api.openai.com"


class OpenAi:
    def request(self, provider: Provider, prompt: Prompt, key: str) -> Sent:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        most = min(prompt.max_tokens, provider.max_tokens)
        body: dict[str, Any] = {
            "model": provider.model,
            "messages": [*system, *({"role": str(t.by), "content": t.text} for t in prompt.turns)],
            # OpenAI's newer models know this name alone, most compatible servers the older one.
            ("max_completion_tokens" if provider.url.startswith(_OWN) else "max_tokens"): most,
        }
        if provider.samples and prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        if provider.samples and prompt.top_p is not None:
            body["top_p"] = prompt.top_p
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.schema is not None:
            body["response_format"] = {"type": "json_object"}
        return Sent("/chat/completions", bearer(key), body)

    def parse(self, answer: Mapping[str, Any]) -> Completion:
        choice = answer["choices"][0]
        # Some compatible servers count nothing.
        usage = answer.get("usage") or {}
        message = choice["message"]
        return Completion(
            text=str(message["content"] or message.get("refusal") or ""),
            input_tokens=int(usage.get("prompt_tokens") or 0),
            output_tokens=int(usage.get("completion_tokens") or 0),
            model=str(answer.get("model", "")),
            is_cut=choice.get("finish_reason") == "length",
        )
