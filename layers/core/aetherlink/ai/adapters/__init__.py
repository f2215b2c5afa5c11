"""Providers' wire formats, one module each, of one shape: what is sent, and what came back.

`request` and `parse` are pure; `Wire` sends what the one made and hands the answer to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Completion, Prompt


class Adapter(Protocol):
    """A provider that can be asked. Raises ProviderError."""

    def complete(self, provider: Provider, prompt: Prompt, *, seconds: float) -> Completion: ...


@dataclass(frozen=True)
class Sent:
    """A request below a provider's base URL."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def bearer(key: str) -> dict[str, str]:
    """As each vendor's own client of today sends a key; "" sends none."""
    return {"authorization": f"Bearer {key}"} if key else {}


class Format(Protocol):
    """A wire format. `parse` raises KeyError, TypeError, ValueError or IndexError for an answer that
    is not in it."""

    def request(self, provider: Provider, prompt: Prompt, key: str) -> Sent: ...
    def parse(self, answer: Mapping[str, Any]) -> Completion: ...
