"""E-mail and web addresses, phone numbers, dates and sums of money in a text. Pure."""

from __future__ import annotations

import re
from typing import Any

from aetherlink.ai.grounding import EMAIL, URL, numbers

_MONEY = re.compile(
    r"(?:[$€£¥]\s?\d[\d.,]*(?:\s?(?:k|m|bn))?\b|\b\d[\d.,]*\s?(?:USD|EUR|GBP|CHF|€|£|\$))",
    re.IGNORECASE,
)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    rf"|(?:{_MONTHS})[a-z]*\.? \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}}\.? (?:{_MONTHS})[a-z]*(?: \d{{4}})?)\b",
    re.IGNORECASE,
)


def find(text: str) -> list[dict[str, Any]]:
    """Each with its type, as it stands and in the order in which it stands."""
    found = []
    taken: list[tuple[int, int]] = []
    for kind, pattern in (("email", EMAIL), ("url", URL), ("date", _DATE), ("money", _MONEY)):
        for match in pattern.finditer(text):
            if _is_free(match.start(), match.end(), taken):
                taken.append(match.span())
                found.append((match.start(), {"type": kind, "text": match.group()}))
    found += [
        (number.start, {"type": "phone", "text": number.text})
        for number in numbers(text)
        if _is_free(number.start, number.end, taken)
    ]
    return [entity for _, entity in sorted(found, key=lambda pair: pair[0])]


def _is_free(start: int, end: int, taken: list[tuple[int, int]]) -> bool:
    return all(end <= a or b <= start for a, b in taken)
