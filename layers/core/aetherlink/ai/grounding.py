"""What of an answer stands in the text that was asked about. Pure.

A model's word is taken for nothing that the text does not say: a value that cannot be found in it is
dropped, and what is found is given as it stands there, with its place.

The text is compared without regard to case, to the width of characters, to kinds of blanks and of
quotation marks. Phone numbers are compared by their digits alone. A match begins and ends where a word
does, so that no number is cut out of a longer one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+"
    r"[A-Za-z]{2,24}(?![\w@-])"
)
# What may be a phone number: digits and what people put between them.
NUMBER = re.compile(r"(?<![\w+])(?:\+|00)?\(?\d(?:[\d \u00a0().\-/\u2010-\u2013]{4,24})\d(?![\w])")
URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"')\]]+", re.IGNORECASE)
MIN_DIGITS, MAX_DIGITS = 7, 15

_ALIKE = {ord(a): b for a, b in zip("‘’‚‛`´“”„«»‐‑‒–—", "''''''\"\"\"\"\"-----", strict=True)}


@dataclass(frozen=True)
class Found:
    """A piece of the text: `text[start:end]`, counted in characters."""

    text: str
    start: int
    end: int


class Haystack:
    """A text made ready to find things in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._plain, self._places = _plain(text)

    def find(self, needle: str) -> Found | None:
        """Where `needle` stands as whole words; None if nowhere."""
        plain = _plain(needle)[0].strip()
        if not plain:
            return None
        start = -1
        while (start := self._plain.find(plain, start + 1)) >= 0:
            end = start + len(plain)
            if self._is_whole(start, end):
                return self._found(self._places[start], self._places[end - 1] + 1)
        return None

    def find_phone(self, needle: str) -> Found | None:
        """Where a number with the digits of `needle` stands."""
        wanted = digits(needle)
        if not MIN_DIGITS <= len(wanted) <= MAX_DIGITS:
            return None
        for found in numbers(self.text):
            if digits(found.text) == wanted:
                return found
        return None

    def _found(self, start: int, end: int) -> Found:
        return Found(self.text[start:end], start, end)

    def _is_whole(self, start: int, end: int) -> bool:
        before = self._plain[start - 1] if start else " "
        after = self._plain[end] if end < len(self._plain) else " "
        return not (_joins(before) and _joins(self._plain[start])) and not (
            _joins(after) and _joins(self._plain[end - 1])
        )


def digits(text: str) -> str:
    """The digits of a phone number. `00` and `+` begin the same number, and an optional (0) within an
    international one is not dialled."""
    international = re.sub(r"^\s*\+|^\s*00", "", text)
    if international != text:
        international = international.replace("(0)", "")
    return re.sub(r"\D", "", international)


def numbers(text: str) -> Iterator[Found]:
    """What looks like a phone number by its length."""
    for match in NUMBER.finditer(text):
        if MIN_DIGITS <= len(digits(match.group())) <= MAX_DIGITS:
            yield Found(match.group(), match.start(), match.end())


def unsupported(said: str, source: str) -> list[str]:
    """E-mail and web addresses and phone numbers in `said` that `source` does not have: whoever acts
    on an invented one acts on nothing."""
    haystack = Haystack(source)
    known_urls = {_bare(match.group()) for match in URL.finditer(source)}
    missing = [m.group() for m in EMAIL.finditer(said) if not haystack.find(m.group())]
    missing += [m.group() for m in URL.finditer(said) if _bare(m.group()) not in known_urls]
    without = EMAIL.sub(" ", URL.sub(" ", said))
    missing += [n.text for n in numbers(without) if not haystack.find_phone(n.text)]
    return missing


def _bare(url: str) -> str:
    return re.sub(r"^(https?://)?(www\.)?", "", url.casefold()).rstrip("/.,;:!?")


def _joins(character: str) -> bool:
    return character.isalnum() or character == "_"


def _plain(text: str) -> tuple[str, list[int]]:
    """`text` for comparing, and for each of its characters the place in `text` that it came from."""
    plain: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for part in unicodedata.normalize("NFKC", character).translate(_ALIKE).casefold():
            blank = part.isspace()
            if blank and plain and plain[-1] == " ":
                continue
            plain.append(" " if blank else part)
            places.append(place)
    return "".join(plain), places
