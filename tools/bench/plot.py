"""A plot as SVG: how many items a request reads, over how many there are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS = ("#1b6ca8", "#c8553d", "#2e8b57", "#8a4fbe", "#b8860b", "#0f8b8d", "#a23b72", "#555555")
_FONT = ' font-family="sans-serif" font-size="11"'
_HEIGHT, _TOP, _LEFT, _WIDTH, _LABELS, _LINE = 380, 60, 55, 300, 215, 14


@dataclass(frozen=True)
class Panel:
    """One set of axes: items by size, for each line."""

    title: str
    sizes: Sequence[int]
    lines: Mapping[str, Sequence[int]]


def draw(panels: Sequence[Panel]) -> str:
    width = len(panels) * (_LEFT + _WIDTH + _LABELS)
    height = _HEIGHT + _TOP + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{_FONT}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    top = 10 ** max(1, _ceiling(max(max(line) for p in panels for line in p.lines.values())))
    for number, panel in enumerate(panels):
        parts += _panel(panel, _LEFT + number * (_LEFT + _WIDTH + _LABELS), top)
    return "\n".join([*parts, "</svg>\n"])


def _ceiling(value: int) -> int:
    return len(str(value - 1)) if value > 1 else 1


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    def y(items: float) -> float:
        return _TOP + _HEIGHT * (1 - log10(max(items, 1)) / log10(top))

    def x(size: int) -> float:
        low, high = log10(panel.sizes[0]), log10(panel.sizes[-1])
        return left + _WIDTH * ((log10(size) - low) / (high - low) if high > low else 0.5)

    parts = [_text(left, _TOP - 30, panel.title, weight="bold")]
    power = 1
    while power <= top:
        at = y(power)
        parts += [
            f'<path d="M{left} {at:.1f}H{left + _WIDTH}" stroke="#dddddd"/>',
            _text(left - 6, at + 4, f"{power:,}", anchor="end"),
        ]
        power *= 10
    parts += [_text(x(s), _TOP + _HEIGHT + 18, f"{s:,}", anchor="middle") for s in panel.sizes]
    ends: list[tuple[float, str, str]] = []
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(x(s), y(items)) for s, items in zip(panel.sizes, line, strict=True)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        dash = "" if number < len(_COLOURS) else ' stroke-dasharray="5 3"'
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points
        ]
        ends.append((points[-1][1], f"{name}: {line[-1]:,}", colour))
    return parts + _labels(ends, left + _WIDTH + 10)


def _labels(ends: list[tuple[float, str, str]], left: float) -> list[str]:
    """Names at the lines' ends, moved apart where lines lie on one another."""
    placed: list[tuple[float, str, str]] = []
    for at, name, colour in sorted(ends):
        lowest = placed[-1][0] + _LINE if placed else 0.0
        placed.append((max(at, lowest), name, colour))
    # What slid below the axis pushes the others up.
    floor = float(_TOP + _HEIGHT)
    for n in range(len(placed) - 1, -1, -1):
        placed[n] = (min(placed[n][0], floor), *placed[n][1:])
        floor = placed[n][0] - _LINE
    return [_text(left, at + 4, name, colour=colour) for at, name, colour in placed]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#333333",
    weight: str = "normal",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )
