"""What rules find, and what points at it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from aetherlink.ai.grounding import Found

if TYPE_CHECKING:
    from collections.abc import Iterator


# Of a name; fewer are an initial.
MIN_LETTERS = 2


class How(StrEnum):
    """What points at a value."""

    LABEL = "label"
    PHRASE = "phrase"
    PLACE = "place"
    SHAPE = "shape"


@dataclass(frozen=True)
class Hit:
    found: Found
    how: How


def at_place(text: str, start: int, end: int, how: How) -> Hit:
    return Hit(Found(text[start:end], start, end), how)


def lines_of(text: str, begin: int = 0) -> Iterator[tuple[int, str]]:
    """Those that are not blank, with their places."""
    start = begin
    for line in text[begin:].split("\n"):
        if line.strip():
            yield start, line
        start += len(line) + 1
