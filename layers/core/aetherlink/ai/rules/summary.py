"""A summary by extraction: the sentences that say most, as they stand. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

MAX_SENTENCES = 3
MAX_CHARACTERS = 500
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)")
_WORD = re.compile(r"[^\W\d_]{4,}")
# What somebody is to do next is said in such words.
_NEXT = re.compile(
    r"\b(?:call|follow[ -]?up|send|schedule|remind|next step|to ?do|waiting|wants?|asked|needs?|by "
    r"(?:mon|tues|wednes|thurs|fri)day|tomorrow|next week)\b",
    re.IGNORECASE,
)


def flat(activity: Any) -> str:
    """An activity as text: a string as it is, of a list or an object a line for each entry."""
    if isinstance(activity, str):
        return activity
    if isinstance(activity, dict):
        return "; ".join(
            f"{name}: {flat(value)}" for name, value in activity.items() if value not in (None, "")
        )
    if isinstance(activity, list):
        return "\n".join(flat(entry) for entry in activity)
    return str(activity)


def summarise(activity: Any) -> dict[str, Any]:
    """Up to three sentences, and the first that sounds like a next step."""
    text = flat(activity)
    sentences = [s for s in (m.group().strip() for m in _SENTENCE.finditer(text)) if s]
    counts = Counter(word.casefold() for word in _WORD.findall(text))

    def weight(sentence: str) -> float:
        words = _WORD.findall(sentence)
        return sum(counts[w.casefold()] for w in words) / (len(words) + 3) if words else 0.0

    best = sorted(range(len(sentences)), key=lambda n: (-weight(sentences[n]), n))[:MAX_SENTENCES]
    chosen = " ".join(sentences[n] for n in sorted(best)) or text.strip()
    step = next((s for s in sentences if _NEXT.search(s)), None)
    return {"summary": _cut(chosen), "next_action": _cut(step) if step else None}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1].rstrip() + "…"
