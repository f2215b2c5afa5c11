"""What can be done without a model: deterministic, free, and marked as degraded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.rules import entities, intents, leads, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# By capability, as the descriptor names them; from its payload to what a model would have said.
RULES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "extract-lead": lambda payload: leads.fields(str(payload["raw_text"])),
    "summarize-activity": lambda payload: summary.summarise(payload["activity"]),
    "classify_intent": lambda payload: intents.classify(payload["text"], payload.get("labels")),
    "extract_entities": lambda payload: {"entities": entities.find(str(payload["text"]))},
}
