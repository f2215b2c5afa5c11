"""How long each tenant's events are kept: its own policy, else the global setting.

    control    pk  system#retention    sk  <tenant>             retention_days, updated_at
                                       sk  <tenant>#restored    since, until

One partition for all policies, so that one consistent read shows every one of them. "restored" says
that events back from the archive, which are older than the retention, are to be seen for a while.
The events of `system` follow the global setting (contract, Events).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import DEDUPE_FLOOR, Event, expires_at
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aetherlink.platform.dynamo import Item, Table

# A publish may use a policy of at most this age (DESIGN, Cold starts): it spares it a second call.
MAX_AGE = timedelta(seconds=30)
# Nothing may expire before it was archived; the archive is an hour or two behind (DESIGN, Data).
ARCHIVE_FLOOR = timedelta(hours=48)
# An event at least this old could be past a policy that is younger than the cached one: policies
# have a day at least.
_BACKDATED = timedelta(hours=23)
_PARTITION = f"{SYSTEM}#retention"


@dataclass(frozen=True)
class Policy:
    """A tenant's own retention."""

    retention_days: int
    updated_at: datetime


@dataclass(frozen=True)
class Restored:
    """Events from `since` on came back from the archive, and stay until `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Term:
    """How far back a tenant's events are shown."""

    retention: timedelta
    restored: Restored | None = None

    def oldest(self, now: datetime) -> datetime:
        """No event from before this is shown."""
        cutoff = now - self.retention
        if self.restored and now < self.restored.until:
            return min(cutoff, self.restored.since)
        return cutoff


@dataclass(frozen=True)
class Terms:
    """Every tenant's: the usual one, and those that differ."""

    usual: Term
    special: Mapping[TenantId, Term]

    def __getitem__(self, tenant_id: TenantId) -> Term:
        return self.special.get(tenant_id, self.usual)

    def oldest(self, now: datetime) -> datetime:
        return min(term.oldest(now) for term in (self.usual, *self.special.values()))


class Policies(Protocol):
    def get(self, tenant_id: TenantId) -> tuple[Policy | None, Restored | None]: ...
    def all(self) -> tuple[dict[TenantId, Policy], dict[TenantId, Restored]]: ...


class PolicyStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant_id: TenantId) -> tuple[Policy | None, Restored | None]:
        """A tenant's own policy, and what of its events was restored. Consistent, one call."""
        items = self._table.query(
            # No tenant id has a "#": nobody else's items are in between.
            "pk = :pk AND sk BETWEEN :tenant AND :end",
            pk=_PARTITION,
            tenant=tenant_id,
            end=f"{tenant_id}#~",
        )
        policies, restored = _sorted_out(items)
        return policies.get(tenant_id), restored.get(tenant_id)

    def all(self) -> tuple[dict[TenantId, Policy], dict[TenantId, Restored]]:
        """Every tenant's own policy, and what was restored. Consistent."""
        return _sorted_out(self._table.query_all("pk = :pk", pk=_PARTITION))

    def put(self, tenant_id: TenantId, policy: Policy) -> None:
        self._table.put(
            {
                "pk": _PARTITION,
                "sk": tenant_id,
                "retention_days": policy.retention_days,
                "updated_at": to_text(policy.updated_at),
            }
        )

    def delete(self, tenant_id: TenantId) -> None:
        self._table.delete(_PARTITION, tenant_id)

    def put_restored(self, tenant_id: TenantId, restored: Restored) -> None:
        self._table.put(
            {
                "pk": _PARTITION,
                "sk": f"{tenant_id}#restored",
                "since": to_text(restored.since),
                "until": to_text(restored.until),
                "expires_at": int(restored.until.timestamp()),
            }
        )


def _sorted_out(items: Iterable[Item]) -> tuple[dict[TenantId, Policy], dict[TenantId, Restored]]:
    policies, restored = {}, {}
    for item in items:
        tenant, _, word = str(item["sk"]).partition("#")
        if word:
            restored[TenantId(tenant)] = Restored(
                from_text(item["since"]), from_text(item["until"])
            )
        else:
            policies[TenantId(tenant)] = Policy(
                item["retention_days"], from_text(item["updated_at"])
            )
    return policies, restored


class Keeping:
    """The retention in force. Reads ask afresh; writes use what is at most 30 s old."""

    def __init__(
        self,
        policies: Policies,
        *,
        default: timedelta,
        is_archiving: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._policies = policies
        self.default = default
        self.floor = ARCHIVE_FLOOR if is_archiving else DEDUPE_FLOOR
        self._now = now
        self._cached = Terms(Term(default), {})
        self._read_at: datetime | None = None

    def term(self, tenant_id: TenantId) -> Term:
        """A tenant's term as it is at this moment."""
        policy, restored = self._policies.get(tenant_id)
        return self._term(tenant_id, policy, restored)

    def terms(self) -> Terms:
        """Every tenant's term as it is at this moment."""
        policies, restored = self._policies.all()
        special = {
            tenant: self._term(tenant, policies.get(tenant), restored.get(tenant))
            for tenant in {*policies, *restored}
        }
        return Terms(Term(self.default), special)

    def terms_of(self, view: TenantId | None) -> Terms:
        """The terms of whom a view shows, as they are at this moment: a tenant and the platform, or
        everybody for None."""
        if view is None:
            return self.terms()
        special = {tenant: self.term(tenant) for tenant in (view, SYSTEM)}
        return Terms(Term(self.default), special)

    def _term(self, tenant: TenantId, policy: Policy | None, restored: Restored | None) -> Term:
        if policy is None or tenant == SYSTEM:
            return Term(self.default, restored)
        return Term(timedelta(days=policy.retention_days), restored)

    def of(self, tenant_id: TenantId) -> timedelta:
        """A tenant's retention as it was at most 30 s ago."""
        now = self._now()
        if self._read_at is None or now - self._read_at >= MAX_AGE:
            self._cached, self._read_at = self.terms(), now
        return self._cached[tenant_id].retention

    def of_event(self, event: Event) -> timedelta:
        """The same for an event's tenant; as it was when the event came in, for one from so long
        before that the difference could matter."""
        is_backdated = event.timestamp < event.received_at - _BACKDATED
        if is_backdated and self._read_at is not None and self._read_at < event.received_at:
            self._read_at = None
        return self.of(event.tenant_id)

    def expires_at(self, event: Event) -> int:
        """When storage may delete it, in epoch seconds."""
        return expires_at(event, self.of_event(event), self.floor)
