"""Idempotency-Key: the same request again gets the first one's answer, for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aetherlink.kernel.access import CREATES, NAMES_EVENTS
from aetherlink.kernel.errors import Flaw, UnprocessableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.kernel.tenancy import Caller
    from aetherlink.platform.body import Proxy

HEADER: Final = "idempotency-key"
# Stands on an answer that was given before.
REPLAYED: Final = "Idempotency-Replayed"
MAX_KEY = 255


def once(event: Proxy, caller: Caller | None, run: Callable[[], Proxy]) -> Proxy:
    """The answer of `run`, or the one that the same key had before.

    Raises UnprocessableError for a key that is none, or came with another request before;
    StillRunningError while that one runs; StorageError where it cannot be known. Costs nothing
    without a key, or where the route takes none.
    """
    if caller is None or HEADER not in event["headers"]:
        return run()
    route = (event["httpMethod"], event["resource"])
    if route in NAMES_EVENTS:
        key_in(event["headers"])
    if route not in CREATES:
        return run()
    from aetherlink.platform.replay import replay  # noqa: PLC0415 - most requests bring no key

    return replay(event, caller, key_in(event["headers"]), run)


def key_in(headers: Mapping[str, str]) -> str:
    """The key that a request came with, "" for none. Raises UnprocessableError for what is no key."""
    key = headers.get(HEADER)
    if key is None:
        return ""
    if not 1 <= len(key) <= MAX_KEY or not all("!" <= character <= "~" for character in key):
        raise UnprocessableError(
            (
                Flaw(
                    "header/Idempotency-Key",
                    f"has 1 to {MAX_KEY} visible ASCII characters, such as a UUID, got "
                    f"{len(key)} characters",
                ),
            )
        )
    return key
