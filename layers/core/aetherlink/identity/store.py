"""Keys in the control table.

    pk  <tenant>#keys    sk  <key id>    kind  key    kind_key  <tenant>#<key id>

Keys of every tenant stand under `system`. `hash` and `previous_hash` lead to the items by which
secrets are looked up (platform/credentials.py); both are written in one transaction with the key.
What has ended leaves the list after 90 days (`expires_at`, the TTL).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aetherlink.identity.model import SHOWN_AFTER_END, Key
from aetherlink.kernel.tenancy import Role, Scopes, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform import credentials
from aetherlink.platform.credentials import Credential
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from datetime import datetime

_BATCH = 100


class KeyStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, tenant_id: TenantId, key: Key) -> None:
        transact(
            [
                self._table.put_request(
                    _to_item(tenant_id, key), only_if="attribute_not_exists(pk)"
                ),
                self._secret(key, key.hash, only_if="attribute_not_exists(pk)"),
            ]
        )

    def get(self, tenant_id: TenantId, key_id: str) -> Key | None:
        item = self._table.get(f"{tenant_id}#keys", key_id)
        return self._with_use([_to_key(item)])[0] if item else None

    def of(self, tenant_id: TenantId, *, after: str, limit: int) -> tuple[list[Key], bool]:
        """A page of a tenant's keys by id, and whether there are more."""
        items, more = self._table.query_up(
            "pk = :pk AND sk > :after", pk=f"{tenant_id}#keys", after=after or " ", limit=limit
        )
        return self._with_use([_to_key(item) for item in items]), more

    def all(self, *, after: str, limit: int) -> tuple[list[Key], bool]:
        """The same of every tenant, by tenant and id; a moment behind on AWS (an index)."""
        items, more = self._table.query_up(
            "kind = :kind AND kind_key > :after",
            index="by_kind",
            kind="key",
            after=after or " ",
            limit=limit,
        )
        return self._with_use([_to_key(item) for item in items]), more

    def rotate(self, tenant_id: TenantId, earlier: Key, changed: Key) -> bool:
        """Store a key with its new secret; False if somebody changed it meanwhile."""
        writes = [
            self._replaced(tenant_id, earlier, changed),
            self._secret(changed, changed.hash, only_if="attribute_not_exists(pk)"),
        ]
        if changed.previous_hash:
            # A condition, since a stump must not become valid again.
            until = changed.previous_until
            writes.append(
                self._secret(
                    changed, changed.previous_hash, until=until, only_if="attribute_exists(pk)"
                )
            )
        gone = set(earlier.hashes) - set(changed.hashes)
        writes += [self._table.delete_request(*credentials.key_of(each)) for each in sorted(gone)]
        return _is_done(writes)

    def revoke(self, tenant_id: TenantId, earlier: Key, changed: Key) -> bool:
        """Store a revoked key and forget its secrets; False if somebody changed it meanwhile."""
        return _is_done(
            [
                # Under the hash that was read: a rotation in between would leave its secret alive.
                self._replaced(tenant_id, earlier, changed),
                *(self._table.delete_request(*credentials.key_of(each)) for each in earlier.hashes),
            ]
        )

    def _replaced(self, tenant_id: TenantId, earlier: Key, changed: Key) -> Item:
        return self._table.put_request(
            _to_item(tenant_id, changed),
            only_if="#hash = :hash AND attribute_not_exists(revoked_at)",
            hash=earlier.hash,
        )

    def _secret(
        self, key: Key, secret_hash: str, *, only_if: str, until: datetime | None = None
    ) -> Item:
        credential = Credential(
            kind="key",
            name=key.id,
            roles=key.roles,
            tenants=key.tenants,
            cross_tenant=key.cross_tenant,
            scopes=key.scopes,
            requests_per_minute=key.requests_per_minute,
            expires_at=until or key.expires_at,
            last_used_at=key.last_used_at,
        )
        return self._table.put_request(
            credentials.to_item(secret_hash, credential), only_if=only_if
        )

    def _with_use(self, keys: list[Key]) -> list[Key]:
        """The keys with when they were last used, which is noted beside their secrets."""
        wanted = [credentials.key_of(each) for key in keys for each in key.hashes]
        used: dict[str, str] = {}
        for start in range(0, len(wanted), _BATCH):
            for item in self._table.get_many(wanted[start : start + _BATCH]):
                if "last_used_at" in item:
                    used[item["pk"]] = item["last_used_at"]
        return [replace(key, last_used_at=_latest(key, used)) for key in keys]


def _latest(key: Key, used: dict[str, str]) -> datetime | None:
    noted = [used.get(credentials.key_of(each)[0]) for each in key.hashes]
    times = [from_text(text) for text in noted if text]
    if key.last_used_at:
        times.append(key.last_used_at)
    return max(times) if times else None


def _is_done(writes: list[Item]) -> bool:
    try:
        transact(writes)
    except ConditionFailedError:
        return False
    return True


def _to_item(tenant_id: TenantId, key: Key) -> Item:
    ended = key.ended_at
    return {
        "pk": f"{tenant_id}#keys",
        "sk": key.id,
        "kind": "key",
        "kind_key": f"{tenant_id}#{key.id}",
        "name": key.name,
        "prefix": key.prefix,
        "hash": key.hash,
        "roles": sorted(key.roles),
        "tenants": list(key.tenants) or None,
        "cross_tenant": key.cross_tenant,
        "sources": list(key.scopes.sources) or None,
        "routes": list(key.scopes.routes) or None,
        "requests_per_minute": key.requests_per_minute or None,
        "created_by": key.created_by,
        "previous_hash": key.previous_hash,
        "revoked_by": key.revoked_by,
        # Not `expires_at`, which is when the record goes.
        "ends_at": to_text(key.expires_at) if key.expires_at else None,
        "expires_at": int((ended + SHOWN_AFTER_END).timestamp()) if ended else None,
        **{name: _text(getattr(key, name)) for name in _INSTANTS},
    }


def _to_key(item: Item) -> Key:
    instants: dict[str, Any] = {name: from_text(item[name]) for name in _INSTANTS if name in item}
    return Key(
        id=item["sk"],
        name=item["name"],
        prefix=item["prefix"],
        hash=item["hash"],
        roles=frozenset(Role(role) for role in item["roles"]),
        tenants=tuple(TenantId(tenant) for tenant in item.get("tenants", ())),
        cross_tenant=item["cross_tenant"],
        scopes=Scopes(tuple(item.get("sources", ())), tuple(item.get("routes", ()))),
        requests_per_minute=item.get("requests_per_minute", 0),
        created_by=item["created_by"],
        expires_at=from_text(item["ends_at"]) if "ends_at" in item else None,
        previous_hash=item.get("previous_hash"),
        revoked_by=item.get("revoked_by"),
        **instants,
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


_INSTANTS = ("created_at", "rotated_at", "previous_until", "revoked_at", "last_used_at")
