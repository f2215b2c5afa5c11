"""Ollama's chat (github.com/ollama/ollama, docs/api.md, "Generate a chat completion")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.adapters import Sent, bearer
from aetherlink.ai.model import Completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Prompt


class Ollama:
    def request(self, provider: Provider, prompt: Prompt, key: str) -> Sent:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        options: dict[str, Any] = {"num_predict": min(prompt.max_tokens, provider.max_tokens)}
        if provider.samples and prompt.temperature is not None:
            options["temperature"] = prompt.temperature
        if provider.samples and prompt.top_p is not None:
            options["top_p"] = prompt.top_p
        if prompt.stop:
            options["stop"] = list(prompt.stop)
        body: dict[str, Any] = {
            "model": provider.model,
            "messages": [*system, *({"role": str(t.by), "content": t.text} for t in prompt.turns)],
            "stream": False,
            "options": options,
        }
        if prompt.schema is not None:
            body["format"] = dict(prompt.schema)
        return Sent("/api/chat", bearer(key), body)

    def parse(self, answer: Mapping[str, Any]) -> Completion:
        return Completion(
            text=str(answer["message"]["content"]),
            input_tokens=int(answer.get("prompt_eval_count") or 0),
            output_tokens=int(answer.get("eval_count") or 0),
            model=str(answer.get("model", "")),
            is_cut=answer.get("done_reason") == "length",
        )
