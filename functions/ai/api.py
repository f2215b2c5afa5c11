"""HTTP edge of the AI orchestrator: work by intent, chats, and how the providers fare."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.ai.draft import ChatDraft, LeadText, OrchestrateDraft
from aetherlink.center.service import provider_names
from aetherlink.platform.config import ai_config
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import orchestrator

app = create_app()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]


@app.get("/ai/ping", summary="Whether the orchestrator answers, and whom it asks in which order")
def ping() -> dict[str, Any]:
    names = provider_names(ai_config().provider_order)
    return {"status": "ok", "service": "ai-orchestrator-v2", "providers": names}


@app.get("/ai/health", summary="Whether the orchestrator is up")
def health() -> dict[str, Any]:
    return {"status": "up", "service": "ai-orchestrator"}


@app.get("/providers/health", summary="How each AI provider fares")
def providers() -> dict[str, Any]:
    return orchestrator().health()


@app.post("/providers/<name>/reset", summary="Ask a provider again at once")
def reset(name: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", **orchestrator().reset(by, path_text(request, "name"))}


@app.get("/ai/usage", summary="What a tenant used, by day, and what is left of its budget")
def usage(
    by: By,
    *,
    days: Annotated[int, Query(ge=1, le=90, description="Today's included")] = 7,
    tenant_id: Tenant = None,
) -> dict[str, Any]:
    tenant = by.reads(tenant_id) or by.home
    return {"status": "ok", **orchestrator().usage(tenant, days)}


@app.post("/orchestrate", summary="Do AI work by whoever of the providers can")
def orchestrate(draft: OrchestrateDraft, by: By) -> dict[str, Any]:
    return orchestrator().orchestrate(by, draft)


@app.post("/summaries/extract-lead", summary="The lead in a text")
def extract_lead(draft: LeadText, by: By) -> dict[str, Any]:
    return orchestrator().extract_lead(by, draft)


@app.post("/v1/chat/completions", summary="A chat's next turn, in OpenAI's words")
def chat(draft: ChatDraft, by: By) -> dict[str, Any]:
    return orchestrator().chat(by, draft)


@app.get("/v1/models", summary="Whom a chat may name, in OpenAI's words")
def models() -> dict[str, Any]:
    return {"object": "list", "data": orchestrator().models()}


lambda_handler = serve(app, "ai-orchestrator")
