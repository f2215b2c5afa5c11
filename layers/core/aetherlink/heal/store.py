"""What is known of watched services, in the control table.

    pk  <tenant>#health       sk  <name>             kind  health    kind_key  <tenant>#<name>
    pk  <tenant>#healing      sk  ledger             who is being healed at this moment
                              sk  report             what the latest run found
    pk  <tenant>#heals        sk  <time>#<id>        kind  heal      kind_key  <time>#<id>
    pk  <tenant>#approvals    sk  <id>               what somebody has to agree to
    pk  <tenant>#maintenance  sk  <id>               kind  maintenance    kind_key  <tenant>#<id>

What a service's health becomes, the event that says so and the claim of an attempt are one transaction:
each is conditional on what was read, so of two healers one acts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aetherlink.heal.health import Health, Probe, State
from aetherlink.heal.model import Pause, Pending, Tally, Watched
from aetherlink.heal.policy import Attempt, Outcome
from aetherlink.heal.record import Approval, Heal, Ledger, Maintenance, Report
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, ContendedError, Item, Table, transact
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore

HEALTH, HEALS, WINDOWS = "health", "heal", "maintenance"
# How long a heal, and what a removed service left behind, can be looked at.
KEPT = timedelta(days=90)
_APPROVAL_KEPT = timedelta(days=7)
TOP = "~"
# As many as one BatchGetItem takes.
_BATCH = 100


class HealStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    # ---- what is watched

    def get(self, tenant: TenantId, name: str) -> Watched | None:
        item = self._table.get(f"{tenant}#health", name)
        return _to_watched(item) if item else None

    def of(self, tenant: TenantId) -> list[Watched]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant}#health")
        return [_to_watched(item) for item in found]

    def between(self, first: str, last: str) -> list[Watched]:
        """Those of a range of `<tenant>#<name>`, both ends included; a moment behind on AWS (an index)."""
        found = self._table.query_all(
            "kind = :kind AND kind_key BETWEEN :first AND :last",
            index="by_kind",
            kind=HEALTH,
            first=first,
            last=last,
        )
        return [watched for item in found if (watched := _readable(item))]

    def requests(
        self,
        earlier: Watched | None,
        changed: Watched,
        *,
        ledger: tuple[Ledger, Ledger] | None = None,
        heal: Heal | None = None,
        approval: Approval | None = None,
        events: Sequence[Event] = (),
    ) -> list[Item]:
        """A change with all that follows from it, as the parts of a transaction."""
        version = earlier.version if earlier else 0
        writes = [
            self._table.put_request(
                _from_watched(replace(changed, version=version + 1)),
                # What a removed service left behind is no obstacle.
                only_if="version = :version" if version else "attribute_not_exists(kind)",
                **({"version": version} if version else {}),
            )
        ]
        if ledger:
            writes.append(self._ledger_request(*ledger))
        if heal:
            writes.append(self._table.put_request(_from_heal(heal)))
        if approval:
            writes.append(self._table.put_request(_from_approval(approval)))
        return writes + [self._events.put_request(event) for event in events]

    def commit(self, writes: list[Item]) -> bool:
        """False if somebody was faster; then nothing is written."""
        try:
            transact(writes)
        except (ConditionFailedError, ContendedError):
            return False
        return True

    def retire(self, watched: Watched, now: datetime) -> bool:
        """It is not watched any more; its numbers stay for as long as its heals."""
        item = _from_watched(replace(watched, pending=None, version=watched.version + 1))
        del item["kind"], item["kind_key"]
        item["expires_at"] = int((now + KEPT).timestamp())
        writes = [
            self._table.put_request(item, only_if="version = :version", version=watched.version)
        ]
        if watched.pending:
            ledger = self.ledger(watched.tenant_id)
            writes.append(self._ledger_request(ledger, ledger.without(watched.name)))
        return self.commit(writes)

    # ---- who is being healed

    def ledger(self, tenant: TenantId) -> Ledger:
        return _to_ledger(tenant, self._table.get(f"{tenant}#healing", "ledger") or {})

    def ledgers(self, tenants: Iterable[TenantId]) -> dict[TenantId, Ledger]:
        """Those of many tenants. They may be a moment old: a claim on an old one does not come about."""
        found: dict[TenantId, Ledger] = {}
        waiting = list(tenants)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            items = self._table.get_many((f"{tenant}#healing", "ledger") for tenant in batch)
            by_key = {str(item["pk"]): item for item in items}
            found |= {t: _to_ledger(t, by_key.get(f"{t}#healing", {})) for t in batch}
        return found

    def _ledger_request(self, earlier: Ledger, changed: Ledger) -> Item:
        version = earlier.version
        item = {
            "pk": f"{changed.tenant_id}#healing",
            "sk": "ledger",
            "healing": sorted(changed.healing),
            "version": version + 1,
        }
        return self._table.put_request(
            item,
            only_if="version = :version" if version else "attribute_not_exists(pk)",
            **({"version": version} if version else {}),
        )

    # ---- reports

    def report(self, tenant: TenantId) -> Report | None:
        item = self._table.get(f"{tenant}#healing", "report")
        if item is None:
            return None
        return Report(
            tenant_id=tenant,
            last_run=from_text(item["last_run"]),
            took_ms=int(item["took_ms"]),
            services=int(item["services"]),
            down=int(item["down"]),
        )

    def put_reports(self, reports: Iterable[Report]) -> None:
        self._table.put_many(
            {
                "pk": f"{report.tenant_id}#healing",
                "sk": "report",
                "last_run": to_text(report.last_run),
                "took_ms": report.took_ms,
                "services": report.services,
                "down": report.down,
            }
            for report in reports
        )

    # ---- history

    def history(
        self, view: TenantId | None, *, before: str, limit: int
    ) -> tuple[list[tuple[str, Heal]], bool]:
        """Heals with their places, the newest first, below a place ("": the top), and whether there is
        more."""
        top = _just_below(before) if before else TOP
        if view is None:
            found, more = self._table.query_down(
                "kind = :kind AND kind_key BETWEEN :floor AND :top",
                index="by_kind",
                limit=limit,
                kind=HEALS,
                floor="0",
                top=top,
            )
        else:
            found, more = self._table.query_down(
                "pk = :pk AND sk BETWEEN :floor AND :top",
                limit=limit,
                pk=f"{view}#heals",
                floor="0",
                top=top,
            )
        return [(str(item["sk"]), _to_heal(item)) for item in found], more

    # ---- approvals

    def approval(self, approval_id: str) -> Approval | None:
        tenant = tenant_of(approval_id)
        item = self._table.get(f"{tenant}#approvals", approval_id) if tenant else None
        return _to_approval(item) if item else None

    def approvals(self, tenant: TenantId) -> list[Approval]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant}#approvals")
        return [_to_approval(item) for item in found]

    def decide(self, approval: Approval, earlier: Watched, changed: Watched) -> bool:
        """Note what was decided, and what follows of it for the service; False if it was decided already,
        or the service changed meanwhile."""
        decided = self._table.put_request(
            _from_approval(approval), only_if="decision = :open", open="open"
        )
        return self.commit([decided, *self.requests(earlier, changed)])

    # ---- maintenance

    def add_window(self, window: Maintenance) -> None:
        self._table.put(_from_window(window), only_if="attribute_not_exists(pk)")

    def put_window(self, window: Maintenance) -> bool:
        try:
            self._table.put(_from_window(window), only_if="attribute_exists(pk)")
        except ConditionFailedError:
            return False
        return True

    def window(self, window_id: str) -> Maintenance | None:
        tenant = tenant_of(window_id)
        item = self._table.get(f"{tenant}#maintenance", window_id) if tenant else None
        return _to_window(item) if item else None

    def windows(self, tenant: TenantId) -> list[Maintenance]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant}#maintenance")
        return [_to_window(item) for item in found]

    def windows_between(self, first: str, last: str) -> Iterator[Maintenance]:
        found = self._table.query_all(
            "kind = :kind AND kind_key BETWEEN :first AND :last",
            index="by_kind",
            kind=WINDOWS,
            first=first,
            last=last,
        )
        return (_to_window(item) for item in found)

    def delete_window(self, window: Maintenance) -> None:
        self._table.delete(f"{window.tenant_id}#maintenance", window.id)


def _from_watched(watched: Watched) -> Item:
    health, tally = watched.health, watched.tally
    return {
        "pk": f"{watched.tenant_id}#health",
        "sk": watched.name,
        "kind": HEALTH,
        "kind_key": f"{watched.tenant_id}#{watched.name}",
        "health_state": str(health.state),
        "failures": health.failures,
        "successes": health.successes,
        "since": _text(health.since),
        "last": _from_probe(health.last),
        "attempts": [[to_text(each.at), str(each.outcome)] for each in watched.attempts],
        "pending": _from_pending(watched.pending),
        "pause": watched.pause
        and {
            "reason": watched.pause.reason,
            "by": watched.pause.by,
            **({"until": to_text(watched.pause.until)} if watched.pause.until else {}),
        },
        "changes": [to_text(at) for at in watched.changes],
        "alert": watched.alert,
        "is_blast": watched.is_blast or None,
        "approval_id": watched.approval_id,
        "approved_until": _text(watched.approved_until),
        "tally": {
            **{name: getattr(tally, name) for name in _NUMBERS},
            "down_ms": round(tally.down.total_seconds() * 1000),
            "actions": tally.actions,
        },
        "version": watched.version,
    }


_NUMBERS = ("attempts", "succeeded", "outages", "recovered", "by_itself")


def _from_probe(probe: Probe | None) -> Item | None:
    if probe is None:
        return None
    given = {"at": to_text(probe.at), "is_well": probe.is_well, "ms": probe.ms}
    also = {"status": probe.status, "error": probe.error}
    return given | {name: value for name, value in also.items() if value is not None}


def _from_pending(pending: Pending | None) -> Item | None:
    if pending is None:
        return None
    return {
        "id": pending.id,
        "at": to_text(pending.at),
        "action": pending.action,
        "until": to_text(pending.until),
        "said": pending.said,
        "reason": pending.reason,
    }


def _to_watched(item: Item) -> Watched:
    pending, pause, last = item.get("pending"), item.get("pause"), item.get("last")
    tally = item["tally"]
    return Watched(
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        name=item["sk"],
        health=Health(
            state=State(item["health_state"]),
            failures=item["failures"],
            successes=item["successes"],
            since=_instant(item.get("since")),
            last=Probe(
                from_text(last["at"]),
                last["is_well"],
                last["ms"],
                last.get("status"),
                last.get("error"),
            )
            if last
            else None,
        ),
        attempts=tuple(
            Attempt(from_text(at), Outcome(outcome)) for at, outcome in item["attempts"]
        ),
        pending=Pending(
            pending["id"],
            from_text(pending["at"]),
            pending["action"],
            from_text(pending["until"]),
            pending["said"],
            pending["reason"],
        )
        if pending
        else None,
        pause=Pause(pause["reason"], pause["by"], _instant(pause.get("until"))) if pause else None,
        changes=tuple(from_text(at) for at in item["changes"]),
        alert=item.get("alert"),
        is_blast=bool(item.get("is_blast")),
        approval_id=item.get("approval_id"),
        approved_until=_instant(item.get("approved_until")),
        tally=Tally(
            **{name: tally[name] for name in _NUMBERS},
            down=timedelta(milliseconds=tally["down_ms"]),
            actions=tally["actions"],
        ),
        version=item["version"],
    )


def _readable(item: Item) -> Watched | None:
    """None for one that is damaged: the others are to be healed all the same."""
    try:
        return _to_watched(item)
    except (KeyError, ValueError, TypeError):
        logger.exception("what is known of a service cannot be read", service_name=item.get("sk"))
        return None


def _from_heal(heal: Heal) -> Item:
    place = f"{to_text(heal.at)}#{heal.id}"
    return {
        "pk": f"{heal.tenant_id}#heals",
        "sk": place,
        "kind": HEALS,
        "kind_key": place,
        "heal_id": heal.id,
        "service": heal.service,
        "action": heal.action,
        "success": heal.success,
        "msg": heal.msg,
        "reason": heal.reason,
        "began_at": to_text(heal.began_at),
        "at": to_text(heal.at),
        "expires_at": int((heal.at + KEPT).timestamp()),
    }


def _to_heal(item: Item) -> Heal:
    return Heal(
        id=item["heal_id"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        service=item["service"],
        action=item["action"],
        success=item["success"],
        msg=item["msg"],
        reason=item["reason"],
        began_at=from_text(item["began_at"]),
        at=from_text(item["at"]),
    )


def _from_approval(approval: Approval) -> Item:
    return {
        "pk": f"{approval.tenant_id}#approvals",
        "sk": approval.id,
        "service": approval.service,
        "action": approval.action,
        "reason": approval.reason,
        "requested_at": to_text(approval.requested_at),
        "decision": approval.decision,
        "decided_by": approval.decided_by,
        "decided_at": _text(approval.decided_at),
        "expires_at": int((approval.requested_at + _APPROVAL_KEPT).timestamp()),
    }


def _to_approval(item: Item) -> Approval:
    return Approval(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        service=item["service"],
        action=item["action"],
        reason=item["reason"],
        requested_at=from_text(item["requested_at"]),
        decision=item["decision"],
        decided_by=item.get("decided_by"),
        decided_at=_instant(item.get("decided_at")),
    )


def _from_window(window: Maintenance) -> Item:
    return {
        "pk": f"{window.tenant_id}#maintenance",
        "sk": window.id,
        "kind": WINDOWS,
        "kind_key": f"{window.tenant_id}#{window.id}",
        "services": list(window.services),
        "tags": list(window.tags),
        "reason": window.reason,
        "by": window.by,
        "starts_at": to_text(window.starts_at),
        "ends_at": to_text(window.ends_at),
        # It shows for a while as one that is over.
        "expires_at": int((window.ends_at + timedelta(days=1)).timestamp()),
    }


def _to_window(item: Item) -> Maintenance:
    return Maintenance(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        services=tuple(item.get("services") or ()),
        tags=tuple(item.get("tags") or ()),
        reason=item["reason"],
        by=item["by"],
        starts_at=from_text(item["starts_at"]),
        ends_at=from_text(item["ends_at"]),
    )


def _to_ledger(tenant: TenantId, item: Item) -> Ledger:
    names = frozenset(item.get("healing") or ())
    return Ledger(tenant, names, version=int(item.get("version", 0)))


def _just_below(place: str) -> str:
    return place[:-1] + chr(ord(place[-1]) - 1) + TOP


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
