"""Pages of arrivals as the live stream reads them. The relay's journal writes them.

projections  pk  <tenant>#arrivals    sk  <page number>    refs: [[position, tenant, …], …]
             pk  *#arrivals           sk  <page number>    the same over all tenants
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.events.model import Entry

if TYPE_CHECKING:
    from aetherlink.platform.dynamo import Table


class ArrivalStore:
    """A scope is a tenant, or "*" for all of them together."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def last(self, scope: str) -> int:
        """The number of the newest page; 0 if there is none."""
        newest = self._table.query("pk = :pk", pk=_partition(scope), limit=1, newest_first=True)
        return int(newest[0]["sk"]) if newest else 0

    def after(self, scope: str, page: int, limit: int) -> list[tuple[int, list[Entry]]]:
        """The pages from number `page` on, `limit` of them or 1 MB at most. Consistent."""
        items = self._table.query(
            "pk = :pk AND sk >= :page", pk=_partition(scope), page=f"{page:016d}", limit=limit
        )
        return [(int(item["sk"]), [Entry(*ref) for ref in item["refs"]]) for item in items]


def _partition(scope: str) -> str:
    return f"{scope}#arrivals"
