"""Asking a provider over HTTP, through the guarded client."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aetherlink.ai.adapters.failure import failure
from aetherlink.ai.model import ProviderError, Trouble
from aetherlink.platform.outbound import Kind, Outbound, OutboundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.ai.adapters import Format
    from aetherlink.ai.descriptor import Provider
    from aetherlink.ai.model import Completion, Prompt

MAX_BYTES = 1024 * 1024
_OK, _NOT_OK = 200, 300
_UNAUTHORISED = (401, 403)
_TROUBLES = {
    Kind.TIMEOUT: Trouble.TIMEOUT,
    Kind.CONNECT: Trouble.CONNECT,
    Kind.DNS: Trouble.CONNECT,
    Kind.TLS: Trouble.CONNECT,
    Kind.PROTOCOL: Trouble.CONNECT,
    Kind.TOO_LARGE: Trouble.BAD_ANSWER,
    Kind.FORBIDDEN_URL: Trouble.MISCONFIGURED,
    Kind.FORBIDDEN_ADDRESS: Trouble.MISCONFIGURED,
}
# What HTTP allows in a header's value and a key is made of.
_KEY = re.compile(r"[\x21-\x7e]+")


class Wire:
    """`keys` finds a provider's key, "" where it needs none; `forget` drops one that was refused."""

    def __init__(
        self,
        outbound: Outbound,
        form: Format,
        keys: Callable[[str], str],
        forget: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._outbound = outbound
        self._form = form
        self._keys = keys
        self._forget = forget
        self._now = now

    def complete(self, provider: Provider, prompt: Prompt, *, seconds: float) -> Completion:
        key = self._keys(provider.key) if provider.key else ""
        if key and not _KEY.fullmatch(key):
            raise ProviderError(
                f"the key of {provider.name} has blanks or control characters in it",
                Trouble.UNAUTHORISED,
            )
        sent = self._form.request(provider, prompt, key)
        try:
            answer = self._outbound.send(
                "POST",
                provider.url.rstrip("/") + sent.path,
                headers={"content-type": "application/json", **sent.headers},
                # ASCII: half a character that somebody sent must not keep the rest from being asked.
                body=json.dumps(sent.body).encode(),
                timeout_seconds=seconds,
                max_bytes=MAX_BYTES,
            )
        except OutboundError as error:
            raise ProviderError(str(error), _TROUBLES[error.kind]) from error
        if not _OK <= answer.status < _NOT_OK:
            if answer.status in _UNAUTHORISED:
                self._forget(provider.key)
            raise failure(provider.name, answer.status, answer.headers, answer.body, self._now())
        try:
            said = self._form.parse(_object(answer.body))
            return replace(said, text=said.text.encode("utf-8", "replace").decode())
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProviderError(
                f"{provider.name} answered {answer.status} with something that is not its format",
                Trouble.BAD_ANSWER,
                status=answer.status,
            ) from error


def _object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found
