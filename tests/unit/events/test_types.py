"""Tenants' own types over an in-memory store: what may be defined, limits, versions, the cache."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.events.schemas import BUILT_IN, EventType, Validator
from aetherlink.events.types import Catalogue, Taken, Types, own_type, place
from aetherlink.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    TooLargeError,
    UnprocessableError,
)
from aetherlink.kernel.tenancy import SYSTEM, TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME, GLOBEX = TenantId("acme"), TenantId("globex")
ORDER = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
WIDER = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


class Memory:
    """Definitions in a dictionary, with the store's conditions; counts reads."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], list[EventType]] = {}
        self.reads = 0
        self.extra = Taken(0, 0)
        self.races: list[EventType] = []

    def latest(self, tenant_id: TenantId, event_type: str) -> EventType | None:
        self.reads += 1
        kept = self.versions.get((tenant_id, event_type))
        return kept[-1] if kept else None

    def version(self, tenant_id: TenantId, event_type: str, version: int) -> EventType | None:
        self.reads += 1
        kept = self.versions.get((tenant_id, event_type), [])
        return kept[version - 1] if 0 < version <= len(kept) else None

    def following(self, tenant_id: TenantId | None, after: str) -> Iterator[EventType]:
        newest = sorted((kept[-1] for kept in self.versions.values()), key=place)
        return (t for t in newest if tenant_id in (None, t.tenant_id) and place(t) > after)

    def taken(self, tenant_id: TenantId) -> Taken:
        own = sum(owner == tenant_id for owner, _ in self.versions)
        return Taken(own + self.extra.own, len(self.versions) + self.extra.everywhere)

    def add(self, new: EventType, taken: Taken) -> bool:
        return self._put(new, 0)

    def change(self, new: EventType, earlier: EventType) -> bool:
        return self._put(new, earlier.version)

    def _put(self, new: EventType, expected: int) -> bool:
        kept = self.versions.setdefault((str(new.tenant_id), new.event_type), [])
        if self.races:
            kept.append(self.races.pop(0))
        if (kept[-1].version if kept else 0) != expected:
            return False
        kept[new.version - 1 :] = [new]
        return True


class World:
    def __init__(self) -> None:
        self.memory = Memory()
        self.types = Types(self.memory)
        self.now = NOON
        self.catalogue = Catalogue(self.memory, lambda: self.now, size=3)

    def define(self, name: str = "order.placed", schema: Any = ORDER, **given: Any) -> EventType:
        return self.types.define(given.pop("tenant", ACME), name, schema, **given)

    def check(self, payload: Any, version: str | None = None, tenant: TenantId = ACME) -> None:
        self.catalogue.check(tenant, "order.placed", payload, version)


@pytest.fixture
def world() -> World:
    return World()


def flaws(body: Any, name: str = "order.placed") -> dict[str, str]:
    with pytest.raises(UnprocessableError) as caught:
        own_type(name, body)
    return {flaw.pointer: flaw.detail for flaw in caught.value.flaws}


# ---- what a definition may be


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "ü", "a\n", "x" * 129])
def test_a_name_is_plain(name: str) -> None:
    assert list(flaws(ORDER, name)) == ["path/event_type"]


