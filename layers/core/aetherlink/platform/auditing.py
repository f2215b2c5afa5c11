"""Appends what was changed or denied to the audit table.

    audit    pk  <tenant>#<day>    sk  <at>#<id>    day, day_key  <at>#<tenant>#<id>

Loaded by every handler, hence nothing heavy at the top: most requests append nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import to_text, utc_now
from aetherlink.kernel.trail import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aetherlink.kernel.tenancy import Caller

HTTP_FORBIDDEN = 403
MAX_RECORD_BYTES = 32 * 1024
# What the other attributes leave of it, were each as long as it may be and all in emoji.
_CHANGES_BYTES = 20_000
_MAX_SUBJECT = 256
_MAX_RESOURCE = 512
_MAX_REASON = 500
_MAX_WORD = 128
_MAX_TENANTS = 40

Record = dict[str, Any]


def append(
    event: dict[str, Any], caller: Caller, *, service: str, status: int, reason: str
) -> None:
    """Append the record of one request. `reason` says why it was denied, "" if it was not.

    A failure to append is logged with the whole record and counted; the answer stands all the same,
    since what was changed is changed.
    """
    _store(
        lambda now: _of_request(event, caller, now, service=service, status=status, reason=reason)
    )


def append_own(
    subject: str,
    action: str,
    resource: str,
    tenant_id: str,
    after: Mapping[str, Any] | None,
    *,
    before: Mapping[str, Any] | None = None,
    service: str = "platform",
) -> None:
    """The same for what the platform does without a request, as `job:tenant.offboard` or
    `bootstrap`. `action` is a verb in the domain's words."""
    _store(
        lambda now: _record(
            now,
            tenant=tenant_id,
            subject=subject,
            action=action,
            resource=resource,
            service=service,
            decision="allow",
            changes=[Change(resource, before, after)],
        )
    )


def _of_request(
    event: dict[str, Any],
    caller: Caller,
    now: datetime,
    *,
    service: str,
    status: int,
    reason: str,
) -> Record:
    is_denied = status == HTTP_FORBIDDEN
    own = SYSTEM if caller.trail.is_leaving else caller.tenant_id or SYSTEM
    # A denied attempt at a foreign tenant is none of that tenant's business.
    tenant = own if is_denied else caller.trail.tenant_id or own
    changes = list(caller.trail.changes)
    if not changes and not is_denied and event.get("body"):
        changes = [Change(event["path"], None, _body(event["body"]))]
    return _record(
        now,
        tenant=tenant,
        subject=caller.subject,
        key_id=caller.key_id,
        roles=sorted(caller.roles),
        tenants=["*"] if caller.cross_tenant else sorted({own, *caller.tenants}),
        action=f"{event['httpMethod']} {event['resource']}",
        resource=event["path"],
        service=service,
        decision="deny" if is_denied else "allow",
        status=status,
        reason=reason if is_denied else "",
        ip=caller.ip,
        trace_id=caller.trace_id,
        changes=changes,
    )


def _record(
    now: datetime,
    *,
    tenant: str,
    subject: str,
    action: str,
    resource: str,
    service: str,
    decision: str,
    changes: Iterable[Change],
    key_id: str = "",
    roles: Iterable[str] = (),
    tenants: Iterable[str] = (),
    status: int | None = None,
    reason: str = "",
    ip: str = "",
    trace_id: str = "",
) -> Record:
    """The item, masked and within its size."""
    from aetherlink.platform.config import config  # noqa: PLC0415 - as light a module as can be
    from aetherlink.platform.masking import mask_text  # noqa: PLC0415

    at, record_id = to_text(now), uuid7(now)
    day = at[: len("2026-11-23")]
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return {
        "pk": f"{tenant}#{day}",
        "sk": f"{at}#{record_id}",
        "day": day,
        "day_key": f"{at}#{tenant}#{record_id}",
        "id": record_id,
        "at": at,
        "tenant": tenant,
        "subject": mask_text(subject, _MAX_SUBJECT),
        "key_id": key_id[:_MAX_WORD] or None,
        "roles": [str(role) for role in roles],
        # Whom the caller may act for; shown to nobody, since it names other tenants.
        "tenants": list(tenants)[:_MAX_TENANTS],
        "action": action[:_MAX_WORD],
        "resource": mask_text(resource, _MAX_RESOURCE),
        "service": service[:_MAX_WORD],
        "decision": decision,
        "status": status,
        "reason": mask_text(reason, _MAX_REASON) or None,
        "ip": ip[:_MAX_WORD] or None,
        "trace_id": trace_id[:_MAX_WORD] or None,
        "changes": _changes_text(changes),
        # All of a day goes together, so that a day is whole or gone.
        "expires_at": int((midnight + timedelta(days=config().audit_retention_days)).timestamp()),
    }


def _changes_text(changes: Iterable[Change]) -> str:
    """The changes as JSON, secrets masked, in at most `_CHANGES_BYTES`; what does not fit is named
    with its size."""
    from aetherlink.platform.masking import mask, mask_text  # noqa: PLC0415

    given, shown, used = list(changes), [], 2
    for number, change in enumerate(given):
        values = {"before": change.before, "after": change.after}
        one: Record = {"resource": mask_text(change.resource, _MAX_RESOURCE)}
        for name, value in values.items():
            one[name] = None if value is None else mask(dict(value))
        size = _size(one)
        if used + size > _CHANGES_BYTES:
            cut = {name: _cut(one[name]) for name in values}
            one, size = {**one, **cut}, _size({**one, **cut})
        # Room for the last line, which says how many there are besides.
        if used + size > _CHANGES_BYTES - _MAX_WORD:
            shown.append(
                {"resource": f"…[cut: {len(given) - number:,} more]", "before": None, "after": None}
            )
            break
        shown.append(one)
        used += size + 1
    return _text(shown)


def _cut(value: Any) -> Any:
    return None if value is None else {"…": f"[cut: {_size(value):,} bytes]"}


def _size(value: Any) -> int:
    return len(_text(value).encode())


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair is no text, and DynamoDB takes none.
    return text.encode("utf-8", "replace").decode()


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {"body": f"[{len(text):,} characters that are no JSON]"}
    return body if isinstance(body, dict) else {"body": body}


def _store(make: Callable[[datetime], Record]) -> None:
    now = utc_now()
    record: Record = {}
    try:
        record = make(now)
        _put(record)
    except Exception:  # noqa: BLE001 - whatever it is, what was changed is changed, and must be on record
        from aetherlink.platform.config import config  # noqa: PLC0415
        from aetherlink.platform.metrics import measure  # noqa: PLC0415
        from aetherlink.platform.telemetry import logger  # noqa: PLC0415

        logger.exception("audit record not stored", record=record)
        measure("AuditNotStored", 1, stage=config().stage, now=now, unit="Count")


def _put(record: Record) -> None:
    from aetherlink.platform.config import config  # noqa: PLC0415
    from aetherlink.platform.dynamo import ConditionFailedError, Table  # noqa: PLC0415 - boto3

    try:
        Table(config().audit_table).put(record, only_if="attribute_not_exists(pk)")
    except ConditionFailedError:
        # Only a retry of this very put can find its own id there: the first try was stored.
        return
