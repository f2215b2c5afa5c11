"""How far a request reaches into the tables: its tenants' partitions, and a few that are shared.

Every partition key begins with its owner: a tenant, `system`, or `*` for what is everybody's. What
stands in neither a caller's tenants nor `SHARED` is out of reach, whatever the code above asks for.
`platform.boundary` holds every call to DynamoDB against this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.kernel.tenancy import Caller

    # Attributes as DynamoDB has them on the wire: {"S": "text"}.
    Wire = Mapping[str, Any]

EVENTS, PROJECTIONS, CONTROL, AUDIT = "events", "projections", "control", "audit"

# Attributes whose values begin with an owner: the base key, and the keys of the events' indexes.
# What another index finds is held against the reach item by item.
LED: Final = frozenset({"pk", "timeline", "by_type", "by_severity"})


def _owner_in_sort_key(item: Wire) -> frozenset[str] | None:
    return frozenset({str(item["sk"]["S"]).partition("#")[0]})


def _owners_of_credential(item: Wire) -> frozenset[str] | None:
    """None for a bare key, which is the hash of a secret: who knows it has what it names."""
    if "kind" not in item:
        return None
    return frozenset(entry["S"] for entry in item.get("tenants", {}).get("L", ()))


def _whoever_started_it(item: Wire) -> frozenset[str] | None:
    return frozenset({item.get("acting_for", {}).get("S", "")})


@dataclass(frozen=True)
class Shared:
    """What a request of some tenants may do in a partition that is not theirs.

    `attributes` are all that it may read there, where that is less than the whole. `owners` tells
    whose an item is: only what is nobody else's may be written; with `hides_others`, only what is
    one's own too may be read.
    """

    writes: bool = False
    attributes: frozenset[str] | None = None
    owners: Callable[[Wire], frozenset[str] | None] | None = None
    hides_others: bool = False

    def may_write(self, item: Wire, tenants: frozenset[str]) -> bool:
        if not self.writes:
            return False
        found = self.owners(item) if self.owners else None
        return found is None or (bool(found) and found <= tenants)

    def may_read(self, item: Wire, tenants: frozenset[str]) -> bool:
        """`item` is what was asked for, a key, or what was found."""
        if not self.hides_others or self.owners is None:
            return True
        found = self.owners(item)
        return found is None or not found.isdisjoint(tenants)


# By table and the key's first two segments; an empty second one stands for any.
SHARED: Final[Mapping[tuple[str, str], Shared]] = {
    # The platform's events, and how many there are, show in every tenant's views.
    (EVENTS, "system#"): Shared(),
    (PROJECTIONS, "system#counts"): Shared(),
    (PROJECTIONS, "system#arrivals"): Shared(),
    # Of all tenants' arrivals, how old the newest are: the lag that statistics show.
    (PROJECTIONS, "*#arrivals"): Shared(attributes=frozenset({"written_at", "received_at"})),
    # Whether a tenant has data; who else has is not to be seen.
    (PROJECTIONS, "*#tenants"): Shared(owners=_owner_in_sort_key, hides_others=True),
    (CONTROL, "system#types"): Shared(),
    (CONTROL, "system#rules"): Shared(),
    # How the platform's own parts are, and when the healer last ran.
    (CONTROL, "system#health"): Shared(),
    (CONTROL, "system#healing"): Shared(),
    (CONTROL, "system#silences"): Shared(),
    # How AI providers fare with all tenants together: numbers, and what they answer without.
    (CONTROL, "system#ai-providers"): Shared(writes=True),
    # How many types there are of all tenants: a number, and the limit on it.
    (CONTROL, "*#types"): Shared(writes=True),
    # Every tenant's retention stands in one partition, so that one read has them all.
    (CONTROL, "system#retention"): Shared(writes=True, owners=_owner_in_sort_key),
    # Which hours wait for the archive. A prune has to know it of its own tenant.
    (CONTROL, "*#archive-due"): Shared(),
    # Requests by nobody, which are no tenant's: numbers by route.
    (CONTROL, "system#requests"): Shared(),
    # The job that erases a tenant is the platform's. Whose a job is, `jobs.find` says.
    (CONTROL, "system#jobs"): Shared(writes=True, owners=_whoever_started_it),
    # Slots of the live stream: numbers and random tokens.
    (CONTROL, "system#streams"): Shared(writes=True),
    # Found by the hash of the secret, before anybody knows whose it is.
    (CONTROL, "system#credential"): Shared(
        writes=True, owners=_owners_of_credential, hides_others=True
    ),
}


def reach_of(caller: Caller | None) -> frozenset[str] | None:
    """The tenants whose partitions a caller's request may touch; None for all of them.

    Nobody (an open route) touches nothing.
    """
    if caller is None:
        return frozenset()
    if caller.cross_tenant:
        return None
    return caller.tenants | {caller.tenant_id} if caller.tenant_id else frozenset(caller.tenants)


def shared(table: str, partition: str) -> Shared | None:
    """What is shared of a partition; None if nothing is."""
    owner, _, rest = partition.partition("#")
    word = rest.partition("#")[0]
    return SHARED.get((table, f"{owner}#{word}")) or SHARED.get((table, f"{owner}#"))


def owner_of(partition: str) -> str:
    return partition.partition("#")[0]
