"""HTTP edge of reading: recent events, single ones; and of event types."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request
from pydantic import AfterValidator

from aetherlink.events.model import ROUTE_WORDS, Filters, Page, flat
from aetherlink.events.service import Reading
from aetherlink.events.statistics import Statistics, Stats
from aetherlink.kernel.access import no_such_route
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.kernel.time import parse_instant, to_text, utc_now
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import count_store, event_store, keeping, overview_store
from aetherlink.wiring import types as event_types

app = create_app()
reading = Reading(event_store(), overview_store(), keeping(), utc_now)
statistics = Statistics(count_store(), keeping(), utc_now)
types = event_types()


def _instant(given: str | None) -> str | None:
    return to_text(parse_instant(given)) if given else None


Text = Annotated[str | None, Query()]
Instant = Annotated[str | None, Query(description="RFC 3339"), AfterValidator(_instant)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


@app.get("/events/recent", summary="Events, newest first")
def recent(
    by: By,
    event_type: Text = None,
    source: Text = None,
    severity: Text = None,
    tenant_id: Text = None,
    since: Instant = None,
    until: Instant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Text = None,
) -> Page:
    filters = Filters(
        event_type=event_type or None,
        source=source or None,
        severity=severity.lower() if severity else None,
        since=parse_instant(since) if since else None,
        until=parse_instant(until) if until else None,
    )
    return reading.recent(by.reads(tenant_id), filters, limit=limit, cursor=cursor or None)


@app.get("/events/stats", summary="How many events there are, by severity and by type")
def stats(by: By, tenant_id: Text = None) -> Stats:
    return statistics.of(by.reads(tenant_id))


@app.get("/events/schema", summary="The event types: built in, the tenant's own, the platform's")
def list_schemas(by: By, tenant_id: Text = None, cursor: Text = None) -> dict[str, Any]:
    found, following = types.listed(by.reads(tenant_id), cursor or None)
    shown = [registered.shown() for registered in found]
    return {"status": "ok", "count": len(shown), "schemas": shown, "next_cursor": following}


@app.get("/events/schema/<event_type>", summary="One event type")
def schema(event_type: str, request: Request, by: By, tenant_id: Text = None) -> dict[str, Any]:
    found = types.look_up(by.reads(tenant_id), path_text(request, "event_type"))
    return {"status": "ok", **found.shown()}


# The body is taken as it is: a schema has its own grammar.
@app.put("/events/schema/<event_type>", summary="Define an event type, or its next version")
def define(
    event_type: str,
    request: Request,
    by: By,
    compatibility: Text = None,
    tenant_id: Text = None,
) -> dict[str, Any]:
    name, body = path_text(request, "event_type"), app.current_event.json_body
    made = types.define(by.writes(tenant_id), name, body, compatibility, trail=by.trail)
    return {"status": "ok", **made.shown()}


@app.get("/events/<event_id>", summary="One event")
def event(
    event_id: str, request: Request, by: By, source: Text = None, tenant_id: Text = None
) -> dict[str, Any]:
    wanted = path_text(request, "event_id")
    if wanted in ROUTE_WORDS:
        # The gateway hands GET /events/publish on as an event called "publish".
        no_such_route("GET", f"/events/{wanted}")
    found = reading.one(by.reads(tenant_id), wanted, source)
    return {"status": "ok", "event": flat(found), **flat(found)}


lambda_handler = serve(app, "command-center")
