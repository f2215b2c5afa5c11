"""What somebody wants, by the words that people use for it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which they win: who complains about a price complains.
WORDS: dict[str, str] = {
    "cancellation": r"cancel\w*|terminate|unsubscribe|close my account|kündig\w*|résili\w*",
    "complaint": r"complain\w*|unacceptable|disappoint\w*|refund|angry|terrible|beschwer\w*",
    "support": r"help|broken|error|bug|not working|doesn'?t work|issue|problem|crash\w*|hilfe|fehler",
    "demo": r"demo|trial|walk ?through|show me|presentation|vorführung",
    "pricing": r"pric\w*|quote|cost\w*|how much|offer|discount|preis\w*|angebot|devis|tarif\w*",
    "partnership": r"partner\w*|resell\w*|integrat\w*|collaborat\w*",
    "job": r"job|career|vacanc\w*|resume|cv|hiring|bewerb\w*",
}
OTHER = "other"


def classify(text: str, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """The first of the intents whose words occur, among `labels` where they are given."""
    for label, words in WORDS.items():
        match = re.search(rf"\b(?:{words})\b", text, re.IGNORECASE)
        if match and (not labels or label in labels):
            return {"intent": label, "evidence": match.group()}
    for label in labels or ():
        match = re.search(rf"\b{re.escape(label)}\b", text, re.IGNORECASE)
        if match:
            return {"intent": label, "evidence": match.group()}
    return {"intent": OTHER, "evidence": None}
