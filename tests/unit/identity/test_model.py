"""What a key may be asked to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from aetherlink.identity.model import Key, KeyDraft, check_grant, expiry, rotated
from aetherlink.kernel.errors import ForbiddenError, UnprocessableError
from aetherlink.kernel.tenancy import Caller, Role, Scopes, TenantId

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def key(**given: Any) -> Key:
    values: dict[str, Any] = {
        "id": "k",
        "name": "n",
        "prefix": "ak_abcd",
        "hash": "h1",
        "roles": frozenset({Role.AGENT}),
        "tenants": (TenantId("acme"),),
        "cross_tenant": False,
        "scopes": Scopes(),
        "requests_per_minute": 0,
        "created_at": NOW,
        "created_by": "key:x",
    }
    return Key(**{**values, **given})


def caller(*roles: Role, scopes: Scopes | None = None) -> Caller:
    return Caller("x", frozenset(roles), TenantId("acme"), scopes=scopes or Scopes())


@pytest.mark.parametrize(
    "routes",
    [["POST /events/publish"], ["POST /events/*"], ["GET *"], ["*"], ["GET /jobs/{job_id}"]],
)
def test_a_route_pattern_that_fits_a_route_is_taken(routes: list[str]) -> None:
    assert KeyDraft(name="n", roles=["agent"], scopes={"routes": routes}).scopes.routes == routes


@pytest.mark.parametrize(
    "pattern",
    ["", "POST", "post /events/publish", "POST /event/publish", "/events/publish", "POST  /events/*",
     "POST /*/publish", "GET /ping", "GET /jobs/123"],
)  # fmt: skip
def test_a_route_pattern_that_fits_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="is none of ours"):
        KeyDraft(name="n", roles=["agent"], scopes={"routes": [pattern]})


@pytest.mark.parametrize("pattern", ["", "a*b", "**", "*a", "x" * 257])
def test_a_source_pattern_has_its_star_at_the_end(pattern: str) -> None:
    with pytest.raises(ValidationError, match="a source has 1 to 256"):
        KeyDraft(name="n", roles=["agent"], scopes={"sources": [pattern]})


@pytest.mark.parametrize(
    "given",
    [
        {"roles": []},
        {"roles": ["service"]},
        {"roles": ["root"]},
        {"name": ""},
        {"expires_in_days": 0},
        {"expires_in_days": 3_651},
        {"expires_at": "tomorrow"},
        {"expires_at": "2027-01-01T00:00:00Z", "expires_in_days": 1},
        {"cross_tenant": True, "tenant_id": "acme"},
        {"cross_tenant": True, "tenants": ["acme"]},
        {"requests_per_minute": 0},
        {"secret": "ak_mine"},
    ],
)
def test_a_draft_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KeyDraft.model_validate({"name": "n", "roles": ["agent"], **given})


@pytest.mark.parametrize("at", ["2026-11-23T08:00:00Z", "2026-11-23T09:00:00+01:00", "1999-01-01"])
def test_a_key_may_not_be_born_expired(at: str) -> None:
    with pytest.raises(UnprocessableError, match="must be in the future"):
        expiry(KeyDraft(name="n", roles=["agent"], expires_at=at), NOW)


def test_an_expiry_is_a_time_or_a_number_of_days() -> None:
    in_days = KeyDraft(name="n", roles=["agent"], expires_in_days=2)
    at = KeyDraft(name="n", roles=["agent"], expires_at="2026-11-23T08:00:01Z")

    assert expiry(in_days, NOW) == NOW + timedelta(days=2)
    assert expiry(at, NOW) == NOW + timedelta(seconds=1)
    assert expiry(KeyDraft(name="n", roles=["agent"]), NOW) is None


def test_an_admin_grants_every_role_and_others_their_own_alone() -> None:
    check_grant(caller(Role.ADMIN), [Role.VIEWER, Role.OPERATOR, Role.AGENT, Role.ADMIN])
    check_grant(caller(Role.AGENT), [Role.AGENT])

    with pytest.raises(ForbiddenError, match="do not hold: admin"):
        check_grant(caller(Role.OPERATOR), [Role.OPERATOR, Role.ADMIN])
    with pytest.raises(ForbiddenError, match="do not hold: service"):
        check_grant(caller(Role.ADMIN), [Role.SERVICE])


@pytest.mark.parametrize("scopes", [Scopes(sources=("a",)), Scopes(routes=("POST /identity/*",))])
def test_a_key_with_scopes_makes_none(scopes: Scopes) -> None:
    with pytest.raises(ForbiddenError, match="has scopes"):
        check_grant(caller(Role.ADMIN, scopes=scopes), [Role.VIEWER])


def test_the_secret_before_does_not_outlive_the_key() -> None:
    ends = NOW + timedelta(minutes=1)
    changed = rotated(
        key(expires_at=ends), prefix="p", secret_hash="h2", grace=timedelta(days=1), now=NOW
    )

    assert (changed.hash, changed.previous_hash, changed.previous_until) == ("h2", "h1", ends)


def test_without_grace_one_secret_is_left() -> None:
    changed = rotated(key(), prefix="p", secret_hash="h2", grace=timedelta(), now=NOW)

    assert changed.hashes == ("h2",)


def test_a_key_shows_nothing_that_a_secret_could_be_found_with() -> None:
    shown = str(key(hash="h-current", previous_hash="h-before", previous_until=NOW).shown(NOW))

    assert "h-current" not in shown
    assert "h-before" not in shown


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(seconds=1)}, "active"),
        ({"expires_at": NOW}, "expired"),
        ({"revoked_at": NOW, "expires_at": NOW}, "revoked"),
    ],
)
def test_a_key_is_active_until_it_ends(given: dict[str, Any], state: str) -> None:
    assert key(**given).state(NOW) == state
