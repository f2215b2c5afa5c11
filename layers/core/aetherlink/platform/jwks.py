"""An issuer's public keys: fetched by the guarded client, kept a while, and fetched anew no oftener
than an attacker with made-up key ids may cause.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from aetherlink.kernel.errors import ControlPlaneError, UnavailableError
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.platform.outbound import Answer

# Keys are looked at again after this; what is older than STALE is believed no more, even while the
# issuer does not answer.
FRESH = timedelta(minutes=10)
STALE = timedelta(hours=1)
# At most one fetch in this time for the sake of an unknown key id.
PAUSE = timedelta(seconds=30)
# After a fetch that failed: until then nobody waits for the issuer again.
FAILED_PAUSE = timedelta(seconds=10)

_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_OK = 200

Jwk = dict[str, Any]


class Fetching(Protocol):
    """What this needs of the outbound client."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        max_bytes: int,
    ) -> Answer: ...


class KeySet:
    """The signing keys of one issuer. One per process."""

    def __init__(
        self,
        outbound: Fetching,
        *,
        issuer: str,
        jwks_url: str,
        now: Callable[[], datetime],
    ) -> None:
        """`jwks_url` may be empty: then the issuer's discovery document says where they are."""
        self._outbound = outbound
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._now = now
        self._keys: list[Jwk] = []
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._failed = False

    def pick(self, fits: Callable[[list[Jwk]], Jwk | None]) -> Jwk | None:
        """The key that `fits` chooses; None if it chooses none even of keys fetched just now.

        Raises UnavailableError if there are none to choose from, since the issuer does not answer.
        """
        if self._age() >= FRESH:
            self._refresh(FAILED_PAUSE if self._failed else timedelta())
        if self._age() >= STALE:
            raise UnavailableError(
                "The issuer of tokens does not show its keys at the moment; try again",
                int(FAILED_PAUSE.total_seconds()),
            )
        found = fits(self._keys)
        if found is None and self._refresh(PAUSE):
            found = fits(self._keys)
        return found

    def _age(self) -> timedelta:
        return self._now() - self._fetched_at if self._fetched_at else timedelta.max

    def _refresh(self, pause: timedelta) -> bool:
        """Fetch, unless that was tried less than `pause` ago; whether there are new keys."""
        now = self._now()
        if self._tried_at is not None and now - self._tried_at < pause:
            return False
        self._tried_at = now
        try:
            self._keys = self._fetch()
        except ControlPlaneError as error:
            self._failed = True
            logger.warning("keys of the issuer not fetched", issuer=self._issuer, reason=str(error))
            return False
        self._failed, self._fetched_at = False, now
        return True

    def _fetch(self) -> list[Jwk]:
        listed = self._document(self._jwks_url or self._discovered()).get("keys")
        keys = [key for key in listed if isinstance(key, dict)] if isinstance(listed, list) else []
        if not keys:
            raise UnavailableError("the key set has no keys")
        return keys[:_MAX_KEYS]

    def _discovered(self) -> str:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._document(url)
        if document.get("issuer") != self._issuer:
            # Else whoever serves that page could make itself the issuer of our tokens.
            raise UnavailableError(f"{url} speaks for another issuer than OidcIssuer names")
        found = document.get("jwks_uri")
        if not isinstance(found, str):
            raise UnavailableError(f"{url} names no jwks_uri")
        return found

    def _document(self, url: str) -> dict[str, Any]:
        if not _is_safe(url):
            raise UnavailableError("keys are fetched by https; by http from loopback alone")
        answer = self._outbound.send(
            "GET",
            url,
            headers={"accept": "application/json"},
            body=b"",
            timeout_seconds=_TIMEOUT_SECONDS,
            max_bytes=_MAX_BYTES,
        )
        if answer.status != _OK:
            raise UnavailableError(f"{urlsplit(url).hostname} answered {answer.status}")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(f"{urlsplit(url).hostname} did not answer with JSON") from error
        if not isinstance(document, dict):
            raise UnavailableError(f"{urlsplit(url).hostname} did not answer with a JSON object")
        return document


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can swap the keys. (The client admits loopback only if the parameter
    OutboundAllow does.)"""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
