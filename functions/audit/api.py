"""HTTP edge of the audit: what was asked of this API, by whom, and whether it was let."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import AfterValidator

from aetherlink.audit.model import Records, Wanted
from aetherlink.audit.statistics import SERVICES, RequestStats
from aetherlink.audit.verification import Report
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.kernel.time import parse_instant, to_text
from aetherlink.platform.http import By, create_app, serve
from aetherlink.wiring import audit_reading, verifier
from aetherlink.wiring import request_statistics as build_statistics

app = create_app()
statistics = build_statistics()
reading = audit_reading()
chains = verifier()


def _instant(given: str | None) -> str | None:
    return to_text(parse_instant(given)) if given else None


Text = Annotated[str | None, Query()]
Instant = Annotated[str | None, Query(description="RFC 3339"), AfterValidator(_instant)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
FirstDay = Annotated[
    str | None, Query(alias="from", description="A day such as 2026-11-23; a week ago if absent")
]
LastDay = Annotated[str | None, Query(alias="to", description="A day; today if absent")]
Service = Annotated[str | None, Query(description=f"One of {', '.join(SERVICES)}")]


@app.get("/audit/stats", summary="How many requests there were, by path and status")
def stats(by: By, service: Service = None, tenant_id: Text = None) -> RequestStats:
    return statistics.of(by, service or None, tenant_id)


@app.get("/audit/events", summary="Who changed what, and who was denied; newest first")
def records(
    by: By,
    subject: Text = None,
    action: Text = None,
    decision: Text = None,
    resource: Text = None,
    tenant_id: Text = None,
    since: Instant = None,
    until: Instant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Text = None,
) -> Records:
    wanted = Wanted(
        subject=subject or None,
        action=action or None,
        decision=decision or None,
        resource=resource or None,
        since=parse_instant(since) if since else None,
        until=parse_instant(until) if until else None,
    )
    return reading.records(by.reads(tenant_id), wanted, limit=limit, cursor=cursor or None)


@app.get("/audit/verify", summary="Whether the audit is as it was sealed; the first that is not")
def verify(
    by: By,
    first: FirstDay = None,
    last: LastDay = None,
    tenant_id: Text = None,
    cursor: Text = None,
) -> Report:
    return chains.verify(by.reads(tenant_id), first, last, cursor or None)


lambda_handler = serve(app, "command-center")
