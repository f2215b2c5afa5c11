"""What a change of a schema breaks, case by case and over random pairs."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from aetherlink.events.compatibility import Break, Compatibility, Schema, breaks, canonical

BACKWARD, FULL = Compatibility.BACKWARD, Compatibility.FULL


def pointers(old: Schema, new: Schema, mode: Compatibility = BACKWARD) -> list[str]:
    return [found.pointer for found in breaks(old, new, mode)]


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (of(a=TEXT), of(a=TEXT, b={"type": "integer"})),
        (of(a=TEXT, b=TEXT), of(a=TEXT)),
        ({**of(a=TEXT), "required": ["a"]}, of(a=TEXT)),
        (of(a={"type": "integer"}), of(a={"type": "number"})),
        (of(a=TEXT), of(a={"type": ["string", "null"]})),
        (of(a=TEXT), of(a=True)),
        (of(a=False), of(a=TEXT)),
        (of(a=TEXT), of(a={"description": "said", "title": "A", "default": "x"} | TEXT)),
        (of(a={"enum": ["x"]}), of(a={"enum": ["y", "x"]})),
        (of(a={"const": 1}), of(a={"enum": [1.0, 2]})),
        (of(a={"enum": ["x"]}), of(a={})),
        (of(a={"minimum": 5}), of(a={"minimum": 3})),
        (of(a={"exclusiveMinimum": 5}), of(a={"minimum": 5})),
        (of(a={"minimum": 6}), of(a={"exclusiveMinimum": 5})),
        (of(a={"maximum": 5}), of(a={"exclusiveMaximum": 6})),
        (of(a={"multipleOf": 6}), of(a={"multipleOf": 3})),
        (of(a={"minLength": 2, "maxLength": 3}), of(a={"minLength": 1, "maxLength": 4})),
        (of(a={"pattern": "^x"}), of(a={})),
        (of(a={"type": "string"}), of(a={"type": ["string", "integer"], "minimum": 4})),
        ({**of(), "additionalProperties": False}, of(a=TEXT)),
        ({**of(), "additionalProperties": False}, {**of(a=TEXT), "additionalProperties": False}),
        ({**of(), "additionalProperties": TEXT}, {**of(a=TEXT), "additionalProperties": TEXT}),
        (of(a={"items": {"type": "integer"}}), of(a={"items": {"type": "number"}})),
        (of(a={"anyOf": [TEXT]}), of(a={"anyOf": [TEXT | {"description": "x"}]})),
        (of(a={"x-owner": 1}), of(a={"x-owner": 2})),
        (of(title=TEXT), of(title=TEXT, default=TEXT)),
    ],
)
def test_widening_breaks_nothing(old: Schema, new: Schema) -> None:
    assert breaks(old, new, BACKWARD) == []


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        (of(a=TEXT), {**of(a=TEXT), "required": ["a"]}, "/required"),
        (of(a=TEXT), of(a={"type": "integer"}), "/properties/a/type"),
        (of(a={}), of(a=TEXT), "/properties/a/type"),
        (of(a={"type": "number"}), of(a={"type": "integer"}), "/properties/a/type"),
        (of(a={"enum": ["x", "y"]}), of(a={"enum": ["x"]}), "/properties/a/enum"),
        (of(a={"enum": [1]}), of(a={"enum": [True]}), "/properties/a/enum"),
        (of(a={}), of(a={"enum": ["x"]}), "/properties/a/enum"),
        (of(a={}), of(a={"const": 1}), "/properties/a/const"),
        (of(a={"minimum": 3}), of(a={"minimum": 5}), "/properties/a/minimum"),
        (of(a={"minimum": 5}), of(a={"exclusiveMinimum": 5}), "/properties/a/exclusiveMinimum"),
        (of(a={"maximum": 5}), of(a={"maximum": 4}), "/properties/a/maximum"),
        (of(a={}), of(a={"multipleOf": 2}), "/properties/a/multipleOf"),
        (of(a={"multipleOf": 0.1}), of(a={"multipleOf": 0.05}), "/properties/a/multipleOf"),
        (of(a=TEXT), of(a=TEXT | {"minLength": 1}), "/properties/a/minLength"),
        (of(a=TEXT), of(a=TEXT | {"maxLength": 1}), "/properties/a/maxLength"),
        (of(a={"pattern": "^x"}), of(a={"pattern": "x"}), "/properties/a/pattern"),
        (of(a={}), of(a={"format": "email"}), "/properties/a/format"),
        (of(a={}), of(a={"uniqueItems": True}), "/properties/a/uniqueItems"),
        (of(a={}), of(a=False), "/properties/a"),
        (of(), {**of(), "additionalProperties": False}, "/additionalProperties"),
        (of(a=TEXT), {**of(), "additionalProperties": False}, "/additionalProperties"),
        ({**of(), "additionalProperties": TEXT}, of(a={"type": "null"}), "/properties/a/type"),
        ({**of(), "patternProperties": {"^a": TEXT}}, of(a={"type": "null"}),
         "/properties/a/type"),
        (of(), {**of(), "patternProperties": {"a/b~": TEXT}}, "/patternProperties/a~1b~0"),
        (of(**{"a/b~c": TEXT}), of(**{"a/b~c": {"type": "null"}}), "/properties/a~1b~0c/type"),
        (of(a={"items": {}}), of(a={"items": TEXT}), "/properties/a/items/type"),
        (of(a={"prefixItems": [{}]}), of(a={"prefixItems": [TEXT]}),
         "/properties/a/prefixItems/0/type"),
        (of(a={}), of(a={"not": TEXT}), "/properties/a/not"),
        (of(a={"oneOf": [TEXT]} | TEXT), of(a=TEXT), "/properties/a/oneOf"),
        (of(a={}), of(a={"$ref": "#/$defs/x"}), "/properties/a/$ref"),
        (of(a={}), of(a={"unheardOf": 1}), "/properties/a/unheardOf"),
        (of(a=TEXT), {**of(a=TEXT), "unevaluatedProperties": False}, ""),
    ],
)  # fmt: skip
def test_narrowing_is_a_break_with_its_place(old: Schema, new: Schema, pointer: str) -> None:
    assert pointer in pointers(old, new)


def test_a_break_says_what_is_and_what_was() -> None:
    old, new = of(a={"minimum": 3}), {**of(a={"minimum": 5}), "required": ["a"]}

    assert breaks(old, new, BACKWARD) == [
        Break("/required", "'a' is required now"),
        Break("/properties/a/minimum", "minimum is 5, was 3"),
    ]
    assert breaks(new, old, FULL) == [
        Break("/required", "'a' is required no longer"),
        Break("/properties/a/minimum", "minimum is 3, was 5"),
    ]


def with_definition(definition: Schema, **rest: Any) -> dict[str, Any]:
    return {**of(a={"$ref": "#/$defs/x"}), "$defs": {"x": definition}, **rest}


def test_what_is_referred_to_is_compared_where_it_stands() -> None:
    old, new = with_definition({"type": "number"}), with_definition({"type": "integer"})

    assert pointers(old, new) == ["/$defs/x/type"]
    assert pointers(new, old) == []


def test_what_nothing_refers_to_does_not_matter() -> None:
    assert breaks({"$defs": {"x": TEXT}}, {"$defs": {"x": False, "y": {}}}, FULL) == []


def test_a_definition_may_not_even_widen_where_a_not_refers_to_it() -> None:
    old = with_definition({"type": "integer"}, **{"not": {"$ref": "#/$defs/x"}})
    new = with_definition({"type": "number"}, **{"not": {"$ref": "#/$defs/x"}})

    assert pointers(old, new) == ["/$defs/x"]


def test_full_holds_in_both_directions() -> None:
    assert pointers(of(a=TEXT), of(a={}), FULL) == ["/properties/a/type"]
    assert pointers(of(a={"enum": [1]}), of(a={"enum": [1, 2]}), FULL) == ["/properties/a/enum"]


def test_full_lets_optional_properties_come_and_go() -> None:
    assert breaks(of(a=TEXT), of(b=TEXT), FULL) == []


def test_none_judges_nothing() -> None:
    assert breaks(of(a=TEXT), False, Compatibility.NONE) == []


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1})])
def test_equal_json_has_one_spelling(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)


def test_true_is_not_the_number_one() -> None:
    assert canonical(True) != canonical(1)


# ---- random pairs: what is judged compatible does take the other's payloads

NAMES = ("a", "b", "z")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 4, 6, 1.5, -1, "", "a", "ab", "abc", [], [1], [1, 1], ["a"],
    [1, "a", None], {}, {"a": 1}, {"b": "ab"}, {"a": "a", "b": 2},
)  # fmt: skip
COUNTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
SMALL = st.integers(0, 4)
KINDS = st.sampled_from(["string", "integer", "number", "object", "array", "null", "boolean"])


def _leaves() -> st.SearchStrategy[Any]:
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
        "enum": st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique_by=canonical),
        "const": st.sampled_from(VALUES),
        "pattern": st.sampled_from(["a", "^b"]),
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        "uniqueItems": st.booleans(),
        **dict.fromkeys(COUNTS, SMALL),
    }
    some = st.fixed_dictionaries({}, optional=keywords).filter(lambda made: len(made) <= 3)
    return st.booleans() | st.sampled_from([{}, {"type": "number"}]) | some


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS,
            "properties": named,
            "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["a", "^b", "z"]), inner,
                                                 max_size=2),
            "propertyNames": st.sampled_from([True, {"maxLength": 1}, {"pattern": "a"}]),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
        },
    )  # fmt: skip


SCHEMAS = st.recursive(_leaves(), _around, max_leaves=5)


def _referring(old: Any, new: Any, place: str) -> tuple[Any, Any]:
    """The pair behind a reference each."""
    around: dict[str, Any] = {"properties": {"a": {"$ref": "#/$defs/x"}}}
    if place == "not":
        around = {"not": {"$ref": "#/$defs/x"}}
    return {**around, "$defs": {"x": old}}, {**around, "$defs": {"x": new}}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """An old schema and a new one: made from it by a few changes, or anything."""
    old = draw(SCHEMAS)
    new = draw(st.one_of(SCHEMAS, st.just(old)))
    for _ in range(draw(st.integers(0, 3))):
        new = _changed(draw, new)
    place = draw(st.sampled_from(["", "", "property", "not"]))
    return _referring(old, new, place) if place else (old, new)


def _changed(draw: st.DrawFn, schema: Any) -> Any:
    if not isinstance(schema, dict) or draw(st.integers(0, 5)) == 0:
        return draw(SCHEMAS)
    other = draw(SCHEMAS)
    keyword = draw(st.sampled_from(sorted(schema) or ["type"]))
    inner = schema.get(keyword)
    if draw(st.booleans()):
        return {name: value for name, value in schema.items() if name != keyword}
    if keyword in ("properties", "patternProperties") and inner:
        name = draw(st.sampled_from(sorted(inner)))
        return {**schema, keyword: {**inner, name: _changed(draw, inner[name])}}
    if keyword in ("items", "additionalProperties"):
        return {**schema, keyword: _changed(draw, inner)}
    if isinstance(inner, int) and not isinstance(inner, bool):
        return {**schema, keyword: max(1, inner + draw(st.integers(-2, 2)))}
    return {**schema, **other} if isinstance(other, dict) else schema


SOME: tuple[Any, ...] = (None, 1, 2, 3, 1.5, "", "a", "ab", [], [1], {"a": 1})
PAYLOADS: tuple[Any, ...] = (
    *VALUES,
    *({name: value} for name in NAMES for value in VALUES),
    *({"a": one, "b": other} for one in SOME for other in SOME),
    *({"a": {name: value}} for name in NAMES for value in SOME),
    *([one] for one in VALUES),
    *([one, other] for one in SOME for other in SOME),
    *({"a": [one, other]} for one in (1, "a") for other in SOME),
)


def _lost(before: Any, after: Any) -> list[Any]:
    """What was taken and is not any more, of payloads that hold declared fields alone."""
    earlier, later = (jsonschema_rs.Draft202012Validator(schema) for schema in (before, after))
    return [
        payload
        for payload in PAYLOADS
        if earlier.is_valid(payload)
        and not later.is_valid(payload)
        and _declared(payload, before, before)
    ]


def _declared(value: Any, schema: Any, root: Any) -> bool:
    """Whether every object in it keeps to the fields that its schema declares, or says something of."""
    while isinstance(schema, dict) and "$ref" in schema:
        schema = root["$defs"]["x"]
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        return all(
            _declared(v, first[i] if i < len(first) else rest, root) for i, v in enumerate(value)
        )
    if not isinstance(value, dict):
        return True
    properties = schema.get("properties", {})
    for name, inner in value.items():
        said = schema.get("additionalProperties", True)
        if name not in properties and said in (True, {}):
            return False
        if not _declared(inner, properties.get(name, said), root):
            return False
    return True


MANY = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@MANY
@given(pairs())
def test_what_is_judged_compatible_takes_what_was_valid(pair: tuple[Any, Any]) -> None:
    old, new = pair
    assume(not breaks(old, new, BACKWARD))

    assert _lost(old, new) == []


@MANY
@given(pairs())
def test_what_is_fully_compatible_was_valid_before(pair: tuple[Any, Any]) -> None:
    old, new = pair
    assume(not breaks(old, new, FULL))

    assert _lost(new, old) == []


@given(SCHEMAS)
def test_a_schema_is_compatible_with_itself(schema: Any) -> None:
    assert breaks(schema, schema, FULL) == []
