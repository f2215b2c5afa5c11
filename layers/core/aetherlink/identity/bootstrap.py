"""The key that nobody's key makes: for whoever has the account, and no key yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from aetherlink.identity.model import MAX_DAYS, KeyDraft
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import Caller, Role

if TYPE_CHECKING:
    from aetherlink.identity.service import Keys


class Wanted(Given):
    """The function's event; all of it may be left out. Without a tenant the key is for all of them."""

    name: str = Field(default="first admin", min_length=1, max_length=128)
    tenant_id: str | None = None
    roles: list[Literal["admin", "operator", "agent", "viewer"]] = Field(
        default=["admin"], min_length=1
    )
    expires_in_days: int | None = Field(default=None, ge=1, le=MAX_DAYS)


def first_key(keys: Keys, wanted: Wanted) -> dict[str, Any]:
    """`{"key_id", "secret", "key"}`: the secret is nowhere else afterwards."""
    draft = KeyDraft(**wanted.model_dump(), cross_tenant=wanted.tenant_id is None)
    everybody = Caller(
        subject="bootstrap", roles=frozenset({Role.ADMIN}), tenant_id=None, cross_tenant=True
    )
    made = keys.create(everybody, draft)
    return {"key_id": made["key"]["key_id"], "secret": made["secret"], "key": made["key"]}
