"""docs/configuration.md says of each parameter what template.yaml says."""

from __future__ import annotations

import re

import pytest

from tools.local import template
from tools.local.place import ROOT

PARAMETERS = {name: str(given["Default"]) for name, given in template.load()["Parameters"].items()}
UNREPLACED = ("none", "not yet")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def literal(cell: str) -> str:
    """What stands in backticks; "" for an empty cell."""
    if cell in ("", '``""``', '`""`'):
        return ""
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"{cell!r} is neither empty nor one name in backticks"
    return match[1]


DOCUMENTED = rows("Template parameters")
EARLIER = rows("Variables of the earlier platform")


def test_every_parameter_is_documented_once_in_the_order_of_the_template() -> None:
    documented = [literal(name) for name, *_ in DOCUMENTED]

    assert documented == list(PARAMETERS)


def test_the_documented_defaults_are_those_of_the_template() -> None:
    documented = {literal(name): literal(default) for name, default, _ in DOCUMENTED}

    assert documented == PARAMETERS


def test_every_parameter_is_explained() -> None:
    assert [name for name, _, meaning in DOCUMENTED if not meaning] == []


def test_an_earlier_variable_is_listed_once() -> None:
    names = [literal(name) for name, *_ in EARLIER]

    assert names
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("row", EARLIER, ids=lambda row: str(row[0]).strip("`"))
def test_an_earlier_variable_is_replaced_by_a_parameter_or_has_a_reason(row: list[str]) -> None:
    _variable, replacement, default, note = row

    if replacement in UNREPLACED:
        assert (default, bool(note)) == ("", True)
    else:
        assert PARAMETERS[literal(replacement)] == literal(default)
