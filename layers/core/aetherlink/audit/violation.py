"""When being refused becomes a matter of security. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aetherlink.audit.model import DENY
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.ids import digest
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from aetherlink.audit.model import Record

SOURCE = "aether-command-center"
DENIALS = 5
WINDOW = timedelta(seconds=60)
_MINUTE = len("2026-11-23T08:30")


@dataclass(frozen=True)
class Violation:
    """`minute` is that of the denial which was one too many; there is one for a subject and minute."""

    tenant_id: TenantId
    minute: str
    last: Record

    def event(self, now: datetime) -> Event:
        return announce(
            "security.rbac.violation",
            source=SOURCE,
            tenant_id=self.tenant_id,
            payload={
                "subject": self.last.subject,
                "key_id": self.last.key_id,
                "count": DENIALS,
                "window_seconds": int(WINDOW.total_seconds()),
                "last_action": self.last.action,
                "ip": self.last.ip,
            },
            now=now,
            # The same one however often it is found: the events table keeps the first.
            event_id=f"rbac-{digest(self.tenant_id, self.last.subject)}-{self.minute}",
            severity=Severity.WARNING,
            trace_id=self.last.trace_id,
        )


def violations(records: Iterable[Record]) -> list[Violation]:
    """Who was denied five times within a minute; the first time of each subject and minute."""
    denied: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.at, record.id)):
        if record.decision == DENY and _instant(record):
            denied[record.tenant_id, record.subject].append(record)
    found: dict[tuple[str, str, str], Violation] = {}
    for (tenant, subject), theirs in denied.items():
        for first, last in zip(theirs, theirs[DENIALS - 1 :], strict=False):
            minute = last.at[:_MINUTE]
            if _within(first, last) and (tenant, subject, minute) not in found:
                found[tenant, subject, minute] = Violation(TenantId(tenant), minute, last)
    return list(found.values())


def _within(record: Record, last: Record) -> bool:
    then, now = _instant(record), _instant(last)
    return then is not None and now is not None and now - then < WINDOW


def _instant(record: Record) -> datetime | None:
    """None for a time that is none of ours."""
    try:
        instant = from_text(record.at)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
