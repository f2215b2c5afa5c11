"""Notification rules: which of the CRM's events people hear of, where, and in what words. Pure.

The first rule that fits decides. What fits none is told in the default words.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, field_validator

from aetherlink.kernel.plain import one_line
from aetherlink.kernel.shape import Given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.notify.endpoint import Endpoint

# The events that rules are about.
PREFIX = "lead."
FIELDS = (
    "tenant_id",
    "event_type",
    "lead_id",
    "name",
    "email",
    "actor",
    "old_status",
    "new_status",
)
MAX_RULES = 100
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What a template says of a field that the event does not have.
_ABSENT = "-"
_MAX_VALUE, _MAX_MESSAGE = 200, 1_000
Scalar = StrictBool | StrictInt | StrictFloat | Annotated[str, Field(max_length=256)]


def _checked(template: str) -> str:
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in FIELDS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise ValueError(f"knows no {{{unknown[0][:40]}}}; there are {known}")
    return template


class Rule(Given):
    """One rule. `match` is field by field, of the event or its payload, whatever the case; `*` in a
    value stands for any text. `channel` is an endpoint's name, id or kind: absent, all that subscribe to
    the event's type."""

    match: dict[Annotated[str, Field(min_length=1, max_length=128)], Scalar] = Field(
        min_length=1, max_length=8
    )
    notify: bool = True
    channel: str | None = Field(default=None, min_length=1, max_length=128)
    template: str | None = Field(default=None, min_length=1, max_length=500)

    @field_validator("template")
    @classmethod
    def _is_known(cls, given: str | None) -> str | None:
        return given and _checked(given)

    def fits(self, event: Mapping[str, Any]) -> bool:
        return all(_is(found(event, name), wanted) for name, wanted in self.match.items())

    def reaches(self, endpoint: Endpoint) -> bool:
        """Whether its channel is this endpoint."""
        return self.channel in (endpoint.id, endpoint.name, str(endpoint.kind))


class Default(Given):
    """What becomes of an event that fits no rule."""

    notify: bool = True
    template: str = Field(
        default="[{tenant_id}] {event_type} on lead #{lead_id}", min_length=1, max_length=500
    )

    @field_validator("template")
    @classmethod
    def _is_known(cls, given: str) -> str:
        return _checked(given)


def _moved(status: str) -> Rule:
    return Rule(
        match={"event_type": "lead.status_changed", "new_status": status},
        template=f"Lead #{{lead_id}} moved to {status.upper()} by {{actor}}",
    )


class RuleSet(Given):
    """The body of PUT /notifications/rules, in the order in which they are asked."""

    rules: list[Rule] = Field(max_length=MAX_RULES)
    default: Default = Field(default=Default())

    def rule_for(self, event: Mapping[str, Any]) -> Rule | None:
        return next((rule for rule in self.rules if rule.fits(event)), None)

    def message(self, event: Mapping[str, Any]) -> str | None:
        """What people are told of the event; None if they are not."""
        rule = self.rule_for(event)
        if not (rule or self.default).notify:
            return None
        return said((rule and rule.template) or self.default.template, event)


SHIPPED = RuleSet(
    rules=[
        _moved("qualified"),
        _moved("won"),
        Rule(
            match={"event_type": "lead.created"},
            template="[{tenant_id}] New lead #{lead_id}: {name} {email}",
        ),
        Rule(
            match={"event_type": "lead.assigned"},
            template="[{tenant_id}] Lead #{lead_id} assigned by {actor}",
        ),
        Rule(match={"event_type": "lead.note_added"}, notify=False),
    ],
)


def found(event: Mapping[str, Any], name: str) -> Any:
    """A field of the event, or of its payload; `id` of a payload is a lead's too."""
    if event.get(name) is not None:
        return event[name]
    payload = event.get("payload")
    given: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
    value = given.get(name)
    return given.get("id") if value is None and name == "lead_id" else value


def said(template: str, event: Mapping[str, Any]) -> str:
    """The template with the event's values, on one line."""

    def value(match: re.Match[str]) -> str:
        given = found(event, match[1])
        return _ABSENT if given in (None, "") else one_line(str(given), _MAX_VALUE)

    return one_line(_PLACEHOLDER.sub(value, template), _MAX_MESSAGE)


def _is(given: Any, wanted: Scalar) -> bool:
    if isinstance(given, str) and isinstance(wanted, str):
        # Brackets are text: in a pattern of fnmatch they would be a choice.
        return fnmatchcase(given.lower(), wanted.lower().replace("[", "[[]"))
    return type(given) is type(wanted) and bool(given == wanted)
