"""Reading the shared counts of requests. Their keys are in platform/tally.py, which writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink.audit.statistics import Tallied
from aetherlink.platform.tally import EVERYBODY, partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.platform.dynamo import Item, Table


class TallyStore:
    """Every read is consistent, and of as many items as there are routes at most."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of_tenant(self, tenant: TenantId) -> Iterator[Tallied]:
        return self._of(tenant)

    def of_everybody(self) -> Iterator[Tallied]:
        return self._of(EVERYBODY)

    def _of(self, whose: str) -> Iterator[Tallied]:
        for item in self._table.query_all("pk = :pk", pk=partition(whose)):
            service, _, path = str(item["sk"]).partition("#")
            yield Tallied(service, path, _by_status(item))


def _by_status(item: Item) -> dict[int, int]:
    return {
        int(name[1:]): number
        for name, number in item.items()
        if name.startswith("s") and name[1:].isdigit()
    }
