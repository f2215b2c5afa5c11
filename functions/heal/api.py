"""HTTP edge of healing: how it stands, what it did, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.heal.record import ApprovalDraft, MaintenanceDraft, PauseDraft
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import heal_managing, heal_reading

app = create_app()
reading = heal_reading()
managing = heal_managing()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]


@app.get("/autoheal/ping", summary="Whether healing answers")
def ping() -> dict[str, Any]:
    return {"status": "ok"}


@app.get("/autoheal/health", summary="Whether healing is up")
def health() -> dict[str, Any]:
    return {"status": "up", "service": "auto-heal"}


@app.get("/autoheal/status", summary="What is watched, and what the latest run did")
def status(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return reading.status(by.reads(tenant_id))


@app.get("/autoheal/history", summary="Healing attempts, the newest first")
def history(
    by: By,
    *,
    limit: Annotated[int, Query(ge=1, description="Above 50 it is 50")] = 10,
    cursor: str | None = None,
    tenant_id: Tenant = None,
) -> dict[str, Any]:
    return reading.history(by.reads(tenant_id), limit=limit, cursor=cursor)


@app.get("/autoheal/stats", summary="How healing fares")
def stats(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return reading.statistics(by.reads(tenant_id))


@app.get("/ops/reconciliation", summary="Registered, monitored and configured, with the gaps")
def reconciliation(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return reading.reconciliation(by.reads(tenant_id))


@app.put("/autoheal/services/<name>/pause", summary="Leave a service alone")
def pause(name: str, request: Request, by: By, draft: PauseDraft | None = None) -> dict[str, Any]:
    paused = managing.pause(by, path_text(request, "name"), draft or PauseDraft())
    return {"status": "ok", **paused}


@app.delete("/autoheal/services/<name>/pause", summary="Heal a service again")
def resume(name: str, request: Request, by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return {"status": "ok", **managing.resume(by, path_text(request, "name"), tenant_id)}


@app.get("/autoheal/approvals", summary="What waits for somebody to agree, and what was decided")
def list_approvals(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    shown = managing.approvals(by.reads(tenant_id) or by.home)
    return {"status": "ok", "count": len(shown), "approvals": shown}


@app.post("/autoheal/approvals/<approval_id>", summary="Agree to an action, or do not")
def decide(approval_id: str, request: Request, draft: ApprovalDraft, by: By) -> dict[str, Any]:
    decided = managing.decide(by, path_text(request, "approval_id"), draft)
    return {"status": "ok", "approval": decided}


@app.post("/autoheal/maintenance", summary="Plan a time in which nothing is healed")
def plan(draft: MaintenanceDraft, by: By) -> dict[str, Any]:
    return {"status": "ok", "maintenance": managing.plan(by, draft)}


@app.get("/autoheal/maintenance", summary="The maintenance windows")
def list_windows(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    shown = managing.windows(by.reads(tenant_id) or by.home)
    return {"status": "ok", "count": len(shown), "maintenance": shown}


@app.get("/autoheal/maintenance/<window_id>", summary="A maintenance window")
def get_window(window_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "maintenance": managing.window(by, path_text(request, "window_id"))}


@app.put("/autoheal/maintenance/<window_id>", summary="Change a maintenance window")
def change_window(
    window_id: str, request: Request, draft: MaintenanceDraft, by: By
) -> dict[str, Any]:
    changed = managing.change(by, path_text(request, "window_id"), draft)
    return {"status": "ok", "maintenance": changed}


@app.delete("/autoheal/maintenance/<window_id>", summary="End a maintenance window")
def end_window(window_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "deleted": managing.end(by, path_text(request, "window_id"))}


lambda_handler = serve(app, "auto-heal")
