"""What a record of the audit is, which of them a question means, and days. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from aetherlink.kernel.errors import Flaw, UnprocessableError
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

DENY = "deny"
MAX_DAYS = 31
DAY = len("2026-11-23")


class Record(Shape):
    """A record as it is shown. What somebody wrote by hand may lack anything but its key."""

    id: str
    at: str
    tenant_id: str
    subject: str
    key_id: str | None
    roles: list[str]
    action: str
    resource: str
    service: str
    decision: str
    status: int | None
    reason: str | None
    ip: str | None
    trace_id: str | None
    changes: list[dict[str, Any]]


class Records(Shape):
    """A page of records, newest first."""

    status: Literal["ok"] = "ok"
    count: int
    events: list[Record]
    next_cursor: str | None


def record_of(item: dict[str, Any]) -> Record:
    """The record in an item, however it looks: a list is not to fail over one that was tampered with."""
    at, _, record_id = str(item["sk"]).partition("#")
    status = item.get("status")
    return Record(
        id=_text(item, "id") or record_id,
        at=_text(item, "at") or at,
        # By the key: that is what decided who may see it.
        tenant_id=tenant_of(item),
        subject=_text(item, "subject"),
        key_id=_text(item, "key_id") or None,
        roles=[str(role) for role in _list(item.get("roles"))],
        action=_text(item, "action"),
        resource=_text(item, "resource"),
        service=_text(item, "service"),
        decision=_text(item, "decision"),
        status=status if isinstance(status, int) else None,
        reason=_text(item, "reason") or None,
        ip=_text(item, "ip") or None,
        trace_id=_text(item, "trace_id") or None,
        changes=[one for one in _list(_parsed(item.get("changes"))) if isinstance(one, dict)],
    )


def tenant_of(item: dict[str, Any]) -> TenantId:
    return TenantId(str(item["pk"]).partition("#")[0])


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Wanted:
    """The filters of a list. Unknown values match nothing; that is an empty list, not an error."""

    subject: str | None = None
    action: str | None = None
    decision: str | None = None
    resource: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, record: Record) -> bool:
        return (
            self.subject in (None, record.subject)
            and self.action in (None, record.action)
            and self.decision in (None, record.decision)
            and record.resource.startswith(self.resource or "")
        )

    def question(self) -> tuple[str, ...]:
        """The filters as text, to bind cursors to."""
        bounds = (to_text(bound) if bound else "" for bound in (self.since, self.until))
        names = (self.subject, self.action, self.decision, self.resource)
        return ("audit", *(name or "" for name in names), *bounds)


def day_of(instant: datetime) -> str:
    return to_text(instant)[:DAY]


def day_after(day: str, days: int = 1) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def days_of(first: str, last: str) -> Iterator[str]:
    """Every day from `first` to `last`, both included."""
    day = first
    while day <= last:
        yield day
        day = day_after(day)


def parse_days(first: str | None, last: str | None, today: str) -> tuple[str, str]:
    """The days that `?from=&to=` mean: without them the last seven, today included."""
    until = _day(last, "query/to") or today
    since = _day(first, "query/from") or day_after(until, -6)
    if since > until:
        _refuse("query/from", f"must not be after the last day, {until}, got {since}")
    if since < day_after(until, 1 - MAX_DAYS):
        _refuse("query/from", f"may be {MAX_DAYS} days before the last one at most, got {since}")
    return since, until


def _day(text: str | None, pointer: str) -> str | None:
    if not text:
        return None
    try:
        # Only this spelling: `fromisoformat` takes weeks as well.
        day = date.fromisoformat(text).isoformat()
    except ValueError:
        day = ""
    if day != text or not "1970" < day < "9000":
        _refuse(pointer, f"must be a day such as 2026-11-23, got {text[:32]!r}")
    return day


def _refuse(pointer: str, detail: str) -> None:
    raise UnprocessableError((Flaw(pointer, detail),))
