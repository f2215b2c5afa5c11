"""Appends what was changed or denied to the audit table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import Caller


def append(
    event: dict[str, Any], caller: Caller, *, service: str, status: int, reason: str
) -> None:
    """Append the record of one request. `reason` says why it was denied, "" if it was not.

    A failure to append is logged with the whole record and counted; the answer stands all the same,
    since what was changed is changed.
    """
