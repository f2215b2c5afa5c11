"""Open routes, and the answer to everything that is no route."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.event_handler import Response

from aetherlink.center import service as center
from aetherlink.kernel.access import no_such_route
from aetherlink.platform.config import config, order_config
from aetherlink.platform.http import create_app, options, serve

app = create_app()


@app.get("/", summary="The service, its version and its endpoints")
def index() -> dict[str, Any]:
    return center.index()


@app.get("/ping", summary="Whether the API answers")
def ping() -> dict[str, Any]:
    return center.ping_with_providers(order_config().provider_order)


@app.get("/ops/ping", summary="Whether the command center answers")
def ops_ping() -> dict[str, Any]:
    return center.ping()


@app.get("/health.json", summary="Whether the console is served")
def ui_health() -> dict[str, str]:
    return center.ui_health()


@app.get("/console/config.json", summary="How the console signs in")
def console_config() -> dict[str, Any]:
    return center.console_config(config())


@app.get("/openapi.json", summary="This API as an OpenAPI 3.1 document")
def openapi() -> dict[str, Any]:
    return center.openapi()


@app.not_found
def elsewhere(_error: Exception) -> Response[str]:
    event = app.current_event
    if event.http_method != "OPTIONS":
        no_such_route(event.http_method, event.path)
    return options(event)


lambda_handler = serve(app, "command-center")
