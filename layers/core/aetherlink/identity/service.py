"""Make, list, rotate and revoke keys; say who a caller is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.identity.model import Key, KeyDraft, admit, check_grant, rotated
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    ForbiddenError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, Scopes, TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

# Somebody else changing the same key at the same moment is rare; twice in a row, rarer.
_TRIES = 3


class Kept(Protocol):
    """What this needs of the control table."""

    def add(self, tenant_id: TenantId, key: Key) -> None: ...
    def get(self, tenant_id: TenantId, key_id: str) -> Key | None: ...
    def of(self, tenant_id: TenantId, *, after: str, limit: int) -> tuple[list[Key], bool]: ...
    def all(self, *, after: str, limit: int) -> tuple[list[Key], bool]: ...
    def rotate(self, tenant_id: TenantId, earlier: Key, changed: Key) -> bool: ...
    def revoke(self, tenant_id: TenantId, earlier: Key, changed: Key) -> bool: ...


class Minting(Protocol):
    """Where secrets come from."""

    def generate(self) -> str: ...
    def hash_of(self, secret: str) -> str: ...
    def shown_part(self, secret: str) -> str: ...


class Keys:
    def __init__(self, store: Kept, mint: Minting, now: Callable[[], datetime]) -> None:
        self._store = store
        self._mint = mint
        self._now = now

    def create(self, caller: Caller, draft: KeyDraft) -> dict[str, Any]:
        """A new key; its secret comes back here and never again."""
        check_grant(caller, (Role(role) for role in draft.roles))
        tenants = self._tenants(caller, draft)
        home, now = tenants[0] if tenants else SYSTEM, self._now()
        secret = self._mint.generate()
        key = admit(
            draft,
            caller,
            key_id=new_tenant_bound(home),
            tenants=tenants,
            prefix=self._mint.shown_part(secret),
            secret_hash=self._mint.hash_of(secret),
            now=now,
        )
        self._store.add(home, key)
        shown = key.shown(now)
        caller.trail.changed(f"key/{key.id}", after=shown)
        return {"status": "ok", "key": shown, "secret": secret}

    def listed(self, view: TenantId | None, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of a tenant's keys, or of everybody's."""
        question = ("keys", view or "*")
        after = decode_cursor(cursor, *question) if cursor else ""
        if view is None:
            keys, more = self._store.all(after=after, limit=limit)
        else:
            keys, more = self._store.of(view, after=after, limit=limit)
        following = None
        if more and keys:
            last = keys[-1]
            position = last.id if view else f"{last.home}#{last.id}"
            following = encode_cursor(position, *question)
        now = self._now()
        return {
            "status": "ok",
            "count": len(keys),
            "keys": [key.shown(now) for key in keys],
            "next_cursor": following,
        }

    def get(self, caller: Caller, key_id: str) -> dict[str, Any]:
        return {"status": "ok", "key": self._find(caller, key_id)[1].shown(self._now())}

    def revoke(self, caller: Caller, key_id: str) -> dict[str, Any]:
        """From now on its secrets are refused. Again for one that is revoked already: as it is."""
        for _ in range(_TRIES):
            home, key = self._find(caller, key_id)
            caller.trail.tenant_id = home
            now = self._now()
            if key.revoked_at:
                break
            changed = replace(key, revoked_at=now, revoked_by=caller.subject)
            if self._store.revoke(home, key, changed):
                before, after = key.shown(now), changed.shown(now)
                caller.trail.changed(f"key/{key_id}", before=before, after=after)
                key = changed
                break
        else:
            raise ConflictError(_BUSY)
        return {"status": "ok", "revoked": key_id, "key": key.shown(now)}

    def rotate(self, caller: Caller, key_id: str, grace: timedelta) -> dict[str, Any]:
        """A new secret for the same key; the old one is good for `grace` more."""
        home, key = self._find(caller, key_id)
        caller.trail.tenant_id = home
        self._check_rotation(caller, key)
        secret, now = self._mint.generate(), self._now()
        changed = rotated(
            key,
            prefix=self._mint.shown_part(secret),
            secret_hash=self._mint.hash_of(secret),
            grace=grace,
            now=now,
        )
        if not self._store.rotate(home, key, changed):
            raise ConflictError(_BUSY)
        before, after = key.shown(now), changed.shown(now)
        caller.trail.changed(f"key/{key_id}", before=before, after=after)
        return {"status": "ok", "key": after, "secret": secret}

    def _check_rotation(self, caller: Caller, key: Key) -> None:
        # The new secret is all that the key is, so who gets it must be allowed as much; a key may
        # renew itself, which gives it nothing that it does not have.
        if key.id != caller.key_id:
            check_grant(caller, key.roles)
            if any(not caller.may_act_for(tenant) for tenant in key.tenants):
                raise ForbiddenError(
                    "This key is also for tenants that you may not act for; revoke it, or have it "
                    "rotated by who may"
                )
        now = self._now()
        if key.state(now) != "active":
            raise ConflictError(f"This key is {key.state(now)}; make a new one")
        if key.has_two_secrets(now) and key.previous_until:
            raise ConflictError(
                "Two secrets of this key are valid, until "
                f"{to_text(key.previous_until)}; a third would be one too many"
            )

    def _tenants(self, caller: Caller, draft: KeyDraft) -> tuple[TenantId, ...]:
        """The tenants of a key to be, its home first; none for one of every tenant."""
        if draft.cross_tenant:
            if not (caller.cross_tenant and Role.ADMIN in caller.roles):
                raise ForbiddenError(
                    "Only an admin with the cross-tenant grant may make a cross-tenant key"
                )
            caller.trail.tenant_id = SYSTEM
            return ()
        home = caller.writes(draft.tenant_id or next(iter(draft.tenants), None))
        others = [caller.reads(tenant) for tenant in draft.tenants]
        named = dict.fromkeys([home, *(tenant for tenant in others if tenant)])
        if SYSTEM in named:
            raise UnprocessableError(
                (
                    Flaw(
                        "/tenant_id" if home == SYSTEM else "/tenants",
                        "'system' is the platform's own; a key with cross_tenant acts for it",
                    ),
                )
            )
        return tuple(named)

    def _find(self, caller: Caller, key_id: str) -> tuple[TenantId, Key]:
        """A key that the caller may see, and whose it is. Any other is not found."""
        owner, view = tenant_of(key_id), caller.reads()
        # Of keys for every tenant nobody hears but who has as much.
        is_seen = caller.cross_tenant if owner == SYSTEM else view in (None, owner)
        key = self._store.get(owner, key_id) if owner and is_seen else None
        if owner is None or key is None:
            raise NotFoundError(f"Key {key_id} not found")
        return owner, key


def describe(caller: Caller, auth_mode: str) -> dict[str, Any]:
    """The answer to who asks who it is."""
    tenants = caller.tenants or ({caller.tenant_id} if caller.tenant_id else set())
    shown: dict[str, Any] = {
        "status": "ok",
        "subject": caller.subject,
        "roles": sorted(caller.roles),
        "tenant_id": caller.tenant_id,
        "tenants": sorted(tenants),
        "cross_tenant": caller.cross_tenant,
        "auth_mode": auth_mode,
    }
    if caller.key_id:
        shown["key_id"] = caller.key_id
    if caller.service:
        shown["service"] = caller.service
    if caller.scopes != Scopes():
        sources, routes = list(caller.scopes.sources), list(caller.scopes.routes)
        shown["scopes"] = {"sources": sources, "routes": routes}
    return shown


_BUSY = "Somebody else is changing this key; look at it and try again"
