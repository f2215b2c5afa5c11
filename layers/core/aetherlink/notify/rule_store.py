"""A tenant's notification rules in the control table.

pk  <tenant>#notification-rules    sk  rules
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aetherlink.notify.rules import SHIPPED, RuleSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.platform.dynamo import Table

# For who asks of every event: a change of the rules counts after so long at the latest.
MAX_AGE = timedelta(seconds=30)
_MAX_KNOWN = 1_000


class RuleStore:
    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now
        self._known: dict[TenantId, tuple[datetime, RuleSet]] = {}

    def of(self, tenant: TenantId) -> RuleSet:
        """The tenant's rules; the shipped ones if it has none of its own."""
        item = self._table.get(*_key(tenant))
        return RuleSet.model_validate_json(item["rules"]) if item else SHIPPED

    def recent(self, tenant: TenantId) -> RuleSet:
        """The same as it was at most 30 s ago."""
        now = self._now()
        read_at, rules = self._known.get(tenant, (None, SHIPPED))
        if read_at is None or now - read_at >= MAX_AGE:
            rules = self.of(tenant)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[tenant] = now, rules
        return rules

    def put(self, tenant: TenantId, rules: RuleSet) -> None:
        pk, sk = _key(tenant)
        self._table.put({"pk": pk, "sk": sk, "rules": rules.model_dump_json()})

    def delete(self, tenant: TenantId) -> None:
        self._table.delete(*_key(tenant))


def _key(tenant: TenantId) -> tuple[str, str]:
    return f"{tenant}#notification-rules", "rules"