@pytest.mark.parametrize("name", ["ops.x", "security.x", "ops.alert.raised"])
def test_the_platforms_names_are_its_own(name: str) -> None:
    with pytest.raises(ForbiddenError):
        own_type(name, ORDER)


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(ConflictError, match="is built in"):
        own_type("lead.created", ORDER)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({"schema": []}, "/schema"),
        ({"schema": True}, "/schema"),
        ({"schema": {}}, "/schema/type"),
        ({}, "/type"),
        ({"type": "array"}, "/type"),
        ({"type": "objec"}, "/type"),
        ({"schema": ORDER, "compatibility": "SIDEWAYS"}, "/compatibility"),
        ({"schema": ORDER, "compatibility": 1}, "/compatibility"),
        ({"schema": ORDER, "owner": "x"}, "/owner"),
        ({"schema": ORDER, "description": "x" * 1025}, "/description"),
        ({"schema": {"type": "object", "properties": {"a/b": {"minimum": "x"}}}},
         "/schema/properties/a~1b/minimum"),
        ({"type": "object", "properties": {"a": {"type": 1}}}, "/properties/a/type"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
        ({"type": "object", "$schema": "http://169.254.169.254/latest"}, "/$schema"),
        ({"type": "object", "$id": "https://example.com/x"}, "/$id"),
        ({"type": "object", "$ref": "http://169.254.169.254/latest"}, "/$ref"),
        ({"type": "object", "$ref": "other.json"}, "/$ref"),
        ({"type": "object", "$dynamicRef": "file:///etc/passwd#x"}, "/$dynamicRef"),
        ({"type": "object", "anyOf": [{"not": {"$ref": "//x/y"}}]}, "/anyOf/0/not/$ref"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "/properties/a"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, ""),
        ({"type": "object", "properties": {"a": {"pattern": "(?=x)y"}}}, "/properties/a/pattern"),
        ({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}}, "/properties/a/pattern"),
        ({"type": "object", "patternProperties": {"(": {}}}, "/patternProperties/("),
        ({"type": "object", "patternProperties": {f"^{n}": {} for n in range(51)}}, ""),
    ],
)  # fmt: skip
def test_a_definition_that_is_wrong_is_refused_where_it_is(body: Any, pointer: str) -> None:
    assert pointer in flaws(body)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"type": "object", "properties": {"$ref": {"type": "string"}, "$id": {}}},
        {"type": "object", "const": {"$ref": "http://example.com"}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": {}}},
        {"type": "object", "properties": {"a": {"$ref": "#x"}}, "$defs": {"x": {"$anchor": "x"}}},
        {"type": "object", "properties": {"schema": {}}, "x-team": "orders"},
    ],
)
def test_a_sound_definition_is_taken_as_it_is(schema: Any) -> None:
    assert own_type("order.placed", schema).schema == schema


def test_a_schema_may_have_64_kb() -> None:
    around = len('{"description":"","type":"object"}')

    own_type("x", {"type": "object", "description": "x" * (65536 - around)})
    with pytest.raises(TooLargeError):
        own_type("x", {"type": "object", "description": "x" * (65537 - around)})


def test_a_schema_may_be_nested_50_levels_deep() -> None:
    def nested(levels: int) -> Any:
        inner: Any = {}
        for _ in range(levels - 1):
            inner = {"not": inner}
        return {"type": "object", **inner}

    own_type("x", nested(50))
    assert "nested 50 levels" in flaws(nested(51))[""]
    assert "nested 50 levels" in flaws(nested(900))[""]


def test_references_that_double_at_every_step_are_refused() -> None:
    steps: dict[str, Any] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)
    }
    schema = {"type": "object", "$ref": "#/$defs/a0", "$defs": {**steps, "a40": {}}}

    assert "may have 2,000 parts" in flaws(schema)[""]


def test_a_definition_counts_where_it_is_referred_to() -> None:
    steps = {f"a{n}": {"items": {"$ref": f"#/$defs/a{n + 1}"}} for n in range(90)}

    own_type("x", {"type": "object", "$ref": "#/$defs/a0", "$defs": {**steps, "a90": {}}})


def test_a_circle_of_references_is_refused() -> None:
    schema = {
        "type": "object",
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}},
    }

    assert "refers back to itself" in next(iter(flaws(schema).values()))


def test_a_regular_expression_that_hangs_others_takes_no_time() -> None:
    validator = Validator({"properties": {"a": {"pattern": "^(a+)+$"}}})

    assert validator.flaws({"a": "a" * 100_000 + "b"})


def test_findings_are_few_and_short() -> None:
    validator = Validator({"properties": {"a": {"items": {"maxLength": 1}}}})

    found = validator.flaws({"a": ["x" * 1000] * 200})
    assert len(found) == 50
    assert max(len(flaw.detail) for flaw in found) < 300


def test_a_pointer_into_the_payload_is_escaped() -> None:
    validator = Validator({"properties": {"a/b": {"type": "string"}}})

    assert [flaw.pointer for flaw in validator.flaws({"a/b": 1})] == ["/payload/a~1b"]


