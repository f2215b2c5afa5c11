"""What healing says: events for the timeline and for rules, signals where people are needed. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.events.model import Severity, announce
from aetherlink.ingest.incident import Sender, Signal
from aetherlink.kernel.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aetherlink.events.model import Event
    from aetherlink.heal.model import Target, Watched
    from aetherlink.heal.record import Heal
    from aetherlink.kernel.tenancy import TenantId

SOURCE = "aether-auto-heal"
BLAST_KEY = "blast"


def went_down(target: Target, watched: Watched, maintenance: str | None, now: datetime) -> Event:
    """During maintenance it is no error."""
    last = watched.health.last
    payload: dict[str, Any] = {
        "service": target.name,
        "url": target.url,
        "error": last.error if last else None,
        "http_status": last.status if last else None,
        "failures": watched.health.failures,
        **({"maintenance": maintenance} if maintenance else {}),
    }
    severity = Severity.INFO if maintenance else Severity.ERROR
    return _event("service.health.failed", target, payload, severity, now)


def came_back(target: Target, earlier: Watched, now: datetime) -> Event:
    since = earlier.health.since
    down = round((now - since).total_seconds(), 1) if since else None
    payload = {"service": target.name, "url": target.url, "down_seconds": down}
    return _event("service.health.recovered", target, payload, Severity.INFO, now)


def attempted(target: Target, watched: Watched, now: datetime) -> Event:
    pending = watched.pending
    payload = {
        "service": target.name,
        "reason": pending.reason if pending else "",
        "action": pending.action if pending else "",
        "attempt_id": pending.id if pending else "",
        "attempt": len(watched.attempts),
    }
    return _event("autoheal.attempted", target, payload, Severity.WARNING, now)


def healed(target: Target, heal: Heal) -> Event:
    payload = {
        "service": target.name,
        "action": heal.action,
        "attempt_id": heal.id,
        "took_seconds": round((heal.at - heal.began_at).total_seconds(), 1),
        "msg": heal.msg,
    }
    return _event("autoheal.succeeded", target, payload, Severity.INFO, heal.at)


def not_healed(target: Target, heal: Heal) -> Event:
    payload = {
        "service": target.name,
        "action": heal.action,
        "attempt_id": heal.id,
        "error": heal.msg,
    }
    return _event("autoheal.failed", target, payload, Severity.ERROR, heal.at)


def in_order(events: Sequence[Event]) -> list[Event]:
    """Of one moment, a microsecond apart: else their order in the timeline would be chance."""
    return [
        event.model_copy(
            update={
                "timestamp": event.timestamp + timedelta(microseconds=number),
                "received_at": event.received_at + timedelta(microseconds=number),
            }
        )
        for number, event in enumerate(events)
    ]


def gave_up(target: Target, because: str, now: datetime) -> Signal:
    """People are needed: what was tried did not help."""
    return _signal(
        f"service/{target.name}",
        f"Healing gave up on {target.name}",
        now,
        service=target.name,
        severity=Severity.CRITICAL,
        summary=f"{target.name} is down, and healing it did not help. {because}",
    )


def wants_approval(target: Target, approval_id: str, action: str, now: datetime) -> Signal:
    return _signal(
        f"service/{target.name}",
        f"{target.name} is down and waits for approval",
        now,
        service=target.name,
        severity=Severity.CRITICAL,
        summary=f"{target.name} is down. Its action ({action}) needs somebody to agree.",
        approval_id=approval_id,
        approve=f"POST /autoheal/approvals/{approval_id} with a body of " + '{"approve": true}',
    )


def over(name: str, because: str, now: datetime) -> Signal:
    return Signal(Sender.HEAL, f"service/{name}", "resolved", now, reason=because)


def blast(because: str, names: list[str], now: datetime) -> Signal:
    shown = ", ".join(sorted(names)[:20])
    return _signal(
        BLAST_KEY,
        "Too many services are down at once; nothing is healed",
        now,
        severity=Severity.CRITICAL,
        summary=f"{because}. Down: {shown}",
    )


def blast_over(now: datetime) -> Signal:
    return Signal(Sender.HEAL, BLAST_KEY, "resolved", now, reason="most services are well again")


def _signal(
    key: str,
    name: str,
    now: datetime,
    *,
    severity: Severity,
    service: str = "",
    **annotations: str,
) -> Signal:
    return Signal(
        Sender.HEAL,
        key,
        "firing",
        now,
        name=name,
        severity=severity,
        source=service or SOURCE,
        group={"service": service} if service else {},
        annotations={name: value[:1_024] for name, value in annotations.items()},
        reason=annotations.get("summary", ""),
    )


def _event(
    event_type: str, target: Target, payload: dict[str, Any], severity: Severity, now: datetime
) -> Event:
    tenant: TenantId = target.tenant_id
    return announce(
        event_type,
        source=SOURCE,
        tenant_id=tenant,
        payload={name: value for name, value in payload.items() if value is not None},
        now=now,
        event_id=uuid7(now),
        severity=severity,
    )
