"""HTTP edge of alert rules."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.alerts.model import RuleDraft
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import alerting as build

app = create_app()
alerting = build()


@app.post("/alerts/rules", summary="Create an alert rule")
def create(draft: RuleDraft, by: By) -> dict[str, Any]:
    # An explicit null is a wish (a global rule); an absent one is not.
    is_global = "tenant_id" in draft.model_fields_set and draft.tenant_id is None
    rule = alerting.create(by, draft, is_global=is_global)
    return {"status": "ok", "rule_id": rule.id, "rule": rule.shown()}


@app.get("/alerts/rules", summary="The alert rules")
def list_rules(
    by: By, tenant_id: Annotated[str | None, Query(description="Another tenant")] = None
) -> dict[str, Any]:
    shown = [rule.shown() for rule in alerting.visible(by.reads(tenant_id))]
    return {"status": "ok", "count": len(shown), "rules": shown}


@app.get("/alerts/rules/<rule_id>", summary="One alert rule")
def get(rule_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "rule": alerting.get(by, path_text(request, "rule_id")).shown()}


@app.delete("/alerts/rules/<rule_id>", summary="Delete an alert rule, and resolve what it has open")
def delete(rule_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "deleted": alerting.delete(by, path_text(request, "rule_id"))}


@app.patch("/alerts/rules/<rule_id>/enabled", summary="Switch an alert rule on or off")
def enable(
    rule_id: str, request: Request, by: By, enabled: Annotated[bool, Query()]
) -> dict[str, Any]:
    rule = alerting.enable(by, path_text(request, "rule_id"), enabled=enabled)
    return {"status": "ok", "rule_id": rule.id, "enabled": rule.enabled}


@app.post("/alerts/evaluate", summary="Judge every enabled rule now")
def evaluate(by: By) -> dict[str, Any]:
    evaluated, alerts = alerting.evaluate(by)
    return {"status": "ok", "evaluated": evaluated, "triggered": len(alerts), "alerts": alerts}


lambda_handler = serve(app, "command-center")