# ---- versions and compatibility


def test_a_first_definition_is_version_1_and_backward(world: World) -> None:
    made = world.define(schema={"schema": ORDER, "description": "An order"})

    assert made.shown() == {
        "event_type": "order.placed",
        "required": ["event_type", "source", "payload"],
        "description": "An order",
        "version": 1,
        "tenant_id": "acme",
        "compatibility": "BACKWARD",
        "schema": ORDER,
    }


def test_the_same_schema_keeps_its_version(world: World) -> None:
    world.define()
    reordered = dict(reversed(ORDER.items()))

    assert world.define(schema=reordered).version == 1
    assert world.define(schema={"schema": ORDER, "description": "New"}).description == "New"
    assert len(world.memory.versions["acme", "order.placed"]) == 1


def test_a_compatible_change_is_the_next_version(world: World) -> None:
    world.define()

    assert world.define(schema=WIDER).version == 2


def test_an_incompatible_change_is_refused_with_its_place(world: World) -> None:
    world.define(schema=WIDER)

    with pytest.raises(ConflictError, match="Not BACKWARD compatible with version 1 of") as caught:
        world.define()
    assert '/properties/total/type: type is "integer", was "number"' in str(caught.value)


def test_full_refuses_what_backward_lets_pass_and_stays_until_another_is_named(
    world: World,
) -> None:
    world.define(compatibility="full")

    with pytest.raises(ConflictError, match="Not FULL"):
        world.define(schema=WIDER)
    assert world.define(schema=WIDER, compatibility="BACKWARD").version == 2


def test_none_lets_anything_pass_that_once(world: World) -> None:
    world.define(schema=WIDER)

    assert world.define(compatibility="NONE").version == 2
    with pytest.raises(ConflictError, match="Not BACKWARD"):
        world.define(schema={"type": "object", "required": ["other"]})


def test_body_and_query_may_not_disagree(world: World) -> None:
    with pytest.raises(UnprocessableError, match="name one"):
        world.define(schema={"schema": ORDER, "compatibility": "FULL"}, compatibility="NONE")


def test_a_definition_that_lost_a_race_is_judged_again(world: World) -> None:
    world.define()
    rival = world.define(name="other", schema=WIDER).model_copy(
        update={"event_type": "order.placed", "version": 2}
    )
    world.memory.races = [rival]

    described = {**WIDER, "description": "said"}
    assert world.define(schema=described).version == 3


def test_a_definition_that_loses_every_race_is_a_conflict(world: World) -> None:
    first = world.define()
    world.memory.races = [first.model_copy(update={"version": n}) for n in range(2, 12)]

    with pytest.raises(ConflictError, match="at this moment"):
        world.define(schema=WIDER)


# ---- limits


def test_a_tenant_may_have_100_types(world: World) -> None:
    for n in range(100):
        world.define(name=f"t{n}")

    with pytest.raises(ConflictError, match="may have 100 event types"):
        world.define(name="one-more")
    assert world.define(name="t1", schema=WIDER).version == 2
    assert world.define(name="one-more", tenant=GLOBEX).version == 1


def test_all_tenants_may_have_2000_types(world: World) -> None:
    world.memory.extra = Taken(0, 2000)

    with pytest.raises(ConflictError, match="may have 2,000 event types"):
        world.define()


# ---- reading


def test_a_view_lists_its_own_and_the_platforms(world: World) -> None:
    world.define(name="mine")
    world.define(name="theirs", tenant=GLOBEX)
    world.define(name="ours", tenant=SYSTEM)

    def names(view: TenantId | None) -> list[str]:
        shown, cursor = world.types.listed(view)
        assert cursor is None
        return [t.event_type for t in shown[len(BUILT_IN) :]]

    assert names(ACME) == ["mine", "ours"]
    assert names(SYSTEM) == ["ours"]
    assert names(None) == ["mine", "theirs", "ours"]


