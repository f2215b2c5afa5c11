"""Tenants' own event types: what a definition may be, how it changes, and what publishing asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from aetherlink.events import schemas
from aetherlink.events.compatibility import (
    REFERENCES,
    Break,
    Compatibility,
    Schema,
    breaks,
    canonical,
    children,
    escaped,
    parts,
    references,
    targets,
)
from aetherlink.events.model import MAX_TYPE, is_from_platform
from aetherlink.events.schemas import EventType, Validator, refuse, shorten
from aetherlink.events.stops import stop_in
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnprocessableError,
)
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import DEFAULT, SYSTEM, TENANT_PATTERN, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from aetherlink.kernel.trail import Trail

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MAX_DESCRIPTION: Final = 1024

# What bounds the work of publishing: a payload's size times the schemas applied to it.
MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_NESTING: Final = 50
MAX_PARTS: Final = 2000
MAX_CHAIN: Final = 200
MAX_PATTERNS: Final = 50

MAX_OWN_TYPES: Final = 100
MAX_ALL_TYPES: Final = 2000
_ATTEMPTS: Final = 5
_NAMED_BREAKS: Final = 3
# An answer may have 4 MB in all.
_LIST_BYTES: Final = 3_000_000

CACHE_LIFETIME: Final = timedelta(seconds=30)
CACHE_SIZE: Final = 500
_VERSION: Final = re.compile(r"[vV]?([0-9]{1,9})(?:\.0+)*", re.ASCII)


# ---------------------------------------------------------------- what a definition may be


@dataclass(frozen=True)
class Draft:
    """A definition as it was sent, found sound. None as compatibility: it was left open."""

    event_type: str
    schema: dict[str, Any]
    description: str
    compatibility: Compatibility | None


def own_type(event_type: str, body: Any) -> Draft:
    """The definition in a request body: `{"schema", "compatibility"?, "description"?}`, or the bare
    JSON Schema. (A schema has a `type` at its root, which the wrapper has not.)

    Raises ForbiddenError for the platform's names, ConflictError for a built-in one, TooLargeError
    over 64 KB, and UnprocessableError naming what else is wrong.
    """
    _check_name(event_type)
    if not isinstance(body, dict):
        raise UnprocessableError((Flaw("", "must be a JSON object, a schema"),))
    if "schema" not in body or "type" in body:
        _check_schema(body, at="")
        return Draft(event_type, body, str(body.get("description") or ""), None)
    refuse(tuple(_wrapper_flaws(body)))
    schema = body["schema"]
    _check_schema(schema, at="/schema")
    mode = body.get("compatibility")
    description = body.get("description") or schema.get("description") or ""
    return Draft(event_type, schema, description, parse_compatibility(mode, "/compatibility"))


def parse_compatibility(given: Any, pointer: str) -> Compatibility | None:
    """The mode, whatever its case; None if it is absent or empty."""
    if given is None or given == "":
        return None
    if not isinstance(given, str) or given.upper() not in Compatibility.__members__:
        detail = f"must be BACKWARD, FULL or NONE, got {str(given)[:60]!r}"
        raise UnprocessableError((Flaw(pointer, detail),))
    return Compatibility(given.upper())


# An EventSource dispatches these itself, and the stream's own word is among them.
STREAM_WORDS = frozenset({"error", "gap", "message", "open"})


def _check_name(event_type: str) -> None:
    if not NAME.fullmatch(event_type):
        detail = (
            "an event type has 1 to 128 letters, digits, '_', '.' or '-' and starts with a letter "
            f"or digit, got {event_type[:140]!r}"
        )
        raise UnprocessableError((Flaw("path/event_type", detail),))
    if event_type in STREAM_WORDS:
        detail = f"'{event_type}' is what a live stream itself says; name the type otherwise"
        raise UnprocessableError((Flaw("path/event_type", detail),))
    if event_type in schemas.BUILT_IN and not is_from_platform(event_type):
        raise ConflictError(f"The event type '{event_type}' is built in")
    if is_from_platform(event_type):
        raise ForbiddenError(
            f"{event_type} belongs to the platform, as all of ops.* and security.* does; choose "
            "another prefix"
        )


def _wrapper_flaws(body: dict[str, Any]) -> Iterator[Flaw]:
    for name in body.keys() - {"schema", "compatibility", "description"}:
        yield Flaw(f"/{escaped(name)}", "is none of schema, compatibility, description")
    if not isinstance(body["schema"], dict):
        yield Flaw("/schema", "must be a JSON object, a schema")
    described = body.get("description")
    if described is not None and not isinstance(described, str):
        yield Flaw("/description", "must be text")
    elif described and len(described) > MAX_DESCRIPTION:
        yield Flaw("/description", f"may have {MAX_DESCRIPTION} characters, got {len(described)}")


def _check_schema(schema: dict[str, Any], *, at: str) -> None:
    """Raises what is wrong with a schema. In this order: each check relies on those before it."""
    if _is_too_deep(schema):
        refuse((Flaw(at, f"may be nested {MAX_NESTING} levels deep"),))
    size = len(canonical(schema).encode())
    if size > MAX_SCHEMA_BYTES:
        raise TooLargeError(f"A schema may have {MAX_SCHEMA_BYTES:,} bytes (64 KB), got {size:,}")
    # Before anything of the library sees it: told another dialect, it would go and fetch that.
    refuse(tuple(_foreign(schema, at)))
    refuse(_grammar().flaws(schema, at=at))
    if schema.get("type") != "object":
        refuse((Flaw(f"{at}/type", 'must be "object" at the root: a payload is an object'),))
    refuse(tuple(_patterns(schema, at)))
    refuse(tuple(_references(schema, at)))
    try:
        Validator(schema)
    except ValueError as error:
        raise UnprocessableError((Flaw(at, shorten(str(error).partition("\n")[0])),)) from error


def _is_too_deep(schema: dict[str, Any]) -> bool:
    # Level by level: a recursion would end where Python's own limit is.
    level: list[Any] = [schema]
    for _ in range(MAX_NESTING):
        inside = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in level)
        level = [inner for inner in inside if isinstance(inner, (dict, list))]
    return bool(level)


def _foreign(schema: dict[str, Any], at: str) -> Iterator[Flaw]:
    """Whatever would lead outside the document."""
    for pointer, inner in parts(schema, at):
        if not isinstance(inner, dict):
            continue
        if inner.get("$schema", DIALECT) not in (DIALECT, f"{DIALECT}#"):
            yield Flaw(f"{pointer}/$schema", f"must be {DIALECT} or absent")
        if "$id" in inner:
            yield Flaw(f"{pointer}/$id", "must be absent: the event type is the schema's name")
        for keyword in REFERENCES:
            if keyword in inner and not str(inner[keyword]).startswith("#"):
                detail = "must begin with '#': nothing outside the schema is looked up"
                yield Flaw(f"{pointer}/{keyword}", detail)


@cache
def _grammar() -> Validator:
    """JSON Schema's own schema, which the library has on board."""
    # Its formats are left to our own checks, which say more.
    return Validator({"$ref": DIALECT}, asserts_formats=False)


