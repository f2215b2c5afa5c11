"""HTTP edge of identity: who one is, and API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from aws_lambda_powertools.event_handler.request import Request

from aetherlink.identity.model import KeyDraft, Rotation
from aetherlink.identity.service import describe
from aetherlink.kernel.paging import DEFAULT_LIMIT, MAX_LIMIT
from aetherlink.platform.config import config
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import keys as build

app = create_app()
keys = build()

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Text = Annotated[str | None, Query()]


@app.get("/identity/me", summary="Who you are to this API")
def me(by: By) -> dict[str, Any]:
    return describe(by, config().auth_mode)


@app.post("/identity/keys", summary="Make an API key; its secret is shown this once")
def create(draft: KeyDraft, by: By) -> dict[str, Any]:
    return keys.create(by, draft)


@app.get("/identity/keys", summary="The API keys, without their secrets")
def list_keys(
    by: By, tenant_id: Tenant = None, limit: Limit = DEFAULT_LIMIT, cursor: Text = None
) -> dict[str, Any]:
    return keys.listed(by.reads(tenant_id), limit=limit, cursor=cursor or None)


@app.get("/identity/keys/<key_id>", summary="One API key, without its secret")
def get(key_id: str, request: Request, by: By) -> dict[str, Any]:
    return keys.get(by, path_text(request, "key_id"))


@app.delete("/identity/keys/<key_id>", summary="Revoke an API key")
def revoke(key_id: str, request: Request, by: By) -> dict[str, Any]:
    return keys.revoke(by, path_text(request, "key_id"))


@app.post("/identity/keys/<key_id>/rotate", summary="A new secret for an API key, shown this once")
def rotate(
    key_id: str,
    request: Request,
    by: By,
    rotation: Annotated[Rotation | None, Body(description="May be left out")] = None,
) -> dict[str, Any]:
    grace = timedelta(seconds=(rotation or Rotation()).grace_seconds)
    return keys.rotate(by, path_text(request, "key_id"), grace)


lambda_handler = serve(app, "command-center")
