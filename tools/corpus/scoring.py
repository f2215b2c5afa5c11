"""Found against labelled. A value counts as found only if it is the label to the letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from aetherlink.ai.rules.leads import FIELDS, fields
from tools.local.place import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CORPUS = ROOT / "tests" / "corpus" / "leads.yaml"


@dataclass(frozen=True)
class Score:
    """`right` of `said` were right; there were `labelled` to be found."""

    right: int
    said: int
    labelled: int

    @property
    def precision(self) -> float:
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else 1.0


def load() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(CORPUS.read_text(encoding="utf-8"))
    return found


def score(corpus: Iterable[dict[str, Any]]) -> dict[str, Score]:
    counts = {field: [0, 0, 0] for field in FIELDS}
    for entry in corpus:
        said = fields(entry["text"])
        for field, count in counts.items():
            count[0] += said[field] is not None and said[field] == entry[field]
            count[1] += said[field] is not None
            count[2] += entry[field] is not None
    return {field: Score(*count) for field, count in counts.items()}


def faults(corpus: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in corpus:
        said = fields(entry["text"])
        for field in FIELDS:
            if said[field] != entry[field]:
                yield f"{entry['id']:12} {field:8} wanted {entry[field]!r}, said {said[field]!r}"


def table(whole: dict[str, Score], hard: dict[str, Score]) -> str:
    """Markdown."""
    lines = [
        "| field | precision | recall | labelled | hard ones: precision | recall |",
        "|---|---|---|---|---|---|",
    ]
    for field, found in whole.items():
        difficult = hard[field]
        lines.append(
            f"| {field} | {found.precision:.2f} | {found.recall:.2f} | {found.labelled} "
            f"| {difficult.precision:.2f} | {difficult.recall:.2f} |"
        )
    return "\n".join(lines)
