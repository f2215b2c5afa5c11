"""Times, ids, cursors, tenants and the route table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.kernel.access import methods_of
from aetherlink.kernel.errors import ForbiddenError, InvalidError, UnprocessableError
from aetherlink.kernel.ids import new_tenant_bound, tenant_bound, tenant_of, uuid7
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.kernel.time import from_text, parse_instant, to_text

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T12:00:00z", NOON),
        ("2026-11-23 12:00:00Z", NOON),
        ("2026-11-23T12:00:00.000000", NOON),
        ("2026-11-23T14:00:00+02:00", NOON),
        ("2026-11-23T14:00:00 02:00", NOON),
        ("2026-11-23T14:00:00+0200", NOON),
        ("2026-11-23T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-11-23", NOON.replace(hour=0)),
    ],
)
def test_instants_as_clients_write_them(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "text", ["", "noon", "2026-13-01T00:00:00Z", "1763899200", "20261123T120000Z", "2026-W48-1",
             "2026-11-23T25:00:00Z", "0001-01-01T00:00:00+23:59", "2026-11-23T12:00:00Zjunk"]
)  # fmt: skip
def test_what_is_no_instant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2026-11-23T08:30:00Z"):
        parse_instant(text)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)
    assert from_text(to_text(one)) == one


def test_uuid7_is_ordered_by_time_and_says_its_version() -> None:
    earlier, later = uuid7(NOON), uuid7(NOON.replace(second=1))

    assert earlier < later
    assert (earlier[14], earlier[19] in "89ab") == ("7", True)


def test_a_bound_id_leads_back_to_its_tenant_alone() -> None:
    assert tenant_of(new_tenant_bound(ACME)) == "acme"


@pytest.mark.parametrize(
    "junk", ["", "x", "!!!", "YWNtZQ", "YWNtZS8", "L3Rva2Vu", "YSBiL3Rva2Vu", "é"]
)
def test_what_is_no_bound_id_belongs_to_nobody(junk: str) -> None:
    assert tenant_of(junk) is None


def test_a_bound_id_has_one_spelling() -> None:
    bound = tenant_bound(ACME, "t")
    twins = [bound[:-1] + c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if bound[:-1] + c != bound]

    assert not any(tenant_of(twin) == "acme" and twin == bound for twin in twins)


@given(st.text(max_size=50), st.lists(st.text(max_size=10), max_size=4))
def test_a_cursor_comes_back_for_the_same_question(position: str, question: list[str]) -> None:
    assert decode_cursor(encode_cursor(position, *question), *question) == position


def test_a_cursor_for_another_question_or_changed_is_refused() -> None:
    cursor = encode_cursor("here", "acme", "error")

    for wrong, question in (
        (cursor, ["globex", "error"]),
        (cursor, ["acme"]),
        (cursor[:-2] + "AA", ["acme", "error"]),
        ("junk", ["acme"]),
        ("W10", ["acme"]),
    ):
        with pytest.raises(InvalidError, match="belongs to another question"):
            decode_cursor(wrong, *question)


def caller(*roles: Role, tenant: str | None = "acme", cross: bool = False) -> Caller:
    named = TenantId(tenant) if tenant else None
    return Caller(subject="s", roles=frozenset(roles), tenant_id=named, cross_tenant=cross)


def test_a_tenant_is_named_only_by_who_may() -> None:
    agent = caller(Role.AGENT)

    assert (agent.reads(), agent.writes("acme")) == ("acme", "acme")
    with pytest.raises(ForbiddenError, match="You may not act for tenant 'globex'"):
        agent.reads("globex")
    with pytest.raises(UnprocessableError, match="a tenant id has 1 to 64"):
        agent.writes("no tenant")


def test_an_identity_for_every_tenant_sees_all_and_writes_to_default() -> None:
    operator = caller(Role.OPERATOR, tenant=None, cross=True)

    assert (operator.reads(), operator.home, operator.reads("globex")) == (
        None,
        "default",
        "globex",
    )


def test_only_a_cross_tenant_admin_writes_to_system() -> None:
    assert caller(Role.ADMIN, cross=True).writes("system") == SYSTEM
    for refused in (caller(Role.OPERATOR, cross=True), caller(Role.ADMIN, tenant="system")):
        with pytest.raises(ForbiddenError, match="platform's own"):
            refused.writes("system")


def test_methods_of_a_path() -> None:
    assert methods_of("/events/recent") == ("GET",)
    assert methods_of("/alerts/rules/abc") == ("DELETE", "GET")
    assert methods_of("/") == ("GET",)
    assert methods_of("/nope") == ()
