"""The registered event types: a JSON Schema (2020-12) for each payload, checked on publish.

Evolution is additive only: fields may be added, none may become required, more are always allowed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from aetherlink.kernel.errors import Flaw, InvalidError, NotFoundError, UnprocessableError

ENVELOPE_REQUIRED: Final = ("event_type", "source", "payload")

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MILLISECONDS: Schema = {"type": "number", "minimum": 0}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}


def _payload(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
    schema["properties"] = {**required, **(optional or {})}
    if required:
        schema["required"] = list(required)
    return schema


class EventType(BaseModel):
    """A registered type, as `GET /events/schema` shows it."""

    event_type: str
    required: list[str]
    description: str
    version: int
    payload_schema: Schema


def _type(name: str, description: str, schema: Schema) -> EventType:
    return EventType(
        event_type=name,
        required=list(ENVELOPE_REQUIRED),
        description=description,
        version=1,
        payload_schema=schema,
    )


_ALERT = {
    "rule_name": _TEXT,
    "rule_id": _TEXT,
    "matched_count": {"type": "number"},
    "window_seconds": {"type": "integer"},
    "threshold": {"type": "number"},
    "filters": {"type": "object"},
    "group": {"type": "object"},
    "episode_id": _TEXT,
}

BUILT_IN: Final[dict[str, EventType]] = {
    registered.event_type: registered
    for registered in (
        _type(
            "service.registered",
            "A service joined the registry or changed its registration",
            _payload({"service": _NAME}, {"url": _TEXT, "version": {}, "tags": _TEXTS}),
        ),
        _type(
            "service.unregistered",
            "A service was removed from the registry",
            _payload({"service": _NAME}),
        ),
        _type(
            "service.health.failed",
            "A health check of a service failed",
            _payload({"service": _NAME}, {"error": {}, "url": _TEXT, "http_status": {}}),
        ),
        _type(
            "service.health.recovered",
            "A service that had failed is healthy again",
            _payload({"service": _NAME}),
        ),
        _type(
            "autoheal.attempted",
            "A healing action is about to be tried",
            _payload({"service": _NAME, "reason": _TEXT}),
        ),
        _type(
            "autoheal.succeeded",
            "A healed service is healthy again",
            _payload({"service": _NAME, "action": _TEXT}),
        ),
        _type(
            "autoheal.failed",
            "A healing action did not help",
            _payload({"service": _NAME, "action": _TEXT, "error": _TEXT}),
        ),
        _type(
            "ai.provider.used",
            "An AI provider answered",
            _payload({"provider": _NAME, "intent": _TEXT, "latency_ms": _MILLISECONDS}),
        ),
        _type(
            "ai.fallback.used",
            "An AI provider answered after others had failed",
            _payload(
                {
                    "successful_provider": _NAME,
                    "failed_providers": {"type": "array"},
                    "intent": _TEXT,
                    "latency_ms": _MILLISECONDS,
                }
            ),
        ),
        _type(
            "ai.fallback.failed",
            "Every AI provider failed",
            _payload(
                {
                    "provider_chain": {"type": "array"},
                    "errors": {"type": ["array", "object"]},
                    "intent": _TEXT,
                    "latency_ms": _MILLISECONDS,
                }
            ),
        ),
        _type("ai.summary.created", "A summary was made", _payload({})),
        _type("lead.created", "A lead was created", _payload({})),
        _type("lead.status_changed", "A lead moved to another status", _payload({})),
        _type("lead.assigned", "A lead was assigned", _payload({})),
        _type("lead.note_added", "A note was added to a lead", _payload({})),
        _type("ops.alert.raised", "An alert rule began to fire", _payload(_ALERT)),
        _type("ops.alert.resolved", "An alert rule stopped firing", _payload(_ALERT)),
        _type(
            "ops.alert.delivery.failed",
            "A notification was given up after its last attempt",
            _payload({"delivery_id": _TEXT, "endpoint": _TEXT, "attempts": _COUNT}),
        ),
        _type("ops.endpoint.disabled", "An endpoint was disabled", _payload({})),
        _type(
            "ops.events.pruned",
            "Events passed their retention",
            _payload({"scope": _TEXT, "pruned_count": _COUNT}),
        ),
        _type("ops.archive.failed", "Events could not be archived", _payload({})),
        _type("security.rbac.violation", "Somebody was refused repeatedly", _payload({})),
    )
}


def known(event_type: str) -> EventType:
    """The registered type. Raises InvalidError for any other (the contract's 400)."""
    if event_type not in BUILT_IN:
        raise InvalidError(f"Unknown event_type '{event_type[:128]}'")
    return BUILT_IN[event_type]


def look_up(event_type: str) -> EventType:
    """The same for a reader, to whom an unknown type is a 404."""
    if event_type not in BUILT_IN:
        raise NotFoundError(f"Unknown event_type '{event_type[:128]}'")
    return BUILT_IN[event_type]


def check_payload(event_type: str, payload: dict[str, Any]) -> None:
    """Raises UnprocessableError that names every field which breaks the type's schema."""
    flaws = tuple(
        Flaw("/payload" + "".join(f"/{part}" for part in error.instance_path), error.message)
        for error in _validator(event_type).iter_errors(payload)
    )
    if flaws:
        raise UnprocessableError(flaws)


@cache
def _validator(event_type: str) -> Any:
    # Loaded with the first event of a type: a reader of events never pays for it.
    import jsonschema_rs  # noqa: PLC0415

    return jsonschema_rs.Draft202012Validator(known(event_type).payload_schema)
