"""How many requests a tenant and a key may make; estimated here, counted for all instances behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import Caller


def admit(caller: Caller) -> None:
    """Raises TooManyRequestsError over a limit, ForbiddenError for a tenant that is being removed."""
