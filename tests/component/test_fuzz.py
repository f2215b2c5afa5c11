"""A thousand publishes that nobody thought of: no 5xx, and nothing stored that a schema refuses."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherlink.events.schemas import BUILT_IN
from tests.component.conftest import Stack

OWN_TYPE: dict[str, Any] = {
    "type": "object",
    "required": ["amount", "lines"],
    "properties": {
        "amount": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5},
        "currency": {"enum": ["EUR", "USD"]},
        "lines": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "object", "properties": {"sku": {"type": "string", "maxLength": 4}}},
        },
    },
    "additionalProperties": False,
}

text = st.text(max_size=12) | st.text(st.characters(), max_size=4)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            text | st.sampled_from(["service", "action", "error", "lines", "amount"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
own_payloads = st.fixed_dictionaries(
    {
        "amount": st.sampled_from([0, 0.5, 12, 1.25, -3, "12", None]),
        "lines": st.lists(st.fixed_dictionaries({"sku": text}), max_size=3),
    },
    optional={"currency": st.sampled_from(["EUR", "GBP", 1]), "extra": values},
)
# Close enough to right that many get through, and wrong in every field now and then.
payloads = st.one_of(
    st.dictionaries(st.sampled_from(["service", "reason", "action", "error"]), values, max_size=4),
    st.just({"service": "a", "action": "b", "error": "c"}),
    own_payloads,
    values,
)
envelopes = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(
            [
                *(name for name in BUILT_IN if not name.startswith(("ops.", "security."))),
                *["shop.order.placed"] * 9,
                "no.such.type",
                "ops.alert.raised",
            ]
        ),
        "source": st.sampled_from(["billing", "a/b#c%"]),
        "payload": payloads,
    },
    optional={
        # One field at a time: with all of them wrong, nothing else is ever looked at.
        "severity": st.sampled_from(["info", "ERROR", "fatal"]) | values,
        "timestamp": st.sampled_from(
            ["", "2026-11-23T08:30:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"]
        )
        | values,
        "event_id": text | st.sampled_from(["recent", "x" * 128, "x" * 129]) | values,
        "tenant_id": st.sampled_from(["acme", "system", "-", "a" * 65]) | values,
        "schema_version": st.sampled_from(["1", 1, "v2", "999999999999"]) | values,
        "attributes": values,
        "unknown": values,
    },
)


plain = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["shop.order.placed", "autoheal.failed", "lead.created"]),
        "source": st.just("billing"),
        "payload": payloads,
    }
)
broken = st.builds(
    lambda body, field, value: {**body, field: value},
    plain,
    st.sampled_from(["event_type", "source", "payload", "event_id", "severity", "timestamp"]),
    values,
)


def test_a_thousand_fuzzed_publishes(stack: Stack) -> None:
    defined = stack.call(
        "PUT", "/events/schema/shop.order.placed", roles="admin", tenant="acme", body=OWN_TYPE
    )
    assert defined.status == 200, defined.body
    schemas = {name: known.payload_schema for name, known in BUILT_IN.items()}
    schemas["shop.order.placed"] = OWN_TYPE
    validators = {name: jsonschema_rs.Draft202012Validator(s) for name, s in schemas.items()}
    seen: dict[int, int] = {}

    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(body=st.one_of(plain, envelopes, broken, values))
    def fuzz(body: Any) -> None:
        answer = stack.call("POST", "/events/publish", tenant="acme", body=body)
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status < 500, answer.body
        if answer.status == 200:
            assert validators[body["event_type"]].is_valid(body["payload"])
        else:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert json.dumps(answer.body["detail"])

    fuzz()

    # It can only prove something if both happen.
    assert seen[200] > 20
    assert seen[422] > 100
    for event in stack.recent("acme", limit="200"):
        assert validators[event["event_type"]].is_valid(event["payload"])
