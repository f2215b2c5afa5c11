"""How far each tenant's removals have been reported, and which global retention was last in force.

projections    pk  <tenant>#kept    sk  reported    until
                   pk  system#kept      sk  default     retention_days
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.kernel.time import from_text, to_text

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.platform.dynamo import Table


class ReportedStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant: TenantId) -> datetime | None:
        """Every event from before this that is gone has been reported."""
        item = self._table.get(f"{tenant}#kept", "reported")
        return from_text(item["until"]) if item else None

    def put(self, tenant: TenantId, until: datetime) -> None:
        self._table.put({"pk": f"{tenant}#kept", "sk": "reported", "until": to_text(until)})

    def default_days(self) -> int | None:
        """The global retention that stored events were stamped with."""
        item = self._table.get("system#kept", "default")
        return int(item["retention_days"]) if item else None

    def put_default_days(self, days: int) -> None:
        self._table.put({"pk": "system#kept", "sk": "default", "retention_days": days})
