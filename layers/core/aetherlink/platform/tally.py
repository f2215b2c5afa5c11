"""Counts of requests, shared by all instances and written behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import Caller


def count(service: str, path: str, status: int, caller: Caller | None) -> None:
    """Count one answered request. Costs no AWS call here: a thread writes what has gathered."""
