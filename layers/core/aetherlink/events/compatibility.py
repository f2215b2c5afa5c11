"""Whether a changed JSON Schema (2020-12) still takes what the earlier one took. Pure.

Fields that a schema does not name are promised to nobody (an open content model): payloads are
taken to hold only what their schema declares, so that naming a new optional property breaks none of
them, and neither does forgetting one. Where a schema does say something of the others
(`additionalProperties`, `patternProperties`), it is held to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Schema = dict[str, Any] | bool


class Compatibility(StrEnum):
    BACKWARD = "BACKWARD"
    """What was valid stays valid: producers of the earlier version go on undisturbed."""
    FULL = "FULL"
    """And what is valid now was valid before: consumers of the earlier version do, too."""
    NONE = "NONE"


@dataclass(frozen=True)
class Break:
    """Where and why two versions part: a pointer into the new schema, or into the old one where
    something is gone."""

    pointer: str
    reason: str


ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "$comment", "deprecated", "readOnly",
     "writeOnly"}
)  # fmt: skip

# Keywords with a schema, a list of schemas, or an object of schemas by name.
_ONE: Final = frozenset(
    {"additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
     "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"}
)  # fmt: skip
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED: Final = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
REFERENCES: Final = ("$ref", "$dynamicRef")

# What is judged keyword by keyword; any other keyword must stay as it is.
_LOWER: Final = {"minLength": "string", "minItems": "array", "minProperties": "object"}
_UPPER: Final = {"maxLength": "string", "maxItems": "array", "maxProperties": "object"}
_JUDGED: Final = frozenset(
    {"type", "enum", "const", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum",
     "multipleOf", "pattern", "format", "uniqueItems", "required", "properties",
     "patternProperties", "additionalProperties", "propertyNames", "items", "prefixItems",
     *_LOWER, *_UPPER}
)  # fmt: skip
# These say nothing themselves: definitions count where they are referred to.
_SILENT: Final = frozenset({"$schema", "$id", "$anchor", "$dynamicAnchor", "$defs", "definitions"})
_UNEVALUATED: Final = ("unevaluatedProperties", "unevaluatedItems")
_KINDS: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def breaks(old: Schema, new: Schema, mode: Compatibility) -> list[Break]:
    """What a change breaks; empty if nothing. A keyword whose effect cannot be judged counts as a
    break as soon as it changes at all."""
    if mode is Compatibility.NONE:
        return []
    found = list(_Comparison(old, new).breaks())
    if mode is Compatibility.FULL:
        found += _Comparison(new, old, is_reversed=True).breaks()
    return list(dict.fromkeys(found))


def parts(schema: Schema, pointer: str = "") -> Iterator[tuple[str, Schema]]:
    """The schema and every schema inside it, each with its pointer."""
    yield pointer, schema
    for step, inner in children(schema):
        yield from parts(inner, pointer + step)


def children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas directly inside, by relative pointer. Data such as `enum` holds none."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _ONE:
            inside: Iterable[tuple[str, Any]] = [("", value)]
        elif keyword in _LIST and isinstance(value, list):
            inside = ((f"/{index}", inner) for index, inner in enumerate(value))
        elif keyword in _NAMED and isinstance(value, dict):
            inside = ((f"/{escaped(name)}", inner) for name, inner in value.items())
        else:
            continue
        for step, inner in inside:
            if isinstance(inner, (dict, bool)):
                yield f"/{escaped(keyword)}{step}", inner


def targets(schema: Schema) -> dict[str, tuple[str, Schema]]:
    """Where each reference can lead inside the document: its text, the pointer, and the schema."""
    found: dict[str, tuple[str, Schema]] = {}
    for pointer, inner in parts(schema):
        found[f"#{pointer}"] = (pointer, inner)
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(inner, dict) and isinstance(inner.get(keyword), str):
                found[f"#{inner[keyword]}"] = (pointer, inner)
    return found


def references(schema: Schema) -> Iterator[str]:
    """The references that stand in this very schema, spelt as `targets` spells them."""
    if isinstance(schema, dict):
        yield from (unquote(schema[k]) for k in REFERENCES if isinstance(schema.get(k), str))


def escaped(name: str) -> str:
    """`name` as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def canonical(value: Any) -> str:
    """One spelling for equal JSON: 1 and 1.0 are the same number, and true is none."""
    return json.dumps(_normal(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class _Comparison:
    """Whether what `loose` takes is taken by `strict`. Reversed, `loose` is the newer one."""

    def __init__(self, loose: Schema, strict: Schema, *, is_reversed: bool = False) -> None:
        self._loose = loose
        self._strict = strict
        self._is_reversed = is_reversed

    def breaks(self) -> Iterator[Break]:
        yield from self._schemas("", self._loose, self._strict)
        # The same reference leads to the same place in both; what is there is compared once, here,
        # wherever it is referred to from.
        before, after = targets(self._loose), targets(self._strict)
        shared = _every_reference(self._loose) & _every_reference(self._strict)
        must_stay = _refers_unjudged(self._loose) or _refers_unjudged(self._strict)
        for name in sorted(shared):
            if name not in before or name not in after:
                yield Break("", f"the reference {name} leads nowhere")
                continue
            pointer, loose, strict = after[name][0], before[name][1], after[name][1]
            if must_stay and _bare(loose) != _bare(strict):
                reason = "changed, and is referred to where the effect cannot be judged"
                yield Break(pointer, reason)
            elif pointer:
                yield from self._schemas(pointer, loose, strict)

    def _schemas(self, at: str, loose: Schema, strict: Schema) -> Iterator[Break]:
        if _is_trivial(strict) or loose is False:
            return
        if strict is False:
            yield Break(at, self._said("takes nothing now", "took nothing before"))
            return
        before = {} if loose is True else loose
        after = {} if strict is True else strict
        if any(keyword in side for keyword in _UNEVALUATED for side in (before, after)):
            # It depends on every keyword beside it.
            if _bare(before) != _bare(after):
                yield Break(at, "changed beside an unevaluated…, whose effect cannot be judged")
            return
        yield from self._unjudged(at, before, after)
        yield from self._types(at, before, after)
        yield from self._values(at, before, after)
        kinds = _kinds(before)
        for kind, judge in (
            ("number", self._numbers),
            ("string", self._texts),
            ("array", self._arrays),
            ("object", self._objects),
        ):
            if kind in kinds or (kind == "number" and "integer" in kinds):
                yield from judge(at, before, after)

    def _unjudged(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        for keyword in sorted((before.keys() | after.keys()) - _JUDGED - _SILENT - ANNOTATIONS):
            was, now = _bare_keyword(before, keyword), _bare_keyword(after, keyword)
            if was != now and not keyword.startswith("x-"):
                verb = _verb(is_old=keyword in before, is_new=keyword in after)
                if self._is_reversed:
                    verb = _verb(is_old=keyword in after, is_new=keyword in before)
                reason = f"{keyword} {verb}, and its effect cannot be judged"
                yield Break(f"{at}/{escaped(keyword)}", reason)

    def _types(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        lost = _kinds(before) - _kinds(after)
        if lost:
            yield self._differ(f"{at}/type", "type", before.get("type"), after.get("type"))

    def _values(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        had, has = _listed(before), _listed(after)
        if has is None:
            return
        keyword = "const" if "const" in after else "enum"
        if had is None:
            yield self._differ(f"{at}/{keyword}", keyword, None, after[keyword])
            return
        lost = sorted(had - has)
        if lost:
            change = self._said("no longer allowed", "newly allowed")
            yield Break(f"{at}/{keyword}", f"{', '.join(lost)[:120]} {change}")

    def _numbers(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        for keyword, rival, sign in (
            ("minimum", "exclusiveMinimum", 1),
            ("exclusiveMinimum", "minimum", 1),
            ("maximum", "exclusiveMaximum", -1),
            ("exclusiveMaximum", "maximum", -1),
        ):
            if keyword not in after:
                continue
            bound = sign * after[keyword]
            same = keyword in before and sign * before[keyword] >= bound
            # minimum 5 keeps out 4, exclusiveMinimum 4 keeps out 4; exclusiveMinimum 5 keeps out 5.
            other = rival in before and (
                sign * before[rival] > bound
                or (sign * before[rival] == bound and rival.startswith("exclusive"))
            )
            if not same and not other:
                yield self._differ(f"{at}/{keyword}", keyword, before.get(keyword), after[keyword])
        step, earlier = after.get("multipleOf"), before.get("multipleOf")
        if step is not None and not _divides(step, earlier):
            yield self._differ(f"{at}/multipleOf", "multipleOf", earlier, step)

    def _texts(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        yield from self._counts(at, "string", before, after)
        for keyword in ("pattern", "format"):
            if keyword in after and before.get(keyword) != after[keyword]:
                was = before.get(keyword)
                yield self._differ(f"{at}/{keyword}", keyword, was, after[keyword])

    def _arrays(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        yield from self._counts(at, "array", before, after)
        if after.get("uniqueItems") and not before.get("uniqueItems"):
            was, now = before.get("uniqueItems"), after["uniqueItems"]
            yield self._differ(f"{at}/uniqueItems", "uniqueItems", was, now)
        first, then = before.get("prefixItems", []), after.get("prefixItems", [])
        rest, following = before.get("items", True), after.get("items", True)
        for index in range(max(len(first), len(then))):
            loose = first[index] if index < len(first) else rest
            strict = then[index] if index < len(then) else following
            place = f"{at}/prefixItems/{index}"
            yield from self._schemas(place, loose, strict)
        yield from self._schemas(f"{at}/items", rest, following)

    def _objects(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        yield from self._counts(at, "object", before, after)
        for name in after.get("required", []):
            if name not in before.get("required", []):
                change = self._said("is required now", "is required no longer")
                yield Break(f"{at}/required", f"'{name}' {change}")
        names = before.get("propertyNames", True), after.get("propertyNames", True)
        yield from self._schemas(f"{at}/propertyNames", *names)
        yield from self._properties(at, before, after)
        yield from self._patterns(at, before, after)
        others = before.get("additionalProperties", True), after.get("additionalProperties", True)
        yield from self._schemas(f"{at}/additionalProperties", *others)

    def _properties(
        self, at: str, before: dict[str, Any], after: dict[str, Any]
    ) -> Iterator[Break]:
        first, then = before.get("properties", {}), after.get("properties", {})
        patterns: dict[str, Schema] = before.get("patternProperties", {})
        for name in dict.fromkeys((*first, *then)):
            place = f"{at}/properties/{escaped(name)}"
            if name in first and name in then:
                yield from self._schemas(place, first[name], then[name])
            elif name in first:
                # It falls to what is said of the others, or to a pattern that was there already.
                others = after.get("additionalProperties", True)
                yield from self._schemas(place, first[name], others)
            else:
                # It was among the others. Nothing said of them: nobody was promised to send it.
                others = before.get("additionalProperties", True)
                for loose in (others, *patterns.values()):
                    if not _is_trivial(loose):
                        yield from self._schemas(place, loose, then[name])

    def _patterns(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Break]:
        first, then = before.get("patternProperties", {}), after.get("patternProperties", {})
        others = after.get("additionalProperties", True)
        for name in dict.fromkeys((*first, *then)):
            place = f"{at}/patternProperties/{escaped(name)}"
            if name in first:
                yield from self._schemas(place, first[name], then.get(name, others))
            elif not _is_trivial(then[name]):
                change = self._said("was added", "was removed")
                yield Break(place, f"the pattern {change}, and which names it takes is not judged")

    def _counts(
        self, at: str, kind: str, before: dict[str, Any], after: dict[str, Any]
    ) -> Iterator[Break]:
        for keyword in (name for name, of in _LOWER.items() if of == kind):
            if after.get(keyword, 0) > before.get(keyword, 0):
                was = before.get(keyword)
                yield self._differ(f"{at}/{keyword}", keyword, was, after[keyword])
        for keyword in (name for name, of in _UPPER.items() if of == kind):
            if keyword in after and before.get(keyword, float("inf")) > after[keyword]:
                was = before.get(keyword)
                yield self._differ(f"{at}/{keyword}", keyword, was, after[keyword])

    def _differ(self, pointer: str, keyword: str, loose: Any, strict: Any) -> Break:
        was, now = (strict, loose) if self._is_reversed else (loose, strict)
        return Break(pointer, f"{keyword} is {_shown(now)}, was {_shown(was)}")

    def _said(self, forward: str, backward: str) -> str:
        return backward if self._is_reversed else forward


def _kinds(schema: dict[str, Any]) -> frozenset[str]:
    """The types that a schema takes; whoever takes numbers takes integers."""
    given = schema.get("type", _KINDS)
    named = {given} if isinstance(given, str) else set(given)
    return frozenset(named | {"integer"} if "number" in named else named)


def _listed(schema: dict[str, Any]) -> frozenset[str] | None:
    """The values that `enum` and `const` leave, as canonical JSON; None if they do not limit them."""
    found = [frozenset(map(canonical, schema["enum"]))] if "enum" in schema else []
    if "const" in schema:
        found.append(frozenset({canonical(schema["const"])}))
    return frozenset.intersection(*found) if found else None


def _divides(step: float, earlier: float | None) -> bool:
    """Whether every multiple of `earlier` is one of `step`; fractions only where they are equal."""
    if earlier is None or step == earlier:
        return step == earlier
    whole = float(step).is_integer() and float(earlier).is_integer()
    return whole and int(earlier) % int(step) == 0


def _is_trivial(schema: Schema) -> bool:
    """Takes everything."""
    if isinstance(schema, bool):
        return schema
    return all(k in ANNOTATIONS or k in _SILENT or k.startswith("x-") for k in schema)


def _every_reference(schema: Schema) -> set[str]:
    return {name for _, inner in parts(schema) for name in references(inner)}


def _refers_unjudged(schema: Schema) -> bool:
    """Whether a reference stands inside a keyword whose effect cannot be judged: there, a target
    that takes more may make the whole take less (`not`, `oneOf`)."""
    if not isinstance(schema, dict):
        return False
    if any(keyword in schema for keyword in _UNEVALUATED):
        return bool(_every_reference(schema))
    for step, inner in children(schema):
        keyword = step.split("/")[1]
        is_judged = keyword in _JUDGED or keyword in _SILENT
        if _refers_unjudged(inner) if is_judged else _every_reference(inner):
            return True
    return False


def _bare(schema: Schema) -> str:
    """The schema without its annotations, as text to compare."""
    return canonical(_without_annotations(schema))


def _bare_keyword(schema: dict[str, Any], keyword: str) -> str:
    return _bare({keyword: schema[keyword]}) if keyword in schema else ""


def _without_annotations(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ANNOTATIONS:
            continue
        if keyword in _ONE:
            bare[keyword] = _without_annotations(value)
        elif keyword in _LIST:
            bare[keyword] = [_without_annotations(inner) for inner in value]
        elif keyword in _NAMED:
            bare[keyword] = {name: _without_annotations(inner) for name, inner in value.items()}
        else:
            bare[keyword] = value
    return bare


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_normal(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _normal(inner) for name, inner in value.items()}
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return json.dumps(value, ensure_ascii=False)[:80]


def _verb(*, is_old: bool, is_new: bool) -> str:
    if is_old and is_new:
        return "changed"
    return "was added" if is_new else "was removed"
