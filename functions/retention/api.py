"""HTTP edge of retention and the archive: how long events are kept, and what becomes of them then."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request
from pydantic import AfterValidator

from aetherlink.archive.model import Listed, Range, Restore
from aetherlink.jobs.model import JobShown, shown
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.kernel.time import parse_instant, to_text
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.retention.model import Report as PruneReport
from aetherlink.wiring import archive as build
from aetherlink.wiring import retention as build_retention

app = create_app()
archive = build()
retention = build_retention()


def _instant(given: str | None) -> str | None:
    return to_text(parse_instant(given)) if given else None


Text = Annotated[str | None, Query()]
Instant = Annotated[str | None, Query(description="RFC 3339"), AfterValidator(_instant)]
Days = Annotated[int, Query(description="1 to 3650")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


@app.get("/events/archive", summary="The archived hours, newest first")
def list_archive(
    by: By,
    tenant_id: Text = None,
    since: Instant = None,
    until: Instant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Text = None,
) -> Listed:
    return archive.listed(
        by.reads(tenant_id),
        since=parse_instant(since) if since else None,
        until=parse_instant(until) if until else None,
        limit=limit,
        cursor=cursor or None,
    )


@app.post(
    "/events/archive/verify", summary="Compare the archive with its manifests", status_code=202
)
def verify(wanted: Range, by: By) -> JobShown:
    return shown(archive.verify(by, wanted))


@app.post("/events/archive/restore", summary="Bring archived events back", status_code=202)
def restore(wanted: Restore, by: By) -> JobShown:
    return shown(archive.restore(by, wanted))


@app.get("/events/retention", summary="How long events are kept, and whether they are archived")
def settings(by: By) -> dict[str, Any]:
    return retention.settings()


@app.get("/events/retention/tenants", summary="Tenants' own retention")
def policies(by: By) -> dict[str, Any]:
    return retention.policies(by.reads())


@app.put("/events/retention/tenants/<tenant>", summary="Give a tenant a retention of its own")
def set_policy(tenant: str, request: Request, by: By, retention_days: Days) -> dict[str, Any]:
    return retention.set(by, path_text(request, "tenant"), retention_days)


@app.delete("/events/retention/tenants/<tenant>", summary="Back to the global retention")
def revert(tenant: str, request: Request, by: By) -> dict[str, Any]:
    return retention.revert(by, path_text(request, "tenant"))


@app.post("/events/prune", summary="Remove what is past its retention now")
def prune(by: By, tenant_id: Text = None) -> PruneReport:
    return retention.prune(by, tenant_id)


lambda_handler = serve(app, "command-center")
