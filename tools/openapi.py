"""Write layers/core/aetherlink/center/openapi.json from the routes (`make openapi`).

Paths, parameters and bodies come from the handlers; roles from the access table; the errors from the
contract that every route shares. A contract test compares the file with what this makes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "layers" / "core" / "aetherlink" / "center" / "openapi.json"
HANDLERS = (
    "functions.center.api",
    "functions.registry.api",
    "functions.events.publish",
    "functions.events.api",
    "functions.events.stream",
    "functions.retention.api",
    "functions.jobs.api",
    "functions.identity.api",
    "functions.audit.api",
    "functions.tenants.api",
    "functions.alerts.api",
    "functions.notify.api",
    "functions.ingest.api",
    "functions.ai.api",
    "functions.heal.api",
    "functions.heal.runner",
)
# What importing the handlers needs; nothing is called.
ENVIRONMENT = {
    "STAGE": "local",
    "AUTH_MODE": "token",
    "EVENTS_TABLE": "-",
    "PROJECTIONS_TABLE": "-",
    "CONTROL_TABLE": "-",
    "AUDIT_TABLE": "-",
    "AUDIT_RETENTION_DAYS": "365",
    "REQUESTS_PER_MINUTE": "0",
    "CORS_ORIGINS": "",
    "OIDC_ISSUER": "",
    "OIDC_AUDIENCE": "",
    "OIDC_ALGORITHMS": "RS256",
    "OIDC_JWKS_URL": "",
    "OIDC_ROLES_CLAIM": "roles",
    "OIDC_TENANT_CLAIM": "tenant_id",
    "OIDC_ROLE_MAP": "",
    "OIDC_CLIENT_ID": "",
    "OUTBOUND_ALLOW": "",
    "EVENT_RETENTION_DAYS": "30",
    "TIMELINE_SHARDS": "1",
    "ARCHIVE_ENABLED": "false",
    "ARCHIVE_BUCKET": "",
    "JOBS_QUEUE": "-",
    "MAX_STREAMS": "1",
    "ALERTS_DUE_QUEUE": "-",
    "ALERTS_TOPIC": "-",
    "ALERT_WEBHOOKS": "",
    "NOTIFICATIONS_QUEUE": "-",
    "AWS_DEFAULT_REGION": "us-east-1",
}

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "required": ["type", "title", "status", "detail", "instance", "trace_id"],
    "properties": {
        **{
            name: {"type": "string"} for name in ("type", "title", "detail", "instance", "trace_id")
        },
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "description": "With 422: each field that is wrong",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
STATUSES = {
    "400": "The request makes no sense as it stands",
    "401": "No valid credentials; WWW-Authenticate says how (x-amzn-Remapped-WWW-Authenticate on AWS)",
    "403": "The identity may not do this",
    "404": "No such thing, or not this caller's",
    "405": "The path does not take this method; Allow lists those it takes",
    "409": "It is there already, somebody was faster, or a request with the same Idempotency-Key still "
    "runs (then Retry-After says when to ask again)",
    "413": "More than the limit, which the detail names",
    "415": "A body of a kind that is not read here; the detail names those that are",
    "422": "A field is wrong; errors names each",
    "429": "Too many requests; Retry-After says when",
    "500": "Something went wrong on our side",
    "503": "A part of ours did not answer; Retry-After says when to try again",
}
# Of a route that runs once for a key; of publishing, where the key names the events.
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request within 24 hours gets the first one's answer "
    "again, without secrets, and with the header Idempotency-Replayed",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
NAMING_KEY = {
    **KEY,
    "description": "Names the events that have no event_id: the same key with the same events stores "
    "nothing more, and each answers duplicate",
}
CLOUDEVENT = {
    "type": "object",
    "description": "A CloudEvent 1.0 in the JSON format. Other attributes and extensions, named by "
    "[a-z0-9], are kept and read back as `attributes`.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 128},
        "source": {"type": "string", "minLength": 1, "maxLength": 256},
        "type": {"type": "string", "minLength": 1, "maxLength": 128},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string", "description": "JSON, or a type that ends in +json"},
        "data": {"type": "object", "description": "The payload; this or data_base64"},
        "data_base64": {"type": "string", "description": "The payload's JSON text as base64"},
        "tenantid": {"type": "string"},
        "severity": {"enum": ["info", "warning", "error", "critical"]},
        "schemaversion": {"type": ["string", "number"]},
    },
    "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
}
# In binary mode the attributes are headers and the body is the data.
BINARY_MODE = (
    ("specversion", "`1.0`"),
    ("id", "The event's id"),
    ("source", "Its source"),
    ("type", "Its type"),
)


def make() -> dict[str, Any]:
    """The whole document."""
    from aetherlink import __version__  # noqa: PLC0415 - after the path is set
    from aetherlink.events.model import Envelope  # noqa: PLC0415
    from aetherlink.kernel.access import CREATES, NAMES_EVENTS, ROUTES  # noqa: PLC0415

    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    for name in HANDLERS:
        made = json.loads(importlib.import_module(name).app.get_openapi_json_schema())
        schemas |= made.get("components", {}).get("schemas", {})
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                roles = ROUTES[method.upper(), path]
                paths.setdefault(path, {})[method] = _operation(operation, [str(r) for r in roles])
    envelope = Envelope.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= envelope.pop("$defs", {})
    schemas |= {"Envelope": envelope, "CloudEvent": CLOUDEVENT}
    _describe_publishing(paths)
    for routes, parameter in ((CREATES, KEY), (NAMES_EVENTS, NAMING_KEY)):
        for method, path in sorted(routes):
            paths[path][method.lower()].setdefault("parameters", []).append(parameter)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AetherLink",
            "version": __version__,
            "description": "An ops control plane that a team owns.",
        },
        "servers": [{"url": "/"}],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _describe_publishing(paths: dict[str, Any]) -> None:
    """Bodies that the routes take as they are, and the statuses that they choose."""
    envelope = {"$ref": "#/components/schemas/Envelope"}
    event = {"$ref": "#/components/schemas/CloudEvent"}
    several = {"type": "array", "items": envelope, "minItems": 1, "maxItems": 500}
    wrapped = {"type": "object", "required": ["events"], "properties": {"events": several}}
    publish, batch, cloudevents = (
        paths[f"/events/{name}"]["post"] for name in ("publish", "batch", "cloudevents")
    )
    publish["requestBody"] = _body({"application/json": envelope})
    batch["requestBody"] = _body({"application/json": {"anyOf": [several, wrapped]}})
    batch["responses"]["207"] = _partly()
    cloudevents["requestBody"] = _body(
        {
            "application/cloudevents+json": event,
            "application/cloudevents-batch+json": {
                "type": "array",
                "items": event,
                "maxItems": 500,
            },
            "application/json": {
                "description": "The data, with the attributes in ce- headers; or an event",
                "type": "object",
            },
        }
    )
    cloudevents["parameters"] = [
        {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": f"{meaning}, in binary mode; text is percent-encoded",
            "schema": {"type": "string"},
        }
        for name, meaning in BINARY_MODE
    ]
    cloudevents["responses"]["202"] = cloudevents["responses"].pop("200")
    cloudevents["responses"]["207"] = _partly()


def _body(schemas: dict[str, Any]) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"required": True, "content": content}


def _partly() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Batch"}
    return {
        "description": "Some of the events were not taken; their results say why",
        "content": {"application/json": {"schema": schema}},
    }


def _operation(operation: dict[str, Any], roles: list[str]) -> dict[str, Any]:
    refusals = {
        status: {
            "description": description,
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status, description in STATUSES.items()
    }
    answers = {s: a for s, a in operation["responses"].items() if s.startswith("2")}
    return {
        **operation,
        "responses": {**answers, **refusals},
        "security": [{"bearer": []}, {"key": []}] if roles else [],
        "x-roles": roles,
    }


def main() -> int:
    os.environ.update(ENVIRONMENT)
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]
    text = json.dumps(make(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
