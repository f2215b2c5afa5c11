"""What a call may cost, and what is left of a tenant's day. Pure; `purse` keeps the sums.

Money is counted in whole millionths of a USD, always rounded up: sums of floats drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aetherlink.ai.descriptor import Price, Provider
    from aetherlink.ai.model import Completion, Prompt

# A token is one byte at the very least, and three to four in what people write; two is what the
# densest scripts come to. Around each turn a vendor adds a few tokens of its own.
BYTES_PER_TOKEN = 2
TOKENS_PER_TURN = 16


@dataclass(frozen=True)
class Budget:
    """A tenant's limit for a day (UTC), in millionths of a USD; None, no limit."""

    limit_micros: int | None = None

    def room_before(self, reserve: int) -> int | None:
        """The most that may be committed already if `reserve` is to fit; None, any sum."""
        return None if self.limit_micros is None else self.limit_micros - reserve


def cost(price: Price, input_tokens: int, output_tokens: int) -> int:
    # USD for a million tokens is millionths of a USD for one.
    return ceil(price.input * input_tokens + price.output * output_tokens)


def reserve(provider: Provider, prompt: Prompt) -> int:
    """The most that a call can be expected to cost."""
    tokens = ceil(prompt.size / BYTES_PER_TOKEN) + TOKENS_PER_TURN * (1 + len(prompt.turns))
    return cost(provider.price, tokens, min(prompt.max_tokens, provider.max_tokens))


def charge(provider: Provider, completion: Completion) -> int:
    return cost(provider.price, completion.input_tokens, completion.output_tokens)
