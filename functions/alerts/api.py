"""HTTP edge of alert rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.alerts.backtest import BacktestDraft
from aetherlink.alerts.model import RuleDraft
from aetherlink.alerts.one_click import PATH
from aetherlink.alerts.people import AckDraft, Filters
from aetherlink.alerts.silence import SilenceDraft
from aetherlink.alerts.templates import TEMPLATES, Materials, draft_of, template
from aetherlink.jobs.model import JobShown, shown
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.platform.bearers import by_ticket
from aetherlink.platform.http import By, answered, checked, create_app, path_text, serve
from aetherlink.wiring import alerting as build
from aetherlink.wiring import backtests, one_click
from aetherlink.wiring import people as build_people

app = create_app()
alerting = build()
people = build_people()
links = one_click()
tests = backtests()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


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


@app.get("/alerts/rules/<rule_id>/explain", summary="Why a rule fires, or does not")
def explain(rule_id: str, request: Request, by: By) -> dict[str, Any]:
    why = alerting.explain(by, path_text(request, "rule_id"), people.why_muted)
    return {"status": "ok", **why}


@app.post("/alerts/rules/backtest", summary="What a draft rule would have made of stored events")
def backtest(draft: BacktestDraft, by: By) -> Response[dict[str, Any] | JobShown]:
    found, job = tests.run(by, draft, alerting.tenant_for(by, draft.rule))
    return answered(shown(job), 202) if job else answered({"status": "ok", **(found or {})}, 200)


@app.get("/alerts/templates", summary="Ready-made rules")
def list_templates(by: By) -> dict[str, Any]:
    every = [template.model_dump() for template in TEMPLATES.values()]
    return {"status": "ok", "count": len(every), "templates": every}


@app.get("/alerts/templates/<template_id>", summary="A ready-made rule")
def get_template(template_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "template": template(path_text(request, "template_id")).model_dump()}


@app.post("/alerts/templates/<template_id>/materialize", summary="Make a rule of a template")
def materialize(
    template_id: str, request: Request, by: By, materials: Materials | None = None
) -> dict[str, Any]:
    body = draft_of(path_text(request, "template_id"), materials or Materials())
    draft = checked(RuleDraft, body, at="/overrides")
    is_global = "tenant_id" in body and body["tenant_id"] is None
    rule = alerting.create(by, draft, is_global=is_global)
    return {"status": "ok", "rule_id": rule.id, "rule": rule.shown()}


@app.get("/alerts", summary="Alerts: open ones first, then what is over, newest first")
def list_alerts(
    by: By,
    state: Annotated[Literal["pending", "firing", "resolved"] | None, Query()] = None,
    rule_id: Annotated[str | None, Query(max_length=256)] = None,
    severity: Annotated[str | None, Query(max_length=16)] = None,
    acknowledged: Annotated[bool | None, Query()] = None,
    tenant_id: Tenant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query()] = None,
) -> dict[str, Any]:
    filters = Filters(state, rule_id, severity.lower() if severity else None, acknowledged)
    return people.alerts(by.reads(tenant_id), filters, limit=limit, cursor=cursor)


@app.get("/alerts/<alert_id>", summary="One alert, who has it, and what mutes it now")
def get_alert(alert_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "alert": people.alert(by, path_text(request, "alert_id"))}


@app.post("/alerts/<alert_id>/ack", summary="Take an alert in hand")
def acknowledge(
    alert_id: str, request: Request, by: By, draft: AckDraft | None = None
) -> dict[str, Any]:
    alert = people.acknowledge(by, path_text(request, "alert_id"), draft or AckDraft())
    return {"status": "ok", "alert": alert}


@app.delete("/alerts/<alert_id>/ack", summary="Give an alert back")
def release(alert_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "alert": people.release(by, path_text(request, "alert_id"))}


@app.post("/alerts/silences", summary="Mute alerts for a time")
def silence(draft: SilenceDraft, by: By) -> dict[str, Any]:
    made = people.silence(by, draft)
    return {"status": "ok", "silence_id": made["id"], "silence": made}


@app.post("/alerts/silences/preview", summary="What a silence would mute now")
def preview(draft: SilenceDraft, by: By) -> dict[str, Any]:
    return {"status": "ok", **people.preview(by, draft)}


@app.get("/alerts/silences", summary="The silences, the soonest to end first")
def list_silences(
    by: By, *, tenant_id: Tenant = None, expired: Annotated[bool, Query()] = False
) -> dict[str, Any]:
    shown = people.silences(by.reads(tenant_id), expired=expired)
    return {"status": "ok", "count": len(shown), "silences": shown}


@app.get("/alerts/silences/<silence_id>", summary="A silence, and what it mutes now")
def get_silence(silence_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "silence": people.one_silence(by, path_text(request, "silence_id"))}


@app.put("/alerts/silences/<silence_id>", summary="Change a silence")
def change_silence(
    silence_id: str, request: Request, draft: SilenceDraft, by: By
) -> dict[str, Any]:
    changed = people.change_silence(by, path_text(request, "silence_id"), draft)
    return {"status": "ok", "silence": changed}


@app.delete("/alerts/silences/<silence_id>", summary="End a silence")
def lift(silence_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "deleted": people.lift(by, path_text(request, "silence_id"))}


@app.get("/alerts/act", summary="What a link in a message does, before it does it")
def show_deed(by: By, ticket: Annotated[str, Query(max_length=2_000)]) -> Response[str]:
    return _page(links.page(people, by, ticket))


@app.post("/alerts/act", summary="Do what a link in a message is for")
def act(by: By, ticket: Annotated[str, Query(max_length=2_000)]) -> Response[str]:
    return _page(links.act(people, by, ticket))


def _page(html: str) -> Response[str]:
    return Response(
        status_code=200,
        content_type="text/html; charset=utf-8",
        body=html,
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
            "form-action 'self'; frame-ancestors 'none'"
        },
    )


lambda_handler = serve(
    app,
    "command-center",
    bearers={("GET", PATH): by_ticket(links.caller), ("POST", PATH): by_ticket(links.caller)},
)
