"""What DynamoDB would count: sizes of items, write units, and calls by operation. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KILOBYTE = 1024


def size_of(item: Mapping[str, Any]) -> int:
    """An item's bytes: its names and values (AWS, "DynamoDB item sizes and formats")."""
    total = 0
    for name, value in item.items():
        total += len(name) if name.isascii() else len(name.encode())
        total += _value_size(value)
    return total


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content) if content.isascii() else len(content.encode())
    if kind == "N":
        digits = str(content).strip("-0.").replace(".", "")
        return (len(digits) + 1) // 2 + 1 + int(content.startswith("-"))
    if kind == "B":
        return len(content)
    if kind in {"BOOL", "NULL"}:
        return 1
    if kind in {"SS", "L"}:
        return 3 + sum(_member_size(kind, inner) for inner in content)
    if kind == "M":
        return 3 + len(content) + size_of(content)
    raise TypeError(f"attributes of type {kind} are not counted")


def _member_size(kind: str, member: Any) -> int:
    return len(member.encode()) if kind == "SS" else 1 + _value_size(member)


def units(size: int) -> int:
    """Write units of that many bytes."""
    return max(1, -(-size // KILOBYTE))


@dataclass
class Usage:
    """What calls did. `examined` is what reads cost; `returned` what they gave back."""

    calls: Counter[str] = field(default_factory=Counter)
    examined: int = 0
    returned: int = 0
    bytes_read: int = 0
    write_units: int = 0

    def read(self, sizes: list[int], *, returned: int) -> None:
        self.examined += len(sizes)
        self.bytes_read += sum(sizes)
        self.returned += returned
