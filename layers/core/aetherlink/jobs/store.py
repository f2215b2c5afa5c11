"""Jobs in the control table.

    pk  <tenant>#jobs    sk  <job id>    expires_at  30 days after it was started

Every write is conditional on the version it was read at: of two who do the same step, one goes on.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.jobs.model import Job, State
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = timedelta(days=30)


class JobStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, job_id: str) -> Job | None:
        tenant = tenant_of(job_id)
        item = self._table.get(f"{tenant}#jobs", job_id) if tenant else None
        return _to_job(item) if item else None

    def add(self, job: Job) -> None:
        self._table.put(_to_item(job), only_if="attribute_not_exists(pk)")

    def save(self, earlier: Job, changed: Job) -> Job | None:
        """Store a change; None if somebody was faster."""
        stored = replace(changed, version=earlier.version + 1)
        try:
            self._table.put(_to_item(stored), only_if="version = :version", version=earlier.version)
        except ConditionFailedError:
            return None
        return stored


def _to_item(job: Job) -> Item:
    return {
        "pk": f"{job.tenant_id}#jobs",
        "sk": job.id,
        "work": job.kind,
        "subject": job.subject,
        "acting_for": job.acting_for,
        "params": _text(job.params),
        "cursor": _text(job.cursor),
        "done": job.done,
        "total": job.total,
        "state": str(job.state),
        "result": _text(job.result),
        "error": job.error,
        "started_at": to_text(job.started_at),
        "updated_at": to_text(job.updated_at),
        "version": job.version,
        "expires_at": int((job.started_at + KEPT).timestamp()),
    }


def _to_job(item: Item) -> Job:
    acting_for = item.get("acting_for")
    return Job(
        id=item["sk"],
        tenant_id=TenantId(str(item["pk"]).partition("#")[0]),
        kind=item["work"],
        subject=item["subject"],
        acting_for=TenantId(acting_for) if acting_for else None,
        params=json.loads(item["params"]),
        cursor=_parsed(item.get("cursor")),
        done=item["done"],
        total=item["total"],
        state=State(item["state"]),
        result=_parsed(item.get("result")),
        error=item.get("error"),
        started_at=from_text(item["started_at"]),
        updated_at=from_text(item["updated_at"]),
        version=item["version"],
    )


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parsed(text: str | None) -> dict[str, Any] | None:
    parsed: dict[str, Any] | None = json.loads(text) if text else None
    return parsed
