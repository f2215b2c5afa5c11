"""HTTP edge of tenants: who there is, what they may, and how they leave."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.jobs.model import JobShown, shown
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.tenants.model import TenantDraft
from aetherlink.wiring import tenancy as build

app = create_app()
tenancy = build()


@app.get("/tenants", summary="The tenants")
def list_tenants(
    by: By,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query()] = None,
) -> dict[str, Any]:
    return tenancy.listed(by, limit=limit, cursor=cursor or None)


@app.get("/tenants/<tenant_id>", summary="One tenant")
def get(tenant_id: str, request: Request, by: By) -> dict[str, Any]:
    return {"status": "ok", "tenant": tenancy.get(by, path_text(request, "tenant_id")).shown()}


@app.put("/tenants/<tenant_id>", summary="Name a tenant and set its limits; makes it if need be")
def put(tenant_id: str, request: Request, draft: TenantDraft, by: By) -> dict[str, Any]:
    changed = tenancy.put(by, path_text(request, "tenant_id"), draft)
    return {"status": "ok", "tenant": changed.shown()}


@app.delete(
    "/tenants/<tenant_id>", summary="Export all that a tenant has, then erase it", status_code=202
)
def remove(
    tenant_id: str,
    request: Request,
    by: By,
    confirm: Annotated[str | None, Query(description="The tenant's id once more")] = None,
) -> JobShown:
    return shown(tenancy.remove(by, path_text(request, "tenant_id"), confirm))


lambda_handler = serve(app, "command-center")
