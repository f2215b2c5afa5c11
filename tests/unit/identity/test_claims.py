"""What the claims of a genuine token grant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.kernel.errors import UnauthenticatedError
from aetherlink.kernel.tenancy import GRANTABLE, Role
from aetherlink.platform.oidc import Grant, claim_at, granted, settings_of


def grant(claims: dict[str, Any], **changed: str) -> Grant:
    given = {
        "issuer": "https://id.example",
        "audience": "aetherlink",
        "algorithms": "RS256",
        "roles_claim": "roles",
        "tenant_claim": "tenant_id",
        "role_map": "",
    }
    return granted({"sub": "u1", **claims}, settings_of(**{**given, **changed}))


@pytest.mark.parametrize(
    ("claims", "path", "found"),
    [
        ({"roles": ["admin"]}, "roles", ["admin"]),
        ({"cognito:groups": ["ops"]}, "cognito:groups", ["ops"]),
        ({"https://x.example/roles": "admin"}, "https://x.example/roles", "admin"),
        ({"realm_access": {"roles": ["admin"]}}, "realm_access.roles", ["admin"]),
        ({"resource_access": {"a": {"roles": [1]}}}, "resource_access.a.roles", [1]),
        (
            {"resource_access": {"my.client": {"roles": "r"}}},
            "resource_access.my.client.roles",
            "r",
        ),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": "text"}, "a.b", None),
        ({}, "roles", None),
        ({"realm_access": {}}, "realm_access.roles", None),
    ],
)
def test_a_claim_is_found_by_its_name_or_where_its_dots_lead(
    claims: dict[str, Any], path: str, found: Any
) -> None:
    assert claim_at(claims, path) == found


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        (["operator", "viewer"], {Role.OPERATOR, Role.VIEWER}),
        ("operator viewer", {Role.OPERATOR, Role.VIEWER}),
        ("operator, viewer", {Role.OPERATOR, Role.VIEWER}),
        ("Operator", set()),
        (["service"], set()),
        (["offline_access", 7, None, {"admin": True}], set()),
        ({"admin": True}, set()),
        (None, set()),
        (True, set()),
    ],
)
def test_roles_come_as_a_list_or_a_text(claim: Any, roles: set[Role]) -> None:
    assert grant({"roles": claim}).roles == roles


def test_a_map_gives_names_a_meaning_and_takes_every_other_away() -> None:
    mapped = "ops-admins=admin,ops=operator"

    assert grant({"roles": ["ops"]}, role_map=mapped).roles == {Role.OPERATOR}
    # A group that happens to be called so was not meant.
    assert grant({"roles": ["admin", "viewer"]}, role_map=mapped).roles == frozenset()


@pytest.mark.parametrize("role_map", ["boss=service", "boss=root", "boss=", "boss", ",=,"])
def test_a_map_grants_nothing_but_roles(role_map: str) -> None:
    assert grant({"roles": ["boss", "admin"]}, role_map=role_map).roles == frozenset()


@pytest.mark.parametrize(
    ("claim", "tenants", "cross_tenant"),
    [
        ("acme", ("acme",), False),
        (["acme", "globex", "acme"], ("acme", "globex"), False),
        ("acme,globex", ("acme", "globex"), False),
        ("*", (), True),
        (["acme", "*"], ("acme",), True),
        ("system", (), False),
        (["system", "acme"], ("acme",), False),
        ("a/b", (), False),
        ("a#b", (), False),
        ([], (), False),
        (None, (), False),
        (7, (), False),
        ({"acme": True}, (), False),
    ],
)
def test_tenants_come_as_a_list_or_a_text(
    claim: Any, tenants: tuple[str, ...], cross_tenant: bool
) -> None:
    found = grant({"tenant_id": claim})

    assert (found.tenants, found.cross_tenant) == (tenants, cross_tenant)


@pytest.mark.parametrize("subject", ["", "x" * 256, 7, None])
def test_a_subject_is_a_text_of_bounded_length(subject: Any) -> None:
    with pytest.raises(UnauthenticatedError, match="subject"):
        grant({"sub": subject})


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_no_claim_whatever_grants_more_than_roles_and_tenant_ids(claim: Any) -> None:
    found = grant({"roles": claim, "tenant_id": claim})

    assert found.roles <= GRANTABLE
    assert "system" not in found.tenants


@pytest.mark.parametrize("named", ["none", "HS256", "HS512", "none,HS256", "rs256", ""])
def test_no_configuration_admits_an_algorithm_without_a_public_key(named: str) -> None:
    settings = settings_of(
        issuer="i", audience="a", algorithms=named, roles_claim="r", tenant_claim="t", role_map=""
    )

    assert settings.algorithms == frozenset()
