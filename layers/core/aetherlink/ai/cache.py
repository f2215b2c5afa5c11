"""Answers that were given already, for tenants who want that: the same question, word for word.

control    pk  <tenant>#ai-cache    sk  <SHA-256 of what was asked>    answer, expires_at
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aetherlink.ai.descriptor import Capability
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.platform.dynamo import Table

# An item has room for 400 KB.
MAX_BYTES = 300_000


class Cache:
    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def get(self, tenant: TenantId, key: str) -> dict[str, Any] | None:
        item = self._table.get(f"{tenant}#ai-cache", key)
        # TTL removes it when it comes by; past is past at once.
        if item is None or item["expires_at"] <= self._now().timestamp():
            return None
        found: dict[str, Any] = json.loads(item["answer"])
        return found

    def put(self, tenant: TenantId, key: str, answer: Mapping[str, Any], seconds: int) -> None:
        text = json.dumps(answer)
        if len(text.encode()) > MAX_BYTES:
            return
        expires_at = int(self._now().timestamp()) + seconds
        self._table.put(
            {"pk": f"{tenant}#ai-cache", "sk": key, "answer": text, "expires_at": expires_at}
        )


def key_of(capability: Capability, payload: Mapping[str, Any]) -> str:
    """Another prompt or another check makes it another question."""
    asked = [capability.model_dump(mode="json"), payload]
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
