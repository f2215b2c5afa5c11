"""The name of whoever wrote a text. Pure."""

from __future__ import annotations

import re

from aetherlink.ai.grounding import EMAIL
from aetherlink.ai.rules.hit import MIN_LETTERS, Hit, How, at_place, lines_of
from aetherlink.ai.rules.vocabulary import (
    ASKED,
    BELONGING,
    BESIDE,
    CLOSING,
    FIRST_LABEL,
    FORM,
    HEADER,
    INTRODUCTIONS,
    NAME,
    NAME_LABEL,
    NO_NAME,
    ROLE,
    STOPS,
    TITLE,
    TRADE,
    WORD,
)

# ------------------------------------------------------------------ name


def name(text: str) -> Hit | None:
    for match in NAME_LABEL.finditer(text):
        if FIRST_LABEL.search(text[max(0, match.start() - 8) : match.start("value")]):
            continue
        value = re.sub(rf"^{TITLE}", "", match.group("value")).split(",")[0].strip(" .-")
        if value and re.fullmatch(r"[^\W\d_][\w .'’-]{0,79}", value) and not EMAIL.search(value):
            start = text.index(value, match.start("value"))
            return at_place(text, start, start + len(value), How.LABEL)
    for match in ASKED.finditer(text):
        if match.group("what").casefold() == "name":
            hit = _as_name(text, match.start("value"), match.end("value"), How.LABEL)
            if hit:
                return hit
    for pattern in INTRODUCTIONS[:4]:
        for match in pattern.finditer(text):
            hit = _as_name(text, match.start("name"), match.end("name"), How.PHRASE)
            if hit:
                return hit
    for match in HEADER.finditer(text):
        hit = _as_name(text, match.start("name"), match.end("name"), How.PLACE)
        if hit:
            return hit
    return _signed(text) or _beside(text) or _introduced(text)


def _beside(text: str) -> Hit | None:
    """A whole name just before an address or a company's legal form, or after a closing within a line."""
    for pattern in BESIDE:
        match = pattern.search(text)
        hit = _as_name(text, match.start("name"), match.end("name"), How.PLACE) if match else None
        if hit and " " in hit.found.text:
            return hit
    return None


def _introduced(text: str) -> Hit | None:
    for pattern in INTRODUCTIONS[4:]:
        for match in pattern.finditer(text):
            hit = _as_name(text, match.start("name"), match.end("name"), How.PHRASE, least=1)
            if hit and (pattern is INTRODUCTIONS[-1] or " " in hit.found.text):
                return hit
    return None


def _signed(text: str) -> Hit | None:
    """The line after a closing, or a last line that is a name and little else."""
    for start, line in lines_of(text):
        closing = CLOSING.match(line)
        if closing is None:
            continue
        rest = line[closing.end() :]
        places = [(start + closing.end(), rest), *list(lines_of(text, start + len(line) + 1))[:4]]
        best = None
        for at, following in places:
            hit = whole_name(text, at, following)
            if hit and (best is None or " " in hit.found.text > " " in best.found.text):
                best = hit
            if hit and " " in hit.found.text:
                return hit
        if best:
            return best
    for start, line in reversed(list(lines_of(text))):
        hit = whole_name(text, start, line)
        if hit and (" " in hit.found.text or line.strip() == hit.found.text):
            return hit
    # "…, Olivia" at the very end.
    last = re.search(rf"[,.!?][ \t]+(?:- )?(?P<name>{WORD})\W*(?:\(|$)", text)
    return _as_name(text, last.start("name"), last.end("name"), How.PLACE) if last else None


def whole_name(text: str, at: int, line: str) -> Hit | None:
    match = re.match(rf"[\W_]*{TITLE}(?P<name>{NAME})[ \t]*(?=$|[,|/()–-]| [-@])", line)
    if match is None:
        return None
    if ROLE.search(match.group("name")) or re.search(
        rf"\b(?:{FORM}|{TRADE})\b", match.group("name")
    ):
        return None
    return _as_name(text, at + match.start("name"), at + match.end("name"), How.PLACE)


def _as_name(text: str, start: int, end: int, how: How, *, least: int = 0) -> Hit | None:
    value = text[start:end]
    for pattern in (STOPS, BELONGING):
        cut = pattern.search(value)
        if cut:
            value = value[: cut.start()]
            end = start + len(value)
    words = value.split()
    while words and words[-1].casefold().strip(".,") in NO_NAME:
        words.pop()
    while words and words[0].casefold().strip(".,") in NO_NAME:
        start += value.index(words[0]) + len(words[0])
        while start < end and text[start].isspace():
            start += 1
        value = text[start:end]
        words.pop(0)
    if not words or len(words) < least:
        return None
    end = start + value.index(words[-1], value.rfind(words[-1])) + len(words[-1])
    value = text[start:end]
    # A full stop ends a sentence unless it follows an initial.
    if value.endswith(".") and len(words[-1]) > MIN_LETTERS:
        end -= 1
    if len(words) == 1 and len(words[0].strip(".")) < MIN_LETTERS:
        return None
    return at_place(text, start, end, how)
