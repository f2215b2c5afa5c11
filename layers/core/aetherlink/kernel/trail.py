"""What a request changed, in the words of whoever changed it: the matter of its audit record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Change:
    """One thing that is different now. None stands for "was not there" or "is no more"."""

    resource: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass
class Trail:
    """Filled while a request runs, read once by the edge when it has been answered.

    `tenant_id` is whom the request acted for, which decides whose record it is: what an admin of all
    tenants does to one of them stands in that tenant's audit.
    """

    tenant_id: str = ""
    # The caller's tenant is being removed, or has been: what is noted of the request is noted for the
    # platform, since the tenant is to have nothing any more.
    is_leaving: bool = False
    changes: list[Change] = field(default_factory=list)

    def changed(
        self,
        resource: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that `resource` (as `rule/<id>`) went from `before` to `after`. Secrets may stand in
        either; they are masked when the record is written."""
        self.changes.append(Change(resource, before, after))
