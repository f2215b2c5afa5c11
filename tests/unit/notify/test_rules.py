"""Notification rules (notify/rules.py): what people hear of the CRM's events, and in what words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aetherlink.kernel.tenancy import TenantId
from aetherlink.notify.endpoint import Endpoint
from aetherlink.notify.kinds import Kind
from aetherlink.notify.rules import FIELDS, SHIPPED, Default, Rule, RuleSet, said


def an_event(event_type: str = "lead.status_changed", **payload: Any) -> dict[str, Any]:
    return {"event_type": event_type, "tenant_id": "acme", "payload": payload}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            an_event(lead_id="42", new_status="qualified", actor="bob"),
            "Lead #42 moved to QUALIFIED by bob",
        ),
        (an_event(lead_id="42", new_status="won", actor="bob"), "Lead #42 moved to WON by bob"),
        (
            an_event(lead_id="42", new_status="lost"),
            "[acme] lead.status_changed on lead #42",
        ),
        (
            an_event("lead.created", lead_id=7, name="Zoë", email="zoe@x.example"),
            "[acme] New lead #7: Zoë zoe@x.example",
        ),
        (an_event("lead.assigned", id=7, actor="ann"), "[acme] Lead #7 assigned by ann"),
        (an_event("lead.note_added", lead_id=7), None),
    ],
)
def test_what_the_shipped_rules_say(event: dict[str, Any], message: str | None) -> None:
    assert SHIPPED.message(event) == message


def test_fields_are_found_flat_or_in_the_payload_whatever_the_case() -> None:
    flat = {"event_type": "lead.status_changed", "lead_id": 1, "new_status": "QUALIFIED"}

    assert SHIPPED.message(flat) == "Lead #1 moved to QUALIFIED by -"


def test_the_first_rule_that_fits_decides() -> None:
    rules = RuleSet(
        rules=[
            Rule(match={"event_type": "lead.*", "tag": "[vip]"}, template="VIP {lead_id}"),
            Rule(match={"event_type": "lead.*"}, notify=False),
        ],
        default=Default(notify=True),
    )

    assert rules.message(an_event(lead_id=1, tag="[vip]")) == "VIP 1"
    assert rules.message(an_event(lead_id=1, tag="v")) is None
    assert rules.message(an_event("deal.won")) == "[acme] deal.won on lead #-"


@pytest.mark.parametrize(
    ("wanted", "given", "fits"),
    [(True, True, True), (True, 1, False), (1, True, False), (3, 3, True), ("3", 3, False)],
)
def test_a_value_is_what_it_is(wanted: Any, given: Any, fits: bool) -> None:
    assert Rule(match={"x": wanted}).fits({"payload": {"x": given}}) is fits


def test_a_channel_is_an_endpoints_name_id_or_kind() -> None:
    endpoint = Endpoint("e1", "https://x.example", TenantId("acme"), name="sales", kind=Kind.SLACK)

    reached = [
        Rule(match={"x": 1}, channel=channel).reaches(endpoint)
        for channel in ("e1", "sales", "slack", "teams")
    ]
    assert reached == [True, True, True, False]


@pytest.mark.parametrize("template", ["{lead}", "{}", "{lead_id.__class__}", "{0}"])
def test_a_template_that_names_what_there_is_not_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="there are"):
        Rule(match={"x": 1}, template=template)


@given(st.dictionaries(st.sampled_from(FIELDS), st.text() | st.integers() | st.none()))
def test_a_message_is_one_line_of_bounded_length(payload: dict[str, Any]) -> None:
    event = {"event_type": "lead.created", "tenant_id": "acme", "payload": payload}
    text = said(" ".join(f"{{{name}}}" for name in FIELDS), event)

    assert len(text) <= 1_000
    assert text.isprintable()
