"""The part of DynamoDB's expression language that AetherLink uses. Pure.

Anything else raises UnsupportedError: a benchmark must not count what it did not understand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Attributes as they go over the wire: {"pk": {"S": "..."}, ...}.
Item = dict[str, Any]
_TOKEN = re.compile(r"\s*(<=|>=|[=<>(),]|[:#]?\w+|\S)")


class UnsupportedError(Exception):
    """An expression, or a parameter, that the double does not know."""


@dataclass(frozen=True)
class Scope:
    """What the placeholders of a request stand for."""

    names: Mapping[str, str]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Scope:
        return cls(
            request.get("ExpressionAttributeNames") or {},
            request.get("ExpressionAttributeValues") or {},
        )

    def name(self, word: str) -> str:
        return self.names[word] if word.startswith("#") else word


@dataclass(frozen=True)
class Word:
    """An attribute's name (`pk`, `#at`) or a value (`:key`)."""

    text: str

    def of(self, item: Item, scope: Scope) -> Any:
        """Its value as it goes over the wire; None if the item has no such attribute."""
        if self.text.startswith(":"):
            return scope.values[self.text]
        return item.get(scope.name(self.text))


@dataclass(frozen=True)
class Size:
    """`size(name)`."""

    word: Word

    def of(self, item: Item, scope: Scope) -> Any:
        value = self.word.of(item, scope)
        if value is None:
            return None
        kind, content = next(iter(value.items()))
        if kind not in {"S", "B", "L", "M"}:
            raise UnsupportedError(f"size() of {kind}")
        return {"N": str(len(content.encode() if kind == "S" else content))}


Operand = Word | Size


@dataclass(frozen=True)
class Comparison:
    """`left <operator> right`; "begins_with" is one too. False if either is absent."""

    operator: str
    left: Operand
    right: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        left, right = self.left.of(item, scope), self.right.of(item, scope)
        if left is None or right is None or left.keys() != right.keys():
            return False
        return _OPERATORS[self.operator](comparable(left), comparable(right))


@dataclass(frozen=True)
class Between:
    operand: Operand
    low: Operand
    high: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        return (
            Comparison(">=", self.operand, self.low).holds(item, scope)
            and Comparison("<=", self.operand, self.high).holds(item, scope)
        )  # fmt: skip


@dataclass(frozen=True)
class Exists:
    word: Word
    wanted: bool

    def holds(self, item: Item, scope: Scope) -> bool:
        return (self.word.of(item, scope) is not None) is self.wanted


@dataclass(frozen=True)
class Both:
    left: Condition
    right: Condition

    def holds(self, item: Item, scope: Scope) -> bool:
        return self.left.holds(item, scope) and self.right.holds(item, scope)


@dataclass(frozen=True)
class Either:
    left: Condition
    right: Condition

    def holds(self, item: Item, scope: Scope) -> bool:
        return self.left.holds(item, scope) or self.right.holds(item, scope)


Condition = Comparison | Between | Exists | Both | Either

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "begins_with": lambda a, b: bool(a.startswith(b)),
}


def comparable(value: Mapping[str, Any]) -> Any:
    """A value's content, numbers as numbers. (Text compares by code point, which is UTF-8's order.)"""
    kind, content = next(iter(value.items()))
    return Decimal(content) if kind == "N" else content


@lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """A condition or key condition."""
    parser = _Parser(text)
    parsed = parser.either()
    parser.end()
    return parsed


def members(of: Condition) -> list[Condition]:
    """The conditions that AND joins."""
    return [*members(of.left), *members(of.right)] if isinstance(of, Both) else [of]


