"""Monitors in the control table.

    pk  <tenant>#monitors    sk  <id>    kind  monitor-due    kind_key  <due>#<id>

One whose silence means nothing at present has no `kind`: the sweep reads those whose due has come,
over all tenants, and nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.events.model import Severity
from aetherlink.ingest.monitor import Monitor, State
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table

if TYPE_CHECKING:
    from datetime import datetime

_MONITORS = "monitor-due"


class MonitorStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, monitor: Monitor) -> None:
        self._table.put(_to_item(monitor, 1), only_if="attribute_not_exists(pk)")

    def get(self, monitor_id: str) -> Monitor | None:
        tenant = tenant_of(monitor_id)
        item = self._table.get(f"{tenant}#monitors", monitor_id) if tenant else None
        return _to_monitor(item) if item else None

    def of(self, tenant: TenantId) -> list[Monitor]:
        return [_to_monitor(i) for i in self._table.query_all("pk = :pk", pk=f"{tenant}#monitors")]

    def due(self, now: datetime) -> list[Monitor]:
        """Those whose silence means something by now, over all tenants; the longest overdue first."""
        found = self._table.query_all(
            "kind = :kind AND kind_key <= :now",
            index="by_kind",
            kind=_MONITORS,
            now=to_text(now) + "~",
        )
        return [_to_monitor(item) for item in found]

    def save(self, earlier: Monitor, changed: Monitor) -> bool:
        """False if somebody was faster, or it is gone."""
        item = _to_item(changed, earlier.version + 1)
        try:
            self._table.put(item, only_if="version = :version", version=earlier.version)
        except ConditionFailedError:
            return False
        return True

    def save_request(self, earlier: Monitor, changed: Monitor) -> Item:
        """The same as a part of a transaction."""
        return self._table.put_request(
            _to_item(changed, earlier.version + 1),
            only_if="version = :version",
            version=earlier.version,
        )

    def delete(self, monitor: Monitor) -> None:
        self._table.delete(f"{monitor.tenant_id}#monitors", monitor.id)


def _to_item(monitor: Monitor, version: int) -> Item:
    item: dict[str, Any] = {
        "pk": f"{monitor.tenant_id}#monitors",
        "sk": monitor.id,
        "name": monitor.name,
        "period_seconds": int(monitor.period.total_seconds()),
        "grace_seconds": int(monitor.grace.total_seconds()),
        "severity": str(monitor.severity),
        "labels": monitor.labels,
        "enabled": monitor.enabled,
        "state": str(monitor.state),
        "since": to_text(monitor.since),
        "created_at": to_text(monitor.created_at),
        "pings": monitor.pings,
        "last_ping_at": _text(monitor.last_ping_at),
        "run_started_at": _text(monitor.started_at),
        "last_ms": monitor.last_ms,
        "reason": monitor.reason or None,
        "version": version,
    }
    due = monitor.due
    if due:
        item |= {"kind": _MONITORS, "kind_key": f"{to_text(due)}#{monitor.id}"}
    return item


def _to_monitor(item: Item) -> Monitor:
    return Monitor(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        name=item["name"],
        period=timedelta(seconds=item["period_seconds"]),
        grace=timedelta(seconds=item["grace_seconds"]),
        severity=Severity(item["severity"]),
        labels=item["labels"],
        enabled=item["enabled"],
        state=State(item["state"]),
        since=from_text(item["since"]),
        created_at=from_text(item["created_at"]),
        pings=item["pings"],
        last_ping_at=_instant(item.get("last_ping_at")),
        started_at=_instant(item.get("run_started_at")),
        last_ms=item.get("last_ms"),
        reason=item.get("reason") or "",
        version=item["version"],
    )


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
