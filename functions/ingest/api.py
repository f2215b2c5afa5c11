"""HTTP edge of what other systems say: Alertmanager, PagerDuty's senders, and heartbeats."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.ingest.alertmanager import Webhook
from aetherlink.ingest.monitor import MonitorDraft, outcome_of
from aetherlink.ingest.pagerduty import Sent as Event
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.time import utc_now
from aetherlink.platform.bearers import by_body, by_path
from aetherlink.platform.http import AsSent, By, Sent, answered, create_app, path_text, serve
from aetherlink.wiring import intake as build
from aetherlink.wiring import monitors as build_monitors

app = create_app()
intake = build()
monitors = build_monitors()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]


@app.post("/ingest/alertmanager", summary="Alertmanager's webhook, version 4")
def alertmanager(webhook: Webhook, by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    """Each alert of the webhook is an incident of its fingerprint and start."""
    done = intake.take_all(by.writes(tenant_id), webhook.signals())
    return {
        "status": "ok",
        "received": len(webhook.alerts),
        "truncated": webhook.truncated_alerts,
        **{word: done[word] for word in ("opened", "closed", "known", "unknown")},
    }


@app.post("/ingest/pagerduty/v2/enqueue", summary="PagerDuty's Events API v2")
def pagerduty(event: Event, by: By, tenant_id: Tenant = None) -> Response[dict[str, Any]]:
    """Each dedup_key is an incident, until its resolve."""
    dedup_key = event.dedup_key or uuid7(utc_now())
    intake.take(by.writes(tenant_id), event.signal(dedup_key, utc_now()))
    done = {"status": "success", "message": "Event processed", "dedup_key": dedup_key}
    return answered(done, 202)


@app.post("/ingest/monitors", summary="Watch for a job's pings; its key is shown once")
def create(draft: MonitorDraft, by: By) -> dict[str, Any]:
    made = monitors.create(by, draft)
    path = f"/ingest/ping/{made['ping_key']}"
    return {"status": "ok", "monitor_id": made["monitor"]["id"], **made, "ping_path": path}


@app.get("/ingest/monitors", summary="The monitors")
def list_monitors(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    shown = monitors.visible(by.reads(tenant_id) or by.home)
    return {"status": "ok", "count": len(shown), "monitors": shown}


@app.get("/ingest/monitors/<monitor_id>", summary="A monitor")
def get_monitor(monitor_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "monitor": monitors.get(by, path_text(request, "monitor_id"))}


@app.put("/ingest/monitors/<monitor_id>", summary="Change a monitor")
def change(monitor_id: str, request: Request, draft: MonitorDraft, by: By) -> dict[str, Any]:
    changed = monitors.change(by, path_text(request, "monitor_id"), draft)
    return {"status": "ok", "monitor": changed}


@app.delete("/ingest/monitors/<monitor_id>", summary="Stop watching; its alert is over")
def delete(monitor_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "deleted": monitors.delete(by, path_text(request, "monitor_id"))}


@app.get("/ingest/ping/<key>", summary="It is done, and well")
def ping(key: str, request: Request) -> Response[str]:
    return _pinged(request, "")


@app.post("/ingest/ping/<key>", summary="It is done, and well")
def ping_with_output(key: str, request: Request) -> Response[str]:
    return _pinged(request, "")


@app.get("/ingest/ping/<key>/<word>", summary="start, fail, or an exit code from 0 to 255")
def ping_word(key: str, word: str, request: Request) -> Response[str]:
    return _pinged(request, path_text(request, "word"))


@app.post("/ingest/ping/<key>/<word>", summary="The same, with what the job printed as the body")
def ping_word_with_output(key: str, word: str, request: Request, sent: AsSent) -> Response[str]:
    return _pinged(request, path_text(request, "word"), sent)


def _pinged(request: Request, word: str, sent: Sent | None = None) -> Response[str]:
    said, why = outcome_of(word, sent.text if sent else "")
    monitors.ping(path_text(request, "key"), said, why)
    return Response(status_code=200, content_type="text/plain; charset=utf-8", body="OK")


lambda_handler = serve(
    app,
    "command-center",
    bearers={
        ("POST", "/ingest/pagerduty/v2/enqueue"): by_body("routing_key"),
        **{
            (method, path): by_path("key", monitors.caller)
            for method in ("GET", "POST")
            for path in ("/ingest/ping/{key}", "/ingest/ping/{key}/{word}")
        },
    },
)
