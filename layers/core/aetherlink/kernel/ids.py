"""Identifiers: time-ordered ones for events, tenant-bound ones for what belongs to a tenant."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import uuid
from typing import TYPE_CHECKING

from aetherlink.kernel.tenancy import TENANT_PATTERN, TenantId

if TYPE_CHECKING:
    from datetime import datetime


def uuid7(now: datetime) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then randomness."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def digest(*parts: str, length: int = 16) -> str:
    """A short hexadecimal name for `parts`, the same for the same parts. 4 bits a character."""
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:length]


def tenant_bound(tenant_id: TenantId, token: str) -> str:
    """An opaque id that leads back to its tenant, so that a lookup needs no index over tenants."""
    return base64.urlsafe_b64encode(f"{tenant_id}/{token}".encode()).decode().rstrip("=")


def new_tenant_bound(tenant_id: TenantId) -> str:
    return tenant_bound(tenant_id, secrets.token_hex(8))


def tenant_of(bound_id: str) -> TenantId | None:
    """The tenant that a `tenant_bound` id belongs to; None if it is no such id."""
    parts = _parts(bound_id)
    return parts[0] if parts else None


def token_of(bound_id: str) -> str:
    """What a `tenant_bound` id was made of besides its tenant; "" if it is no such id."""
    parts = _parts(bound_id)
    return parts[1] if parts else ""


def _parts(bound_id: str) -> tuple[TenantId, str] | None:
    try:
        text = base64.urlsafe_b64decode(bound_id + "=" * (-len(bound_id) % 4)).decode()
    except (ValueError, binascii.Error):
        return None
    tenant, slash, token = text.partition("/")
    if not slash or not token or not TENANT_PATTERN.fullmatch(tenant):
        return None
    # One spelling per id: base64 leaves unused bits that would otherwise give the id a twin.
    owner = TenantId(tenant)
    return (owner, token) if tenant_bound(owner, token) == bound_id else None
