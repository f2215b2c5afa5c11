"""The built-in event types: a JSON Schema (2020-12) for each payload, checked on publish.

Evolution is additive only: fields may be added, none may become required, more are always allowed.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any, Final

from aetherlink.events.compatibility import Compatibility, escaped
from aetherlink.kernel.errors import Flaw, InvalidError, NotFoundError, UnprocessableError
from aetherlink.kernel.shape import Shape

ENVELOPE_REQUIRED: Final = ("event_type", "source", "payload")

MAX_FLAWS: Final = 50
MAX_DETAIL: Final = 300

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


class EventType(Shape):
    """A registered type: built in, or a tenant's own."""

    event_type: str
    required: list[str]
    description: str
    version: int
    payload_schema: Schema
    tenant_id: str | None = None
    compatibility: Compatibility | None = None

    def shown(self) -> dict[str, Any]:
        """As `GET /events/schema` shows it; built-in types have neither tenant nor compatibility."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"payload_schema"})
        return {**fields, "schema": self.payload_schema}


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
            "ops.alert.silence.ending",
            "A silence is about to end",
            _payload({"silence_id": _TEXT, "ends_at": _TEXT}),
        ),
        _type(
            "ops.alert.delivery.failed",
            "A notification was given up after its last attempt",
            _payload({"delivery_id": _TEXT, "endpoint": _TEXT, "attempts": _COUNT}),
        ),
        _type(
            "ops.endpoint.disabled",
            "An endpoint was disabled: it is gone, or nothing reached it for days",
            _payload({"endpoint_id": _TEXT, "endpoint": _TEXT, "because": _TEXT}),
        ),
        _type(
            "ingest.alert.firing",
            "Another system's alert, or a monitor's, began",
            _payload({"alert": _TEXT, "severity": _TEXT, "labels": {"type": "object"}}),
        ),
        _type(
            "ingest.alert.resolved",
            "Another system's alert, or a monitor's, ended",
            _payload({"alert": _TEXT, "severity": _TEXT, "labels": {"type": "object"}}),
        ),
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
    """Raises UnprocessableError that names the fields which break the built-in type's schema."""
    refuse(_validator(event_type).flaws(payload))


def refuse(flaws: tuple[Flaw, ...]) -> None:
    if flaws:
        raise UnprocessableError(flaws)


class Validator:
    """A schema made ready to judge payloads. It fetches nothing and runs in linear time.

    Raises ValueError if the schema is none, or has a regular expression beyond the linear engine
    (lookaround, backreferences, 1 MB compiled). `format` is asserted, for those formats that
    JSON Schema names.
    """

    def __init__(self, schema: dict[str, Any], *, asserts_formats: bool = True) -> None:
        # Loaded with the first event of a type: a reader of events never pays for it.
        import jsonschema_rs  # noqa: PLC0415

        # The default engine backtracks, and a schema comes from a tenant.
        linear = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
        try:
            self._judge = jsonschema_rs.Draft202012Validator(
                schema,
                pattern_options=linear,
                validate_formats=asserts_formats,
                offline=True,
            )
        except jsonschema_rs.ReferencingError as error:
            raise ValueError(str(error)) from error

    def flaws(self, instance: Any, *, at: str = "/payload") -> tuple[Flaw, ...]:
        """What is wrong with it, the first 50 findings; empty if nothing. `at` is its pointer."""
        if self._judge.is_valid(instance):
            return ()
        found = islice(self._judge.iter_errors(instance), MAX_FLAWS)
        return tuple(
            Flaw(
                at + "".join(f"/{escaped(str(step))}" for step in error.instance_path),
                # It quotes the value, which may have 256 KB.
                shorten(error.message),
            )
            for error in found
        )


def shorten(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL // 2]} … {text[-80:]}"


@cache
def _validator(event_type: str) -> Validator:
    return Validator(known(event_type).payload_schema)
