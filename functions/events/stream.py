"""HTTP edge of the live stream: server-sent events over a long poll, and tickets for EventSource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.events import sse
from aetherlink.events.model import Filters
from aetherlink.events.place import parse_position
from aetherlink.events.stream import DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS
from aetherlink.events.tickets import Issued, Session
from aetherlink.kernel.tenancy import Caller
from aetherlink.platform.bearers import by_ticket
from aetherlink.platform.http import By, create_app, serve
from aetherlink.wiring import stream, stream_slots
from aetherlink.wiring import tickets as make_tickets

app = create_app()
events = stream()
slots = stream_slots()
tickets = make_tickets()

Text = Annotated[str | None, Query()]
Ticket = Annotated[
    str | None,
    Query(description="From POST /events/stream/ticket, in place of credentials; good once"),
]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="Wins over `cursor`")]
Wait = Annotated[
    int, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds until an answer without events")
]
_OPENAPI = {
    200: {
        "description": "Server-sent events. Each is named by its `event_type`, so EventSource hears "
        "it with addEventListener(event_type, …); `event: gap` says that some are gone. The header "
        "X-Next-Cursor has the position after all of them",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@app.get("/events/stream", summary="Events as they arrive", responses=_OPENAPI)  # type: ignore[arg-type]  # a literal of its TypedDict
def follow(
    by: By,
    request: Request,
    event_type: Text = None,
    source: Text = None,
    severity: Text = None,
    tenant_id: Text = None,
    cursor: Text = None,
    last_event_id: LastEventId = None,
    wait: Wait = DEFAULT_WAIT_SECONDS,
    ticket: Ticket = None,
) -> Response[str]:
    filters = Filters(
        event_type=event_type or None,
        source=source or None,
        severity=severity.lower() if severity else None,
    )
    session: Session | None = request.context.get("session")
    view, given = by.reads(tenant_id), sse.position_in(last_event_id or cursor or "")
    position = parse_position(given, view) if given else None
    with slots.held():
        # Last: whatever is refused before this leaves the ticket good.
        session = tickets.redeemed(session) if session else None
        answer = events.follow(view, position, filters, wait=timedelta(seconds=wait))
    if session:
        tickets.answered(session)
    return Response(
        status_code=200,
        content_type=sse.CONTENT_TYPE,
        body=sse.to_text(answer, session.secret if session else ""),
        headers={"X-Next-Cursor": answer.position},
    )


@app.post("/events/stream/ticket", summary="A ticket for a browser's EventSource")
def issue_ticket(by: By) -> Issued:
    return tickets.issue(by)


def redeemed(ticket: str, headers: Mapping[str, str]) -> Caller:
    session = tickets.present(ticket, headers.get("last-event-id", ""))
    app.context["session"] = session
    return session.caller


lambda_handler = serve(
    app, "command-center", bearers={("GET", "/events/stream"): by_ticket(redeemed)}
)
