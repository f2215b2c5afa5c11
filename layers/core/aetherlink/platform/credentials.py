"""Keys and registration tokens: how they look, and who stands behind one.

control    pk  system#credential#<SHA-256 of the whole secret>    sk  credential
               kind                          key, or service: a service's registration token
               key_id | service              which of them
               tenant_id, tenants            home, and all that it was granted; absent with
               cross_tenant                  the grant of every tenant
               roles, sources, routes, requests_per_minute
               expires_at                    also DynamoDB's TTL
               last_used_at                  at most five minutes behind

    ak_ 23 random characters, 6 of checksum      a key, 32 characters in all: room for it in the
                                                 `routing_key` of PagerDuty's senders
    rt_ the same                                 a registration token

The checksum (CRC-32 of what precedes, in base 62) is no secret. It tells a typing mistake from a
revoked key, lets scanners find leaked ones, and a flood of guesses costs no reads.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import Role, Scopes, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "ak_"
REGISTRATION = "rt_"
LENGTH = 32

# How long a lookup may be believed where that is allowed: publishing alone.
CACHED = timedelta(seconds=30)
# How exact `last_used_at` is, so that a busy key costs one write in this time.
NOTED = timedelta(minutes=5)

_SHOWN = 7
_CHECKSUM = 6
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MAX_CACHED = 1_000


@dataclass(frozen=True)
class Credential:
    """Who a secret stands for, without the secret. `tenants` is empty with the cross-tenant grant."""

    kind: Literal["key", "service"]
    name: str
    roles: frozenset[Role]
    tenants: tuple[TenantId, ...] = ()
    cross_tenant: bool = False
    scopes: Scopes = field(default_factory=Scopes)
    requests_per_minute: int = 0
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


def generate(prefix: str) -> str:
    """A new secret: 137 random bits."""
    length = LENGTH - len(prefix) - _CHECKSUM
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))
    return body + _checksum(body)


@dataclass(frozen=True)
class Mint:
    """Makes secrets that begin with `prefix`, for services that do not know how."""

    prefix: str

    def generate(self) -> str:
        return generate(self.prefix)

    def hash_of(self, secret: str) -> str:
        return hash_of(secret)

    def shown_part(self, secret: str) -> str:
        """The start of it, by which people tell their keys apart."""
        return secret[:_SHOWN]


def is_ours(text: str) -> bool:
    """Whether it says that it is a key or a registration token."""
    return text.startswith((KEY, REGISTRATION))


def is_well_formed(secret: str) -> bool:
    """Whether we may have made it: nothing else is worth a lookup."""
    body, checksum = secret[:-_CHECKSUM], secret[-_CHECKSUM:]
    return (
        len(secret) == LENGTH
        and secret.isascii()
        and is_ours(secret)
        and secrets.compare_digest(_checksum(body), checksum)
    )


def hash_of(secret: str) -> str:
    """What is kept of a secret. No salt and no stretching: it has 137 random bits to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_of(secret_hash: str) -> tuple[str, str]:
    return f"system#credential#{secret_hash}", "credential"


def to_item(secret_hash: str, credential: Credential) -> Item:
    pk, sk = key_of(secret_hash)
    expires, used = credential.expires_at, credential.last_used_at
    return {
        "pk": pk,
        "sk": sk,
        "kind": credential.kind,
        "key_id" if credential.kind == "key" else "service": credential.name,
        "tenant_id": credential.tenants[0] if credential.tenants else None,
        "tenants": list(credential.tenants) or None,
        "cross_tenant": credential.cross_tenant,
        "roles": sorted(credential.roles),
        "sources": list(credential.scopes.sources) or None,
        "routes": list(credential.scopes.routes) or None,
        "requests_per_minute": credential.requests_per_minute or None,
        # Whole seconds; a fraction would let a key live on for up to one.
        "expires_at": int(expires.timestamp()) if expires else None,
        "last_used_at": to_text(used) if used else None,
    }


def from_item(item: Item) -> Credential:
    expires, used = item.get("expires_at"), item.get("last_used_at")
    kind: Literal["key", "service"] = item["kind"]
    return Credential(
        kind=kind,
        name=item["key_id" if kind == "key" else "service"],
        roles=frozenset(Role(role) for role in item["roles"]),
        tenants=tuple(TenantId(tenant) for tenant in item.get("tenants", ())),
        cross_tenant=item["cross_tenant"],
        scopes=Scopes(tuple(item.get("sources", ())), tuple(item.get("routes", ()))),
        requests_per_minute=item.get("requests_per_minute", 0),
        expires_at=datetime.fromtimestamp(expires, UTC) if expires else None,
        last_used_at=from_text(used) if used else None,
    )


class Credentials:
    """Looks credentials up. One per process: it remembers what it read, for who allows that."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now
        self._read: dict[str, tuple[datetime, Credential]] = {}

    def look_up(self, secret: str, *, may_be_cached: bool) -> Credential | None:
        """Who a well-formed secret stands for; None if it is unknown, revoked or expired.

        `may_be_cached` believes what was read up to 30 seconds ago, but never past its expiry.
        """
        secret_hash, now = hash_of(secret), self._now()
        read_at, credential = self._read.get(secret_hash, (None, None))
        if read_at is None or not may_be_cached or now - read_at >= CACHED:
            credential = self._look(secret_hash, now)
        return None if credential is None or credential.is_over(now) else credential

    def _look(self, secret_hash: str, now: datetime) -> Credential | None:
        item = self._table.get(*key_of(secret_hash))
        self._read.pop(secret_hash, None)
        if item is None:
            return None
        credential = from_item(item)
        if len(self._read) >= _MAX_CACHED:
            # The one that was read longest ago.
            del self._read[next(iter(self._read))]
        self._read[secret_hash] = (now, credential)
        if not credential.is_over(now):
            self._note_use(secret_hash, credential, now)
        return credential

    def _note_use(self, secret_hash: str, credential: Credential, now: datetime) -> None:
        used = credential.last_used_at
        if used is not None and now - used < NOTED:
            return
        try:
            # A key that was revoked this moment must not come back as a stump; of two instances
            # that see it used, one writes.
            self._table.set(
                *key_of(secret_hash),
                {"last_used_at": to_text(now)},
                only_if="attribute_exists(pk) AND "
                "(attribute_not_exists(last_used_at) OR last_used_at < :before)",
                before=to_text(now - NOTED),
            )
        except ConditionFailedError:
            pass
        except UnavailableError:
            logger.warning("use of a credential not noted", credential=credential.name)


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode("utf-8", "surrogatepass")), ""
    for _ in range(_CHECKSUM):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
