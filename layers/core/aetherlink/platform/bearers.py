"""Secrets that say who calls where the sender can set no headers: in the query, path or body."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aetherlink.kernel.errors import ControlPlaneError
from aetherlink.platform.body import text_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.kernel.tenancy import Caller
    from aetherlink.platform.body import Proxy

    # Makes a caller of the secret and the headers.
    Known = Callable[[str, Mapping[str, str]], Caller]


@dataclass(frozen=True)
class Bearer:
    """Where the secret stands, and whom it makes of the caller (None: it is an API key).

    Headers that say who calls come first, but for a secret that is `alone`: one in the path, which
    says already whom the request is about, whatever headers a proxy or a browser adds to it. The body
    of such a request is free text, and never a reason to refuse it.
    """

    find: Callable[[Proxy], str | None]
    caller: Known | None = None
    alone: bool = False


# Those of a function's routes, by method and template: no secret is to buy anything but what it is for.
Bearers = dict[tuple[str, str], Bearer]


def by_ticket(caller: Known) -> Bearer:
    """`?ticket=`: of who follows a link, or a browser's EventSource."""
    return Bearer(lambda event: (event.get("queryStringParameters") or {}).get("ticket"), caller)


def by_path(name: str, caller: Known) -> Bearer:
    """A path parameter."""

    def find(event: Proxy) -> str | None:
        return unquote(str((event.get("pathParameters") or {}).get(name) or ""))

    return Bearer(find, caller, alone=True)


def by_body(name: str) -> Bearer:
    """A field of the body with an API key in it."""

    def find(event: Proxy) -> str | None:
        try:
            given = json.loads(text_in(event))
        except (ValueError, RecursionError, ControlPlaneError):
            # Not known, hence not admitted, whatever else is wrong with it.
            return None
        found = given.get(name) if isinstance(given, dict) else None
        return found if isinstance(found, str) else None

    return Bearer(find)
