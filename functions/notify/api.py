"""HTTP edge of endpoints and deliveries."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.kernel.time import parse_instant, utc_now
from aetherlink.notify.endpoint import EndpointDraft
from aetherlink.notify.endpoints import Managing, RotationDraft
from aetherlink.notify.log import Filters, Log, ReplayDraft
from aetherlink.notify.model import State
from aetherlink.notify.outcome import Trouble
from aetherlink.notify.rules import RuleSet
from aetherlink.notify.ruling import Ruling
from aetherlink.platform.config import notifications_config
from aetherlink.platform.http import By, answered, create_app, path_text, serve
from aetherlink.platform.messaging import Queue
from aetherlink.wiring import delivery_store, endpoint_store
from aetherlink.wiring import notification_rules as rule_store

app = create_app()
settings = notifications_config()
queue = Queue(settings.notifications_queue)


def wake(delivery_id: str) -> None:
    """Have the dispatcher look at a delivery."""
    queue.send(json.dumps({"delivery_id": delivery_id}))


managing = Managing(endpoint_store(settings.alert_webhooks), delivery_store(), wake, utc_now)
ruling = Ruling(rule_store())
log = Log(delivery_store(), wake, managing.look_again, utc_now)

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Instant = Annotated[str | None, Query(description="ISO 8601, with an offset")]


@app.post("/notifications/endpoints", summary="Add an endpoint; its secret is shown once")
def create(draft: EndpointDraft, by: By) -> dict[str, Any]:
    made = managing.create(by, draft)
    return {"status": "ok", "endpoint_id": made["endpoint"]["id"], **made}


@app.get("/notifications/endpoints", summary="The endpoints")
def list_endpoints(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    shown = managing.visible(by, tenant_id)
    return {"status": "ok", "count": len(shown), "endpoints": shown}


@app.get("/notifications/endpoints/<endpoint_id>", summary="An endpoint")
def get_endpoint(endpoint_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "endpoint": managing.get(by, path_text(request, "endpoint_id"))}


@app.put("/notifications/endpoints/<endpoint_id>", summary="Change an endpoint")
def change(endpoint_id: str, request: Request, draft: EndpointDraft, by: By) -> dict[str, Any]:
    changed = managing.change(by, path_text(request, "endpoint_id"), draft)
    return {"status": "ok", "endpoint": changed}


@app.delete("/notifications/endpoints/<endpoint_id>", summary="Remove an endpoint")
def delete(endpoint_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "deleted": managing.delete(by, path_text(request, "endpoint_id"))}


@app.post("/notifications/endpoints/<endpoint_id>/enable", summary="Switch a disabled one on")
def enable(endpoint_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "endpoint": managing.switch_on(by, path_text(request, "endpoint_id"))}


@app.post("/notifications/endpoints/<endpoint_id>/test", summary="Send a test message")
def test(endpoint_id: str, request: Request, by: By) -> Response[dict[str, Any]]:
    sent = managing.test(by, path_text(request, "endpoint_id"))
    return answered({"status": "ok", **sent}, 202)


@app.post(
    "/notifications/endpoints/<endpoint_id>/rotate-secret", summary="A new secret, shown once"
)
def rotate(
    endpoint_id: str, request: Request, by: By, draft: RotationDraft | None = None
) -> dict[str, Any]:
    rotated = managing.rotate(by, path_text(request, "endpoint_id"), draft or RotationDraft())
    return {"status": "ok", **rotated}


@app.get("/notifications/deliveries", summary="Deliveries, the newest first")
def list_deliveries(
    by: By,
    *,
    state: State | None = None,
    endpoint_id: str | None = None,
    event_type: str | None = None,
    episode_id: str | None = None,
    error_class: Trouble | None = None,
    since: Instant = None,
    until: Instant = None,
    tenant_id: Tenant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> dict[str, Any]:
    filters = Filters(
        state=state,
        endpoint_id=endpoint_id,
        event_type=event_type,
        episode_id=episode_id,
        error_class=error_class and str(error_class),
        since=_instant(since),
        until=_instant(until),
    )
    page = log.page(by.reads(tenant_id), filters, limit=limit, cursor=cursor)
    return {"status": "ok", "count": len(page["deliveries"]), **page}


@app.get("/notifications/deliveries/stats", summary="How deliveries fared")
def statistics(
    by: By, *, days: Annotated[int, Query(ge=1, le=90)] = 7, tenant_id: Tenant = None
) -> dict[str, Any]:
    return {"status": "ok", **log.statistics(by.reads(tenant_id), days)}


@app.post("/notifications/deliveries/replay", summary="Send again what was given up")
def replay_all(draft: ReplayDraft, by: By) -> dict[str, Any]:
    return {"status": "ok", **log.replay_all(by, draft)}


@app.get("/notifications/deliveries/<delivery_id>", summary="A delivery, with every attempt")
def get_delivery(delivery_id: str, request: Request, by: By) -> dict[str, Any]:
    found = log.get(by, path_text(request, "delivery_id"))
    return {"status": "ok", "delivery": found.shown(whole=True)}


@app.post("/notifications/deliveries/<delivery_id>/replay", summary="Send one again")
def replay(delivery_id: str, request: Request, by: By) -> Response[dict[str, Any]]:
    revived = log.replay(by, path_text(request, "delivery_id"))
    return answered({"status": "ok", "delivery": revived}, 202)


@app.get("/notifications/rules", summary="What people are told of the CRM's events")
def get_rules(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return {"status": "ok", **ruling.shown(by, tenant_id)}


@app.put("/notifications/rules", summary="Replace the rules; the first that fits decides")
def put_rules(rules: RuleSet, by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return {"status": "ok", **ruling.replace(by, tenant_id, rules)}


@app.delete("/notifications/rules", summary="Back to the shipped rules")
def reset_rules(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return {"status": "ok", **ruling.reset(by, tenant_id)}


@app.post("/notifications/test", summary="What a rule would say of an event; nothing is sent")
def test_rules(event: dict[str, Any], by: By) -> dict[str, Any]:
    return ruling.test(by, event)


def _instant(given: str | None) -> datetime | None:
    if not given:
        return None
    try:
        return parse_instant(given)
    except ValueError as error:
        raise InvalidError(f"since and until: {error}") from error


lambda_handler = serve(app, "command-center")
