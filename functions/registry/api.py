"""HTTP edge of the registry: who is in the mesh, and where their health lives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.kernel.errors import Flaw, UnprocessableError
from aetherlink.kernel.time import parse_instant
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.registry.model import Registration, State
from aetherlink.registry.service import Wanted
from aetherlink.wiring import registry as build

app = create_app()
registry = build()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]


@app.post("/ops/register", summary="Register a service, or renew its registration")
def register(registration: Registration, by: By) -> dict[str, Any]:
    return registry.register(by, registration)


@app.post("/ops/services/<name>/heartbeat", summary="Renew a service's lease")
def heartbeat(name: str, request: Request, by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return registry.heartbeat(by, path_text(request, "name"), tenant_id)


@app.get("/ops/services", summary="The registered services")
def list_services(
    by: By,
    *,
    tag: str | None = None,
    state: State | None = None,
    version: str | None = None,
    at: Annotated[str | None, Query(description="ISO 8601: what was registered then")] = None,
    tenant_id: Tenant = None,
) -> dict[str, Any]:
    view = by.reads(tenant_id)
    if at is not None:
        return registry.at(view, _instant(at))
    return registry.catalogue(view, Wanted(tag, state, version))


def _instant(given: str) -> datetime:
    try:
        return parse_instant(given)
    except ValueError as error:
        raise UnprocessableError((Flaw("/at", str(error)),)) from error


@app.delete("/ops/services/<name>", summary="Remove a service")
def remove(name: str, request: Request, by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return registry.remove(by, path_text(request, "name"), tenant_id)


lambda_handler = serve(app, "command-center")