def update(item: Item, expression: str, scope: Scope) -> Item:
    """The item as an update expression leaves it."""
    changed = dict(item)
    for verb, name, operand, fallback in _clauses(expression):
        attribute = scope.name(name)
        if operand is None:  # REMOVE
            changed.pop(attribute, None)
            continue
        value = operand.of(item, scope)
        if value is None and fallback is not None:
            value = fallback.of(item, scope)
        if value is None:
            raise UnsupportedError(f"{expression}: {name} is set to what the item does not have")
        if verb == "ADD":
            value = _added(item.get(attribute), value)
        changed[attribute] = value
    return changed


def _added(earlier: Mapping[str, Any] | None, value: Mapping[str, Any]) -> Item:
    """A number and another one, or two sets of texts."""
    ((kind, content),) = value.items()
    if earlier is not None and kind not in earlier:
        raise UnsupportedError(f"ADD of {kind} to {next(iter(earlier))}")
    if kind == "N":
        return {"N": _number(Decimal((earlier or {"N": "0"})["N"]) + Decimal(content))}
    if kind == "SS":
        return {"SS": sorted({*(earlier or {"SS": ()})["SS"], *content})}
    raise UnsupportedError(f"ADD of {kind}")


def _number(value: Decimal) -> str:
    return str(int(value)) if value == value.to_integral_value() else str(value)


# Verb, the attribute's name, what it is set to, and what else if that is absent (if_not_exists).
Clause = tuple[str, str, Word | None, Word | None]


@lru_cache(maxsize=4096)
def _clauses(expression: str) -> list[Clause]:
    return list(_Parser(expression).clauses())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise self._unsupported()

    def either(self) -> Condition:
        found = self._both()
        while self._takes("OR"):
            found = Either(found, self._both())
        return found

    def _both(self) -> Condition:
        found = self._one()
        while self._takes("AND"):
            found = Both(found, self._one())
        return found

    def _one(self) -> Condition:
        if self._takes("("):
            inner = self.either()
            self._expect(")")
            return inner
        for function in ("attribute_exists", "attribute_not_exists"):
            if self._takes(function):
                (word,) = self._arguments(1)
                return Exists(word, function == "attribute_exists")
        if self._takes("begins_with"):
            left, right = self._arguments(2)
            return Comparison("begins_with", left, right)
        operand = self._operand()
        if self._takes("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return Between(operand, low, self._operand())
        operator = self._next()
        if operator not in _OPERATORS or operator == "begins_with":
            raise self._unsupported()
        return Comparison(operator, operand, self._operand())

    def clauses(self) -> list[Clause]:
        found: list[Clause] = []
        verb = self._next().upper()
        while True:
            found.append(self._clause(verb))
            if self._takes(","):
                continue
            if self._at == len(self._tokens):
                return found
            verb = self._next().upper()

    def _clause(self, verb: str) -> Clause:
        name = self._word().text
        if verb == "REMOVE":
            return verb, name, None, None
        if verb == "ADD":
            return verb, name, self._word(), None
        if verb != "SET":
            raise self._unsupported()
        self._expect("=")
        if self._takes("if_not_exists"):
            operand, fallback = self._arguments(2)
            return verb, name, operand, fallback
        return verb, name, self._word(), None

    def _operand(self) -> Operand:
        if self._takes("size"):
            return Size(*self._arguments(1))
        return self._word()

    def _arguments(self, number: int) -> list[Word]:
        self._expect("(")
        found = [self._word()]
        for _ in range(number - 1):
            self._expect(",")
            found.append(self._word())
        self._expect(")")
        return found

    def _word(self) -> Word:
        token = self._next()
        if not re.fullmatch(r"[:#]?\w+", token):
            raise self._unsupported()
        return Word(token)

    def _next(self) -> str:
        if self._at == len(self._tokens):
            raise self._unsupported()
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _takes(self, token: str) -> bool:
        there = self._at < len(self._tokens) and self._tokens[self._at].upper() == token.upper()
        self._at += there
        return there

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            raise self._unsupported()

    def _unsupported(self) -> UnsupportedError:
        return UnsupportedError(f"no expression that the double knows: {self._text!r}")