@pytest.mark.parametrize("view", [ACME, None])
def test_a_list_beyond_an_answer_goes_on(world: World, view: TenantId | None) -> None:
    large = {"type": "object", "description": "x" * 60_000}
    for n in range(60):
        world.define(name=f"t{n}", schema=large)
    for n in range(60):
        world.define(name=f"s{n}", tenant=SYSTEM, schema=large)

    shown, cursor = world.types.listed(view)
    while cursor:
        more, cursor = world.types.listed(view, cursor)
        shown += more
    assert (len(shown), len({t.event_type for t in shown})) == (120 + len(BUILT_IN),) * 2


def test_the_view_over_all_tenants_finds_the_type_of_one(world: World) -> None:
    world.define(tenant=GLOBEX)

    assert world.types.look_up(None, "order.placed").tenant_id == "globex"
    world.define()
    with pytest.raises(ConflictError, match=r"name one with \?tenant_id="):
        world.types.look_up(None, "order.placed")


def test_a_tenants_own_type_comes_before_the_platforms(world: World) -> None:
    world.define(tenant=SYSTEM)
    world.define(schema=WIDER)

    assert world.types.look_up(ACME, "order.placed").payload_schema == WIDER
    assert world.types.look_up(GLOBEX, "order.placed").payload_schema == ORDER


# ---- publishing


def test_a_built_in_type_costs_no_read(world: World) -> None:
    world.catalogue.check(ACME, "lead.created", {}, "anything")

    assert world.memory.reads == 0


def test_an_own_type_costs_one_read_in_half_a_minute(world: World) -> None:
    world.define()
    world.memory.reads = 0

    for seconds in (0, 10, 29):
        world.now = NOON + timedelta(seconds=seconds)
        world.check({"total": 1})
    assert world.memory.reads == 1
    world.now = NOON + timedelta(seconds=30)
    world.check({"total": 1})
    assert world.memory.reads == 2


def test_an_unknown_type_can_be_published_as_soon_as_it_is_defined(world: World) -> None:
    with pytest.raises(InvalidError, match=r"Unknown event_type 'order\.placed'"):
        world.check({"total": 1})

    world.define()
    world.check({"total": 1})


def test_a_type_of_another_tenant_is_unknown(world: World) -> None:
    world.define(tenant=GLOBEX)

    with pytest.raises(InvalidError):
        world.check({"total": 1})


def test_a_type_of_the_platform_is_everybodys(world: World) -> None:
    world.define(tenant=SYSTEM)

    world.check({"total": 1})
    world.check({"total": 1}, tenant=SYSTEM)


def test_what_a_cached_schema_refuses_is_judged_by_the_newest(world: World) -> None:
    world.define()
    world.check({"total": 1})
    world.define(schema=WIDER)

    world.check({"total": 1.5})
    with pytest.raises(UnprocessableError) as caught:
        world.check({"total": "x"})
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/payload/total"]


def test_the_cache_stays_small(world: World) -> None:
    for n in range(5):
        world.define(name=f"t{n}")
        world.catalogue.check(ACME, f"t{n}", {"total": 1})

    assert [key[1] for key in world.catalogue._cached] == ["t2", "t3", "t4"]


@pytest.mark.parametrize("version", ["1", "v1", "V1", "1.0", "1.0.0"])
def test_a_version_is_chosen_by_schema_version(world: World, version: str) -> None:
    world.define()
    world.define(schema=WIDER)

    world.check({"total": 1.5})
    with pytest.raises(UnprocessableError):
        world.check({"total": 1.5}, version)


@pytest.mark.parametrize("version", ["0", "3", "1.1", "latest", "-1", "99999999999999999999"])
def test_a_version_there_is_not_is_refused(world: World, version: str) -> None:
    world.define()
    # The platform's version of the same name is no stand-in for the tenant's own.
    world.define(tenant=SYSTEM)
    for _ in range(3):
        world.define(tenant=SYSTEM, schema=WIDER)

    with pytest.raises(UnprocessableError) as caught:
        world.check({"total": 1}, version)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/schema_version"]
    assert "versions 1 to 1" in caught.value.flaws[0].detail


def test_known_tells_without_a_payload(world: World) -> None:
    world.catalogue.known(ACME, "lead.created")
    with pytest.raises(InvalidError):
        world.catalogue.known(ACME, "order.placed")

    world.define()
    world.catalogue.known(ACME, "order.placed")
