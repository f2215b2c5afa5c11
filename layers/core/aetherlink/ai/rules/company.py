"""The company of whoever wrote a text. Pure."""

from __future__ import annotations

import re

from aetherlink.ai.grounding import EMAIL, NUMBER
from aetherlink.ai.rules.hit import MIN_LETTERS, Hit, How, at_place, lines_of
from aetherlink.ai.rules.person import whole_name
from aetherlink.ai.rules.vocabulary import (
    ASKED,
    CLOSING,
    COMPANIES,
    COMPANY,
    COMPANY_LABEL,
    DOTTED,
    NO_NAME,
    ROLE,
    STOPS,
)

# ------------------------------------------------------------------ company


def company(text: str, name: str) -> Hit | None:
    for match in COMPANY_LABEL.finditer(text):
        value = re.split(r"[,(]", match.group("value"))[0].strip(" .-") + (
            "."
            if re.search(r"(?:Inc|S\.L|S\.A|B\.V|Co|S\.r\.l)\.\s*$", match.group("value"))
            else ""
        )
        value = value if value in text else value.rstrip(".")
        if value and value.casefold() not in ("n/a", "none", "na", "-") and not EMAIL.search(value):
            start = text.index(value, match.start("value"))
            return at_place(text, start, start + len(value), How.LABEL)
    without = EMAIL.sub(lambda m: "@" * len(m.group()), text)
    for match in ASKED.finditer(without):
        if match.group("what").casefold() == "company":
            hit = _as_company(text, without, match.start("value"), match.group("value").strip())
            if hit:
                return hit
    for pattern in COMPANIES:
        for match in pattern.finditer(without):
            value = match.group("company").strip(" ,-")
            cut = STOPS.search(value)
            value = value[: cut.start()] if cut else value
            if "dot" in pattern.groupindex and match.group("dot") and DOTTED.search(value):
                value += "."
            if re.search(
                r"\b(?:referral|number|message|sent) from $",
                without[: match.start("company")][-20:],
                re.I,
            ):
                continue
            hit = _as_company(text, without, match.start("company"), value)
            if hit and hit.found.text != name:
                return hit
    return _below_the_name(text, name)


def _as_company(text: str, without: str, start: int, value: str) -> Hit | None:
    words = value.split()
    while words and words[0].casefold().strip(".,") in (
        NO_NAME | {"and", "und", "de", "e", "y", "of"}
    ):
        start += value.index(words[0]) + len(words[0])
        while start < len(without) and without[start].isspace():
            start += 1
        words.pop(0)
        value = " ".join(words)
    while words and words[-1].casefold() in {"and", "und", "de", "of", "e", "y", "&", "da", "do"}:
        words.pop()
    value = " ".join(words)
    value = value.removesuffix("'s").removesuffix("’s")
    if len(value.strip(".")) < MIN_LETTERS or not without.startswith(value, start):
        return None
    if value.endswith(".") and not DOTTED.search(value[:-1]):
        value = value[:-1]
    if not re.search(r"[^\W\d_]", value) or re.fullmatch(
        r"(?:Berlin|London|Paris|Monday|Friday)", value
    ):
        return None
    return at_place(text, start, start + len(value), How.PHRASE)


def _below_the_name(text: str, name: str) -> Hit | None:
    """In a signature: beside the role, or the line after the name and the role."""
    lines = list(lines_of(text))
    at_name = next((n for n, (_, line) in enumerate(lines) if name and name in line), None)
    if at_name is None or not whole_name(text, *lines[at_name]):
        return None
    for start, line in lines[at_name : at_name + 4]:
        for part in re.finditer(r"[^,|/–]+|(?<= )-(?= )", line):
            piece = part.group().strip(" -")
            if not piece or piece == name or name in piece or CLOSING.match(piece):
                continue
            if ROLE.search(piece) or EMAIL.search(piece) or NUMBER.search(piece) or ":" in piece:
                continue
            if re.fullmatch(rf"{COMPANY}\.?", piece) and piece.casefold() not in NO_NAME:
                found = text.index(piece, start + part.start())
                return at_place(text, found, found + len(piece), How.PLACE)
    return None
