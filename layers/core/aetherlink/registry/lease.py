"""Leases: whose heartbeat has stopped, and when that says more of us than of them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Leases that run out within so long of each other did so at once: two of our client's heartbeats.
AT_ONCE = timedelta(seconds=60)
# More than this share of the leases that were good at that time, and at least so many (Eureka keeps
# registrations when fewer than 85 % renew; it knows no minimum, and so never loses the last of two).
SHARE, MINIMUM = 0.5, 3
# After that they are believed to be gone.
PRESERVED_FOR = timedelta(hours=1)


class Lease(NamedTuple):
    name: str
    ends: datetime


def lapsed(leases: Iterable[Lease], now: datetime) -> tuple[frozenset[str], frozenset[str]]:
    """The services whose lease has run out, and those of them that are kept all the same: most of a
    tenant's ended at once, so it is us or the network that lost them."""
    known = sorted(leases, key=lambda lease: lease.ends)
    over = [lease for lease in known if lease.ends <= now]
    kept: set[str] = set()
    for number, first in enumerate(over):
        together = [each for each in over[number:] if each.ends - first.ends <= AT_ONCE]
        were_good = len(known) - number
        is_most = len(together) >= MINIMUM and len(together) > SHARE * were_good
        if is_most and now - together[-1].ends < PRESERVED_FOR:
            kept.update(each.name for each in together)
    return frozenset(lease.name for lease in over) - kept, frozenset(kept)
