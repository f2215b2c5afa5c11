"""How far each tenant's removals have been reported.

projections    pk  <tenant>#kept    sk  reported    until
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
