"""The e-mail address and the phone number of whoever wrote a text. Pure."""

from __future__ import annotations

import re

from aetherlink.ai.grounding import EMAIL, MAX_DIGITS, MIN_DIGITS, NUMBER, digits
from aetherlink.ai.rules.hit import Hit, How, at_place
from aetherlink.ai.rules.vocabulary import NO_PHONE, NO_PHONE_BEFORE, OLD, PHONE_BEFORE, RANGE

# What stands before an address counts for so much, for or against it.
_POINTED_AT = 2


# ------------------------------------------------------------------ e-mail


def email(text: str) -> Hit | None:
    best: tuple[int, Hit] | None = None
    for match in EMAIL.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        line = before.rpartition("\n")[2]
        score = 0
        if re.search(
            r"(?:e-?mail|mail|correo|courriel|e-post|write to|reach me)\W*(?:is|me)?\W*$",
            line,
            re.I,
        ):
            score += 2
        if re.search(r"\b(?:to|cc|noreply)\b\W*$", line, re.I) and not re.search(
            r"write to\W*$|Reply-To", line, re.I
        ):
            score -= 3
        if re.search(r"\bnot my\b|told to write to", before.rpartition("@")[2], re.I):
            score -= 4
        if re.match(r"(?:no-?reply|sales|support|info)@|.*@aether\.", match.group(), re.I):
            score -= 2
        how = How.LABEL if score >= _POINTED_AT else How.SHAPE
        if best is None or score > best[0]:
            best = (score, at_place(text, match.start(), match.end(), how))
    return best[1] if best and best[0] > -_POINTED_AT else _lonely(text)


def _lonely(text: str) -> Hit | None:
    """A general address is better than none, if nobody else's stands there."""
    found = [
        m for m in EMAIL.finditer(text) if not re.match(r"no-?reply@|.*@aether\.", m.group(), re.I)
    ]
    return at_place(text, found[0].start(), found[0].end(), How.SHAPE) if len(found) == 1 else None


# ------------------------------------------------------------------ phone


def phone(text: str) -> Hit | None:
    without = EMAIL.sub(lambda m: "@" * len(m.group()), text)
    best: tuple[int, Hit] | None = None
    for match in NUMBER.finditer(without):
        value = match.group().rstrip(" .-/(")
        start, end = match.start(), match.start() + len(value)
        count = len(digits(value))
        line = without[max(0, start - 40) : start].rpartition("\n")[2]
        is_called = bool(PHONE_BEFORE.search(line))
        if (
            not MIN_DIGITS <= count <= MAX_DIGITS
            or NO_PHONE.fullmatch(value)
            or NO_PHONE_BEFORE.search(line)
        ):
            continue
        if RANGE.fullmatch(value) and not is_called:
            continue
        has_shape = value.startswith(("+", "(", "0")) or re.search(r"\d[ .\-/]\d", value)
        if not (is_called or has_shape) or (not is_called and re.search(r"[€$£]\s?$", line)):
            continue
        score = 2 * is_called + value.startswith(("+", "0", "("))
        if OLD.search(line) or OLD.search(without[end : end + 25].partition(".")[0]):
            score -= 4
        if best is None or score > best[0]:
            how = How.LABEL if is_called else How.SHAPE
            best = (score, at_place(text, start, end, how))
    return best[1] if best else None
