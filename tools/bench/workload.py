"""The events that are stored. Always the same ones, for a given size."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from aetherlink.events.model import Event, Severity
from aetherlink.kernel.tenancy import SYSTEM, TenantId

NOW = datetime(2026, 11, 23, 12, 30, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TENANT = "acme"
WANTED = "bench.wanted"
TYPES = ("autoheal.failed", "lead.created", "service.health.failed", "bench.other", "bench.more")
ONE_IN = 1000
# About 400 bytes of payload, as an operator's event has.
PAYLOAD = {"service": "checkout", "action": "restart", "error": "connection refused " * 18}


def of_one_tenant(first: int, end: int) -> list[Event]:
    """Half in the last hour, the others over 30 days. One in 1,000 has the type, the source and the
    severity `error` that are asked for, another one the severity `info`; the rest are warnings, so
    that each filter is one that hardly anything fits."""
    events = [_numbered(n) for n in range(first, end)]
    return sorted(events, key=lambda event: event.timestamp)


def _numbered(n: int) -> Event:
    chance = random.Random(n)  # noqa: S311  # nosec B311
    is_wanted, is_info = n % ONE_IN == 500, n % ONE_IN == 250
    # The wanted ones are in the window and out of it by turns, as the others are.
    is_recent = (n + n // ONE_IN) % 2 == 0
    ago = HOUR * chance.random() if is_recent else HOUR + (30 * DAY - 2 * HOUR) * chance.random()
    severity = Severity.ERROR if is_wanted else Severity.INFO if is_info else Severity.WARNING
    return _event(
        n,
        tenant=TENANT,
        event_type=WANTED if is_wanted else chance.choice(TYPES),
        source=WANTED if is_wanted else f"host-{n % 20}",
        severity=severity,
        timestamp=NOW - ago,
        received_at=NOW - ago,
    )


def of_tenants(number: int, tenants: int) -> list[Event]:
    """The same events, handed round."""
    return [
        event.model_copy(update={"tenant_id": TenantId(f"tenant-{n % tenants}")})
        for n, event in enumerate(of_one_tenant(0, number))
    ]


def for_the_count(number: int, tenants: int) -> list[Event]:
    """Over 100 days, half of them in the last hour; some of the platform's own; one in 30 comes up to
    three days late, and may be past its tenant's retention then. In the order of their arrival."""
    chance = random.Random(number)  # noqa: S311  # nosec B311
    names = [*(f"tenant-{n}" for n in range(tenants)), SYSTEM]
    events = []
    for n in range(number):
        ago = HOUR * chance.random() if n % 2 else 100 * DAY * chance.random()
        late = 3 * DAY * chance.random() if n % 30 == 0 else timedelta(milliseconds=40)
        events.append(
            _event(
                n,
                tenant=names[n % len(names)],
                event_type=chance.choice(TYPES),
                source=f"host-{n % 20}",
                severity=chance.choice(list(Severity)),
                timestamp=NOW - ago - late,
                received_at=NOW - ago,
            )
        )
    return sorted(events, key=lambda event: event.received_at)


def _event(
    n: int,
    *,
    tenant: str,
    event_type: str,
    source: str,
    severity: Severity,
    timestamp: datetime,
    received_at: datetime,
) -> Event:
    return Event(
        event_id=f"event-{n:07d}",
        event_type=event_type,
        source=source,
        tenant_id=TenantId(tenant),
        severity=severity,
        timestamp=timestamp,
        received_at=received_at,
        payload=PAYLOAD,
        client_ip="203.0.113.7",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        published_by="dev:operator",
    )
