"""Whom to ask, in which order, and for how long. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.ai.descriptor import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aetherlink.ai.descriptor import Provider, Ranks

# A provider that would have less is not asked: no model answers in it.
LEAST_SECONDS = 0.5
# What is kept back for each one that is still to come, so that the first cannot use up the whole.
KEPT_BACK_SECONDS = 4.0
# What is left for counting, events and the way back when the last one has had its time.
MARGIN_SECONDS = 0.5


def line_up(ranks: Ranks, capability: str, draw: Callable[[], float]) -> tuple[Provider, ...]:
    """Those that have the capability: rank after rank, within one by weight.

    `draw` gives numbers from 0 up to 1. A provider of weight 3 comes first three times as often as one
    of weight 1 beside it."""
    line: list[Provider] = []
    for rank in ranks:
        able = [provider for provider in rank if provider.can(capability)]
        while able:
            point = draw() * sum(provider.weight for provider in able)
            for provider in able:
                point -= provider.weight
                if point < 0:
                    break
            line.append(provider)
            able.remove(provider)
    return tuple(line)


def seconds_for(provider: Provider, left: float, after: Sequence[Provider]) -> float:
    """How long a provider may take when `left` seconds are left of the whole; 0, it is not asked.

    It gets its own timeout, unless that would starve those `after` it: to each of them that is asked
    over the network a few seconds are kept back."""
    waiting = sum(1 for other in after if other.type is not Kind.RULES)
    usable = left - MARGIN_SECONDS
    share = usable / (1 + waiting)
    seconds = min(provider.timeout_seconds, max(usable - KEPT_BACK_SECONDS * waiting, share))
    return seconds if seconds >= LEAST_SECONDS else 0.0


def named(order: Iterable[Provider]) -> tuple[str, ...]:
    return tuple(provider.name for provider in order)
