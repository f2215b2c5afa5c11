"""Where the tables have something of a tenant: the one list of it.

    what                                             when the tenant goes
    every table    pk <tenant>#…                     goes; all but the record in the control table
    control        system#retention    sk <tenant>   goes
                   *#archive-due       sk <hour>#…   goes
                   *#archive-since     sk <tenant>   goes
                   system#watches      group         goes, where it names the tenant
                   system#deliveries   event         goes, where it is the tenant's
                   system#digest#…     event         the same
                   system#credential#… tenants       goes if the tenant is its home, else is for the others
                   <other>#keys        tenants       is for the others
                   *#types                           is less by the tenant's types
    projections    *#tenants           sk <tenant>   goes
                   *#timeline, *#type, *#severity    without its references; goes if it has no others
                   *#arrivals          refs          without its references
                   *#counts#<days>                   is less by the tenant's counts

The table is part of every rule: an event's id may be any text, so `acme#tenant` and `system#retention`
in the table of events are two events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from aetherlink.kernel.reach import AUDIT, CONTROL, EVENTS, PROJECTIONS
from aetherlink.kernel.tenancy import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.kernel.tenancy import TenantId

    Item = dict[str, Any]

# In the order in which they are gone through: what is read to find the rest goes last.
TABLES: Final = (EVENTS, PROJECTIONS, AUDIT, CONTROL)


class Fate(StrEnum):
    """What becomes of an item when the tenant goes."""

    GOES = "goes"
    # And what it counts is taken from the count over all tenants.
    IS_SUBTRACTED = "is subtracted"
    # Others are in it too: it stays, without the tenant.
    IS_SHORTENED = "is shortened"


@dataclass(frozen=True)
class Trace:
    """`change` is what a shortened item has instead, by attribute."""

    fate: Fate
    item: Item
    change: Mapping[str, Any] | None = None


def trace_of(tenant: TenantId, table: str, item: Item) -> Trace | None:
    """What an item has of a tenant; None if nothing."""
    owner, place = _place(item)
    if owner == tenant:
        # The record says that the tenant is leaving, and afterwards that it has left.
        is_record = (table, place) == (CONTROL, "tenant")
        return None if is_record else Trace(_fate_of_own(table, place, item), item)
    where = table, f"{owner}#{place}"
    if where in _OWNERS:
        return Trace(Fate.GOES, item) if _OWNERS[where](item) == tenant else None
    if where in _PAGES:
        refs = [ref for ref in item["refs"] if ref[1] != tenant]
        if len(refs) == len(item["refs"]):
            return None
        # The newest page of arrivals says what the next one's number is, and a reader takes a missing
        # one for lost: an empty one stays until its time is over, a day at most.
        is_empty = not refs and place != "arrivals"
        return Trace(Fate.GOES, item) if is_empty else _shortened(item, refs=refs)
    if table == CONTROL and (place == "keys" or where[1] == _CREDENTIAL):
        return _grant(tenant, item)
    return None


def _fate_of_own(table: str, place: str, item: Item) -> Fate:
    is_counted = (table, place) == (PROJECTIONS, "counts")
    is_number_of_types = (table, place, item["sk"]) == (CONTROL, "types", "#taken")
    return Fate.IS_SUBTRACTED if is_counted or is_number_of_types else Fate.GOES


def _grant(tenant: TenantId, item: Item) -> Trace | None:
    """Of a key, or of the item by which its secret is found."""
    tenants = item.get("tenants", [])
    if tenant not in tenants:
        return None
    # Its home's key it is: listed, rotated and revoked there. Without it nobody could.
    if item.get("tenant_id", tenants[0]) == tenant:
        return Trace(Fate.GOES, item)
    return _shortened(item, tenants=[other for other in tenants if other != tenant])


def _shortened(item: Item, **change: Any) -> Trace:
    return Trace(Fate.IS_SHORTENED, item, change)


def _place(item: Item) -> tuple[str, str]:
    """The first two segments of the partition key: whose it is, and of what."""
    owner, _, rest = str(item["pk"]).partition("#")
    return owner, rest.partition("#")[0]


def _whole(item: Item) -> str:
    return str(item["sk"])


def _first(item: Item) -> str:
    return str(item["sk"]).partition("#")[0]


def _second(item: Item) -> str:
    return str(item["sk"]).partition("#")[2]


def _of_group(item: Item) -> str:
    return str((item.get("group") or {}).get("tenant_id", ""))


def _of_event(item: Item) -> str:
    """Of a delivery to an endpoint of the platform, whose event it told of."""
    try:
        return str(json.loads(item["event"])["tenant_id"])
    except (KeyError, ValueError, TypeError):
        return ""


_CREDENTIAL: Final = f"{SYSTEM}#credential"
# Shared partitions in which each item is one tenant's; and whose.
_OWNERS: Final[Mapping[tuple[str, str], Callable[[Item], str]]] = {
    (CONTROL, f"{SYSTEM}#retention"): _first,
    (CONTROL, "*#archive-due"): _second,
    (CONTROL, "*#archive-since"): _whole,
    (CONTROL, f"{SYSTEM}#watches"): _of_group,
    (CONTROL, f"{SYSTEM}#deliveries"): _of_event,
    (CONTROL, f"{SYSTEM}#digest"): _of_event,
    (PROJECTIONS, "*#tenants"): _whole,
}
_PAGES: Final = frozenset(
    (PROJECTIONS, f"*#{place}") for place in ("timeline", "type", "severity", "arrivals")
)


# ------------------------------------------------------------------ what an export shows

# Of projections what cannot be worked out from the events: counts outlive them.
_EXPORTED_PROJECTIONS = frozenset({"counts", "kept"})
# Hashes of secrets, answers kept for repeated requests, and numbers that are gone in minutes.
_NOT_EXPORTED = frozenset({"tickets", "idempotency", "rates"})
# Hashes of secrets are of use only to who wants to guess them.
_HIDDEN = frozenset({"hash", "previous_hash", "token_hash", "resume"})


def kind_of(tenant: TenantId, table: str, trace: Trace) -> str | None:
    """What kind of thing a trace is in an export; None if it is not in it."""
    owner, place = _place(trace.item)
    if owner != tenant:
        # Its policy stands beside those of the others. What else is shared repeats what is its own.
        return place if (owner, place) == (SYSTEM, "retention") and table == CONTROL else None
    if table == EVENTS:
        return "events"
    if table == AUDIT:
        return "seals" if str(trace.item["pk"]).endswith("#seals") else "records"
    if table == PROJECTIONS:
        return place if place in _EXPORTED_PROJECTIONS else None
    return None if place in _NOT_EXPORTED else place


def exported(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in _HIDDEN}
