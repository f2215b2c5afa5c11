"""HTTP edge of what looks at services while somebody waits: it has the healer's network and permissions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query

from aetherlink.heal.service import Scope
from aetherlink.platform.http import By, create_app, serve
from aetherlink.wiring import heal_live, healing

app = create_app()
healer = healing()
live = heal_live()

# An answer has 29 s; the last look and an action's call come after this.
TIME = timedelta(seconds=10)

Tenant = Annotated[str | None, Query(description="Another tenant, for who may")]


@app.get("/ops/health", summary="A look at every service, now")
def health(by: By, tenant_id: Tenant = None) -> dict[str, Any]:
    return live.health(by.reads(tenant_id))


@app.post("/autoheal/run", summary="Look and heal now, or say what would be done")
def run(by: By, *, dry_run: bool = False, tenant_id: Tenant = None) -> dict[str, Any]:
    view = by.reads(tenant_id)
    if view and not dry_run:
        by.writes(view)
    ran, numbers = healer.run(Scope.of(view) if view else Scope(), time=TIME, dry=dry_run)
    if not dry_run:
        by.trail.changed("autoheal/run", after=numbers)
    return {
        "status": "ok",
        "dry_run": dry_run,
        "checked": numbers["services"],
        "down": numbers["down"],
        "took_ms": numbers["took_ms"],
        "results": ran.found(),
        "attempts": [heal.shown() for heal in ran.heals],
    }


lambda_handler = serve(app, "auto-heal")
