"""Which services depend on which. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Edges = Mapping[str, Sequence[str]]


def cycle_through(name: str, edges: Edges) -> list[str]:
    """The way from a service back to itself, as `[a, b, a]`; empty if there is none."""
    back: dict[str, str] = {}
    waiting = [name]
    while waiting:
        here = waiting.pop(0)
        for there in edges.get(here, ()):
            if there == name:
                way = [here]
                while way[-1] != name:
                    way.append(back[way[-1]])
                return [*reversed(way), name]
            if there not in back:
                back[there] = here
                waiting.append(there)
    return []


def upstream(name: str, edges: Edges) -> set[str]:
    """All that a service depends on, near and far, but for what depends on it in turn: two that wait
    for each other would wait for ever."""
    return {other for other in _reached(name, edges) - {name} if name not in _reached(other, edges)}


def _reached(name: str, edges: Edges) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for there in edges.get(waiting.pop(), ()):
            if there not in found:
                found.add(there)
                waiting.append(there)
    return found
