"""How keys look, and what a lookup believes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import Role, Scopes, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.credentials import (
    KEY,
    REGISTRATION,
    Credential,
    Credentials,
    Mint,
    from_item,
    hash_of,
    is_well_formed,
    key_of,
    to_item,
)
from aetherlink.platform.dynamo import ConditionFailedError

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ACME = Credential(kind="key", name="k1", roles=frozenset({Role.AGENT}), tenants=(TenantId("acme"),))


class FakeTable:
    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.reads = 0
        self.writes = 0
        self.fails = False

    def hold(self, secret: str, credential: Credential) -> None:
        item = {k: v for k, v in to_item(hash_of(secret), credential).items() if v is not None}
        self.items[key_of(hash_of(secret))] = item

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        self.reads += 1
        return self.items.get((pk, sk))

    def set(self, pk: str, sk: str, values: dict[str, Any], *, only_if: str, before: str) -> None:
        if self.fails:
            raise UnavailableError("down")
        if (pk, sk) not in self.items:
            raise ConditionFailedError(None)
        self.writes += 1
        self.items[pk, sk] |= values


class Clock:
    at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def table() -> FakeTable:
    return FakeTable()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(table: FakeTable, clock: Clock) -> Credentials:
    return Credentials(table, clock)  # type: ignore[arg-type]  # the part of a Table that it uses


@pytest.mark.parametrize("prefix", [KEY, REGISTRATION])
def test_a_secret_has_32_characters_and_fits_its_checksum(prefix: str) -> None:
    secret = Mint(prefix).generate()

    assert re.fullmatch(prefix + "[0-9A-Za-z]{29}", secret)
    assert is_well_formed(secret)


def test_no_two_secrets_are_the_same() -> None:
    assert len({Mint(KEY).generate() for _ in range(1_000)}) == 1_000


def test_a_key_that_was_given_out_earlier_still_fits() -> None:
    # Literal, since a change of the checksum would refuse every key there is.
    assert is_well_formed("ak_000000000000000000000002teRwJ")


@given(position=st.integers(0, 31), character=st.sampled_from("09AZaz_-é"))
def test_a_changed_character_is_found(position: int, character: str) -> None:
    secret = Mint(KEY).generate()
    changed = secret[:position] + character + secret[position + 1 :]

    assert is_well_formed(changed) is (changed == secret)


@given(st.text(max_size=40))
def test_nothing_that_we_did_not_make_is_well_formed(text: str) -> None:
    assert not is_well_formed(text)
    assert not is_well_formed(KEY + text)


def test_what_is_kept_of_a_secret_is_its_hash() -> None:
    secret = Mint(KEY).generate()

    assert secret not in str(to_item(hash_of(secret), ACME))
    assert re.fullmatch("[0-9a-f]{64}", hash_of(secret))


def test_a_credential_comes_back_as_it_was_stored() -> None:
    full = Credential(
        kind="key",
        name="k1",
        roles=frozenset({Role.ADMIN, Role.VIEWER}),
        tenants=(TenantId("b"), TenantId("a")),
        scopes=Scopes(("billing-*",), ("POST /events/publish",)),
        requests_per_minute=60,
        expires_at=NOW,
        last_used_at=NOW,
    )
    everywhere = Credential(kind="key", name="k2", roles=frozenset(), cross_tenant=True)
    service = Credential(
        kind="service", name="s", roles=frozenset({Role.SERVICE}), tenants=(TenantId("a"),)
    )
    for credential in (full, everywhere, service):
        item = {k: v for k, v in to_item("h", credential).items() if v is not None}

        assert from_item(item) == credential


def test_a_lookup_may_be_believed_for_less_than_30_seconds(
    known: Credentials, table: FakeTable, clock: Clock
) -> None:
    secret = Mint(KEY).generate()
    table.hold(secret, ACME)
    known.look_up(secret, may_be_cached=True)
    table.items.clear()

    clock.at = NOW + timedelta(seconds=29.9)
    assert known.look_up(secret, may_be_cached=True)
    clock.at = NOW + timedelta(seconds=30)
    assert known.look_up(secret, may_be_cached=True) is None


def test_where_it_may_not_be_cached_a_revoked_key_is_refused_at_once(
    known: Credentials, table: FakeTable
) -> None:
    secret = Mint(KEY).generate()
    table.hold(secret, ACME)
    assert known.look_up(secret, may_be_cached=False)
    table.items.clear()

    assert known.look_up(secret, may_be_cached=False) is None
    # And what was remembered for publishing is forgotten with it.
    assert known.look_up(secret, may_be_cached=True) is None


def test_what_is_remembered_ends_with_the_key(
    known: Credentials, table: FakeTable, clock: Clock
) -> None:
    secret = Mint(KEY).generate()
    ends = Credential(
        kind="key",
        name="k1",
        roles=frozenset({Role.AGENT}),
        tenants=(TenantId("acme"),),
        expires_at=NOW + timedelta(seconds=10),
    )
    table.hold(secret, ends)

    clock.at = NOW + timedelta(seconds=9)
    assert known.look_up(secret, may_be_cached=True)
    clock.at = NOW + timedelta(seconds=10)
    assert known.look_up(secret, may_be_cached=True) is None


def test_an_expired_key_that_ttl_has_not_removed_is_refused(
    known: Credentials, table: FakeTable
) -> None:
    secret = Mint(KEY).generate()
    over = Credential(kind="key", name="k", roles=frozenset(), expires_at=NOW)
    table.hold(secret, over)

    assert known.look_up(secret, may_be_cached=False) is None
    assert table.writes == 0


def test_use_is_noted_once_in_five_minutes(
    known: Credentials, table: FakeTable, clock: Clock
) -> None:
    secret = Mint(KEY).generate()
    table.hold(secret, ACME)
    for seconds in (0, 1, 60, 299):
        clock.at = NOW + timedelta(seconds=seconds)
        known.look_up(secret, may_be_cached=False)

    assert table.writes == 1
    assert table.items[key_of(hash_of(secret))]["last_used_at"] == to_text(NOW)
    clock.at = NOW + timedelta(seconds=300)
    known.look_up(secret, may_be_cached=False)
    assert table.writes == 2


def test_a_lookup_stands_though_its_use_cannot_be_noted(
    known: Credentials, table: FakeTable
) -> None:
    secret = Mint(KEY).generate()
    table.hold(secret, ACME)
    table.fails = True

    assert known.look_up(secret, may_be_cached=False) == ACME


def test_a_thousand_keys_are_remembered_and_no_more(known: Credentials, table: FakeTable) -> None:
    secrets = [Mint(KEY).generate() for _ in range(1_001)]
    for secret in secrets:
        table.hold(secret, ACME)
        known.look_up(secret, may_be_cached=True)
    table.reads = 0

    known.look_up(secrets[-1], may_be_cached=True)
    assert table.reads == 0
    known.look_up(secrets[0], may_be_cached=True)
    assert table.reads == 1