def _patterns(schema: dict[str, Any], at: str) -> Iterator[Flaw]:
    found = list(_every_pattern(schema, at))
    if len(found) > MAX_PATTERNS:
        yield Flaw(at, f"may have {MAX_PATTERNS} regular expressions, got {len(found)}")
        return
    for pointer, pattern in found:
        try:
            Validator({"pattern": pattern})
        except ValueError:
            yield Flaw(
                pointer,
                "is no regular expression that runs in linear time: no lookaround, no "
                f"backreference, small repetitions; got {pattern[:60]!r}",
            )


def _every_pattern(schema: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    for pointer, inner in parts(schema, at):
        if isinstance(inner, dict):
            if "pattern" in inner:
                yield f"{pointer}/pattern", inner["pattern"]
            for pattern in inner.get("patternProperties", {}):
                yield f"{pointer}/patternProperties/{escaped(pattern)}", pattern


def _references(schema: dict[str, Any], at: str) -> Iterator[Flaw]:
    """References that lead nowhere, in a circle, or to more work than a payload is worth."""
    known = targets(schema)
    for pointer, inner in parts(schema, at):
        for name in references(inner):
            if name not in known:
                yield Flaw(pointer, f"the reference {name[:80]} leads to no schema in this one")
                return
    try:
        weight = _Weighing(known).weigh("", schema, 0).parts
    except _CircleError as circle:
        detail = f"refers back to itself, or on through more than {MAX_CHAIN} schemas"
        yield Flaw(at + str(circle), detail)
        return
    if weight > MAX_PARTS:
        detail = f"may have {MAX_PARTS:,} parts with every reference followed, got {weight:,}"
        yield Flaw(at, detail)


class _CircleError(Exception):
    """References lead back to where they stand, or on and on; says where."""


class _Weight(NamedTuple):
    parts: int
    height: int


class _Weighing:
    """How many schemas there are once every reference is followed. A few lines of references that
    each lead twice to the next would otherwise keep a publisher busy for years."""

    def __init__(self, known: dict[str, tuple[str, Schema]]) -> None:
        self._known = known
        self._weights: dict[str, _Weight] = {}
        self._open: set[str] = set()

    def weigh(self, pointer: str, schema: Schema, depth: int) -> _Weight:
        if pointer in self._weights:
            return self._weights[pointer]
        if pointer in self._open or depth > MAX_CHAIN:
            raise _CircleError(pointer)
        self._open.add(pointer)
        # Definitions count where they are referred to.
        inside = [
            (pointer + step, inner)
            for step, inner in children(schema)
            if not step.startswith(("/$defs/", "/definitions/"))
        ]
        inside += [self._known[name] for name in references(schema)]
        found = [self.weigh(*part, depth + 1) for part in inside]
        height = 1 + max((weight.height for weight in found), default=0)
        if height > MAX_CHAIN:
            raise _CircleError(pointer)
        total = 1 + _compared(schema) + sum(weight.parts for weight in found)
        self._open.remove(pointer)
        self._weights[pointer] = _Weight(total, height)
        return self._weights[pointer]


def _compared(schema: Schema) -> int:
    """What the values it lists add: plain ones are looked up, others compared one by one."""
    listed = schema.get("enum", ()) if isinstance(schema, dict) else ()
    return 4 * sum(isinstance(value, (dict, list)) for value in listed)


# ---------------------------------------------------------------- defining and reading


class Taken(NamedTuple):
    """How many names are in use: the tenant's, and everybody's."""

    own: int
    everywhere: int


class Definitions(Protocol):
    """What keeps the types, each with all its versions."""

    def latest(self, tenant_id: TenantId, event_type: str) -> EventType | None: ...
    def version(self, tenant_id: TenantId, event_type: str, version: int) -> EventType | None: ...
    def following(self, tenant_id: TenantId | None, after: str) -> Iterator[EventType]:
        """The latest versions by `place`, above `after`; of all tenants for None."""
        ...

    def taken(self, tenant_id: TenantId) -> Taken: ...
    def add(self, new: EventType, taken: Taken) -> bool:
        """False if the name or the numbers were not as told."""
        ...

    def change(self, new: EventType, earlier: EventType) -> bool:
        """False if `earlier` is not the latest any more."""
        ...


def place(registered: EventType) -> str:
    """Where a type stands in the list over all tenants."""
    return f"{registered.tenant_id}#{registered.event_type}"


class Types:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def define(
        self,
        tenant: TenantId,
        event_type: str,
        body: Any,
        compatibility: str | None = None,
        *,
        trail: Trail | None = None,
    ) -> EventType:
        """Define a type, or its next version; the same schema again keeps the version.

        `compatibility` is the query's. Where neither it nor the body names a mode, it is BACKWARD,
        or FULL for a type that is FULL: a promise ends only by being named. Raises ConflictError
        for a change that breaks it, and for a name beyond the limits.
        """
        draft = own_type(event_type, body)
        asked = parse_compatibility(compatibility, "query/compatibility")
        if asked and draft.compatibility not in (None, asked):
            detail = f"is {draft.compatibility} here and {asked} in the query; name one"
            raise UnprocessableError((Flaw("/compatibility", detail),))
        for _ in range(_ATTEMPTS):
            latest = self._definitions.latest(tenant, event_type)
            new = _next(tenant, draft, draft.compatibility or asked, latest)
            if new == latest or self._keep(new, latest):
                if trail:
                    trail.changed(
                        f"event_type/{event_type}",
                        before=latest.shown() if latest else None,
                        after=new.shown(),
                    )
                return new
        raise ConflictError(
            f"The event type '{event_type}' is being changed by others at this moment; look at its "
            "latest version and try again"
        )

    def look_up(self, view: TenantId | None, event_type: str) -> EventType:
        """The type as the view sees it: built in, the tenant's own, the platform's.

        For the view over all tenants also any other tenant's, if just one has it.
        """
        if event_type in schemas.BUILT_IN:
            return schemas.BUILT_IN[event_type]
        if not NAME.fullmatch(event_type):
            # Such a key may be refused, or be that of something else: a version, or a count.
            raise _unknown(event_type)
        for owner in dict.fromkeys((view or DEFAULT, SYSTEM)):
            found = self._definitions.latest(owner, event_type)
            if found:
                return found
        anywhere = self._definitions.following(None, "") if view is None else ()
        several = [other for other in anywhere if other.event_type == event_type]
        if not several:
            raise _unknown(event_type)
        if len(several) > 1:
            raise ConflictError(
                f"Several tenants have an event type '{event_type}'; name one with ?tenant_id="
            )
        return several[0]

    def listed(
        self, view: TenantId | None, cursor: str | None = None
    ) -> tuple[list[EventType], str | None]:
        """Built-in types, the view's own and the platform's (None: everybody's), and the cursor of
        what an answer of 4 MB does not hold."""
        question = (view or "*", "types")
        after = stop_in(cursor, _places(view), *question) if cursor else ""
        shown = [] if after else list(schemas.BUILT_IN.values())
        size = 0
        for registered in self._following(view, after):
            size += len(canonical(registered.payload_schema).encode()) + MAX_DESCRIPTION
            if size > _LIST_BYTES:
                return shown, encode_cursor(place(shown[-1]), *question)
            shown.append(registered)
        return shown, None

    def _following(self, view: TenantId | None, after: str) -> Iterator[EventType]:
        if view is None:
            yield from self._definitions.following(None, after)
            return
        # Own ones first; a place among the platform's says that those are through.
        is_at_system = after.startswith(f"{SYSTEM}#") and view != SYSTEM
        if not is_at_system:
            yield from self._definitions.following(view, after)
        if view != SYSTEM:
            yield from self._definitions.following(SYSTEM, after if is_at_system else "")

    def _keep(self, new: EventType, latest: EventType | None) -> bool:
        if latest:
            return self._definitions.change(new, latest)
        taken = self._definitions.taken(TenantId(str(new.tenant_id)))
        if taken.own >= MAX_OWN_TYPES:
            raise ConflictError(
                f"A tenant may have {MAX_OWN_TYPES} event types of its own, and '{new.tenant_id}' "
                "has them"
            )
        if taken.everywhere >= MAX_ALL_TYPES:
            raise ConflictError(
                f"The platform may have {MAX_ALL_TYPES:,} event types, and has them"
            )
        return self._definitions.add(new, taken)


def _unknown(event_type: str) -> NotFoundError:
    return NotFoundError(f"Unknown event_type '{event_type[:MAX_TYPE]}'")


def _places(view: TenantId | None) -> re.Pattern[str]:
    """What `place` makes of the types that a view lists."""
    tenant = f"(?:{re.escape(view)}|{SYSTEM})" if view else TENANT_PATTERN.pattern
    return re.compile(f"{tenant}#{NAME.pattern}", re.ASCII)


def _next(
    tenant: TenantId, draft: Draft, asked: Compatibility | None, latest: EventType | None
) -> EventType:
    """What the draft becomes after `latest`. Raises ConflictError if it breaks that."""
    was_full = latest is not None and latest.compatibility is Compatibility.FULL
    mode = asked or (Compatibility.FULL if was_full else Compatibility.BACKWARD)
    version = 1
    if latest:
        is_same = canonical(draft.schema) == canonical(latest.payload_schema)
        version = latest.version if is_same else latest.version + 1
        broken = [] if is_same else breaks(latest.payload_schema, draft.schema, mode)
        if broken:
            raise ConflictError(_incompatible(latest, mode, broken))
    return EventType(
        event_type=draft.event_type,
        required=list(schemas.ENVELOPE_REQUIRED),
        description=draft.description[:MAX_DESCRIPTION] or (latest.description if latest else ""),
        version=version,
        payload_schema=draft.schema,
        tenant_id=tenant,
        compatibility=mode,
    )


def _incompatible(latest: EventType, mode: Compatibility, broken: list[Break]) -> str:
    named = "; ".join(f"{b.pointer or 'the root'}: {b.reason}" for b in broken[:_NAMED_BREAKS])
    others = len(broken) - _NAMED_BREAKS
    more = f"; and {others} more" if others > 0 else ""
    return (
        f"Not {mode} compatible with version {latest.version} of '{latest.event_type}': "
        f"{named}{more}"
    )


# ---------------------------------------------------------------- publishing


class _Cached(NamedTuple):
    validator: Validator
    until: datetime


class Catalogue:
    """What publishing asks: whether a type is known, and whether a payload fits it.

    A built-in type costs no read. A tenant's own costs one, and is then believed for half a minute;
    only what fits is believed, so that a type is there for its publishers as soon as it is defined.
    """

    def __init__(
        self, definitions: Definitions, now: Callable[[], datetime], *, size: int = CACHE_SIZE
    ) -> None:
        self._definitions = definitions
        self._now = now
        self._size = size
        self._cached: dict[tuple[str, str, str | None], _Cached] = {}

    def known(self, tenant: TenantId, event_type: str) -> None:
        """Raises InvalidError for a type that the tenant has not (the contract's 400)."""
        key = (tenant, event_type, None)
        if event_type not in schemas.BUILT_IN and not self._fresh(key):
            self._load(*key)

    def check(
        self,
        tenant: TenantId,
        event_type: str,
        payload: dict[str, Any],
        schema_version: str | None = None,
    ) -> None:
        """Raises InvalidError for an unknown type, UnprocessableError for a payload that does not
        fit it. `schema_version` chooses a version of an own type, such as "2", "v2" or "2.0"; for a
        built-in type it is the producer's own affair."""
        if event_type in schemas.BUILT_IN:
            schemas.check_payload(event_type, payload)
            return
        key = (tenant, event_type, schema_version or None)
        cached = self._fresh(key)
        if not cached or cached.flaws(payload):
            refuse(self._load(*key).flaws(payload))

    def _load(self, tenant: TenantId, event_type: str, schema_version: str | None) -> Validator:
        found = self._find(tenant, event_type, schema_version)
        key = (tenant, event_type, schema_version)
        self._cached.pop(key, None)
        while len(self._cached) >= self._size:
            del self._cached[next(iter(self._cached))]
        until = self._now() + CACHE_LIFETIME
        self._cached[key] = _Cached(Validator(found.payload_schema), until)
        return self._cached[key].validator

    def _fresh(self, key: tuple[str, str, str | None]) -> Validator | None:
        cached = self._cached.get(key)
        return cached.validator if cached and self._now() < cached.until else None

    def _find(self, tenant: TenantId, event_type: str, schema_version: str | None) -> EventType:
        """The tenant's own before the platform's, which only those without the former wait for."""
        for owner in dict.fromkeys((tenant, SYSTEM)):
            found = self._of(owner, event_type, schema_version)
            if found:
                return found
        raise InvalidError(f"Unknown event_type '{event_type[:128]}'")

    def _of(self, owner: TenantId, event_type: str, wanted: str | None) -> EventType | None:
        if not NAME.fullmatch(event_type):
            return None
        match = _VERSION.fullmatch(wanted) if wanted else None
        if match:
            found = self._definitions.version(owner, event_type, int(match[1]))
            if found:
                return found
        latest = self._definitions.latest(owner, event_type)
        if latest and wanted:
            detail = f"'{event_type}' has the versions 1 to {latest.version}, got '{wanted}'"
            refuse((Flaw("/schema_version", detail),))
        return latest
