"""Which tenant an identity stands in, and which credential counts."""

from __future__ import annotations

from typing import Literal

import pytest

from aetherlink.kernel.errors import InvalidError, UnauthenticatedError
from aetherlink.kernel.tenancy import TenantId
from aetherlink.platform.identity import choose_tenant, identify

ACME, GLOBEX = TenantId("acme"), TenantId("globex")


def test_without_a_tenant_an_identity_is_refused_in_a_sentence() -> None:
    tenant, refusal = choose_tenant((), "acme", cross_tenant=False)

    assert tenant is None
    assert "names no tenant" in refusal


@pytest.mark.parametrize("named", ["", "globex", "not a tenant!"])
def test_of_one_tenant_the_header_is_ignored(named: str) -> None:
    assert choose_tenant((ACME,), named, cross_tenant=False) == (ACME, "")


def test_of_several_the_first_is_home_and_the_header_chooses() -> None:
    assert choose_tenant((ACME, GLOBEX), "", cross_tenant=False) == (ACME, "")
    assert choose_tenant((ACME, GLOBEX), "globex", cross_tenant=False) == (GLOBEX, "")


def test_a_tenant_that_is_not_granted_is_refused_by_name() -> None:
    tenant, refusal = choose_tenant((ACME, GLOBEX), "initech", cross_tenant=False)

    assert tenant == ACME
    assert "'initech'" in refusal


def test_who_has_every_tenant_stands_in_none_until_it_names_one() -> None:
    assert choose_tenant((), "", cross_tenant=True) == (None, "")
    assert choose_tenant((ACME,), "", cross_tenant=True) == (None, "")
    assert choose_tenant((), "initech", cross_tenant=True) == (TenantId("initech"), "")


def test_a_tenant_id_that_is_none_is_said_to_be_malformed() -> None:
    with pytest.raises(InvalidError, match="X-Tenant-ID must have"):
        choose_tenant((ACME, GLOBEX), "a/b", cross_tenant=False)


def ask(mode: Literal["token", "dev"] = "dev", **headers: str) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    identify(given, mode=mode, ip="", trace_id="", may_be_cached=False)


@pytest.mark.parametrize("mode", ["token", "dev"])
@pytest.mark.parametrize(
    "authorization",
    ["Basic dXNlcjpwYXNz", "Bearer", "bearer  ", "Digest x", "ak_000000000000000000000002teRwJ"],
)
def test_a_scheme_that_we_do_not_know_is_401(
    mode: Literal["token", "dev"], authorization: str
) -> None:
    with pytest.raises(UnauthenticatedError, match="Authorization must be 'Bearer"):
        ask(mode, authorization=authorization, x_user_roles="admin")


@pytest.mark.parametrize("secret", ["ak_000000000000000000000002teRwK", "ak_x", "rt_", "ak_" + "é"])
def test_a_key_with_a_wrong_checksum_is_told_so(secret: str) -> None:
    # It is not looked up: there is no table here.
    with pytest.raises(UnauthenticatedError, match="not well-formed"):
        ask(x_api_key=secret)
    with pytest.raises(UnauthenticatedError, match="not well-formed"):
        ask(authorization=f"Bearer {secret}")


def test_a_token_in_the_header_of_keys_is_told_where_it_belongs() -> None:
    with pytest.raises(UnauthenticatedError, match="goes into 'Authorization"):
        ask(x_api_key="eyJhbGciOiJub25lIn0.e30.")


def test_two_different_credentials_make_no_sense() -> None:
    with pytest.raises(InvalidError, match="two identities"):
        ask(
            authorization="Bearer ak_000000000000000000000002teRwJ",
            x_api_key="ak_000000000000000000000002teRwK",
        )


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-api-key", "{}"),
        ("authorization", "Bearer {}"),
        ("authorization", "Basic {}"),
        ("authorization", "Bearer {0}.{0}.{0}"),
    ],
)
def test_no_refusal_repeats_what_was_presented(header: str, value: str) -> None:
    given = {header: value.format("ak_thisOneIsSecretAndNotWellFormed")}

    with pytest.raises(UnauthenticatedError) as refused:
        identify(given, mode="dev", ip="", trace_id="", may_be_cached=False)
    assert "thisOneIsSecret" not in str(refused.value)
