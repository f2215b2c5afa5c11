"""Tokens of an issuer, against a real key set on loopback: who gets in, and everybody who does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from aetherlink.platform import identity
from aetherlink.platform.config import Config, config
from tests.component.conftest import Answer, Stack
from tests.component.issuer import (
    AUDIENCE,
    Issuer,
    ec_jwk,
    ec_key,
    pem_of,
    rsa_jwk,
    rsa_key,
    running,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Issuer]:
    with running() as issuer:
        yield issuer


@pytest.fixture
def issuer(server: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """The issuer as the parameters name it, asked by nobody yet."""
    server.keys, server.status = [rsa_jwk("main")], 200
    configure(monkeypatch, OIDC_ISSUER=server.url, OIDC_AUDIENCE=AUDIENCE)
    server.asked.clear()
    yield server
    monkeypatch.undo()
    config.cache_clear()
    identity.verifier.cache_clear()


def configure(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config.cache_clear()
    identity.verifier.cache_clear()


def me(stack: Stack, token: str, tenant: str | None = None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    return stack.call("GET", "/identity/me", roles=None, headers=headers, tenant=tenant)


def refusal(stack: Stack, token: str) -> str:
    """The detail of the 401 that a token gets; development headers beside it do not help it."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = stack.call("GET", "/events/recent", roles="admin", headers=headers)
    assert answer.status == 401, answer.body
    assert answer.headers["WWW-Authenticate"]
    detail: str = answer.body["detail"]
    assert token not in json.dumps(answer.body)
    return detail


def segment(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def forge(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """A token put together by hand, as an attacker does it; `key` for HMAC, None for no signature."""
    signed = f"{segment(header)}.{segment(claims)}"
    if key is None:
        return f"{signed}."
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{segment(mac)}"


# ---- who gets in


def test_a_genuine_token_says_who_one_is(stack: Stack, issuer: Issuer) -> None:
    assert me(stack, issuer.token()).body == {
        "status": "ok",
        "subject": "oidc:u-1",
        "roles": ["operator"],
        "tenant_id": "acme",
        "tenants": ["acme"],
        "cross_tenant": False,
        "auth_mode": "dev",
    }
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_the_next_token_asks_nobody(stack: Stack, issuer: Issuer) -> None:
    me(stack, issuer.token())
    issuer.asked.clear()

    assert me(stack, issuer.token(sub="u-2")).body["subject"] == "oidc:u-2"
    assert issuer.asked == []


@pytest.mark.parametrize("aud", [AUDIENCE, ["account", AUDIENCE]])
def test_the_audience_is_one_of_those_named(stack: Stack, issuer: Issuer, aud: Any) -> None:
    assert me(stack, issuer.token(aud=aud)).status == 200


def test_cognitos_access_token_has_client_id_for_an_audience(stack: Stack, issuer: Issuer) -> None:
    token = issuer.token(aud=None, token_use="access", client_id=AUDIENCE)

    assert me(stack, token).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": None, "token_use": "access", "client_id": "other"},
        {"aud": None, "token_use": "id", "client_id": AUDIENCE},
        {"aud": None, "client_id": AUDIENCE},
        {"aud": "other", "token_use": "access", "client_id": AUDIENCE},
    ],
)
def test_client_id_stands_for_nothing_else(stack: Stack, issuer: Issuer, changed: Any) -> None:
    assert "another audience" in refusal(stack, issuer.token(**changed))


def test_clocks_may_differ_by_a_minute(stack: Stack, issuer: Issuer) -> None:
    now = int(time.time())

    assert me(stack, issuer.token(nbf=now + 50, iat=now + 50)).status == 200


def test_a_signature_on_a_curve_will_do(stack: Stack, issuer: Issuer) -> None:
    issuer.keys = [rsa_jwk("main"), ec_jwk("curve")]
    token = jwt.encode(
        issuer.claims(), ec_key("curve"), algorithm="ES256", headers={"kid": "curve"}
    )

    assert me(stack, token).status == 200


def test_a_token_without_a_key_id_means_the_only_key(stack: Stack, issuer: Issuer) -> None:
    assert me(stack, issuer.token(kid=None)).status == 200

    issuer.keys = [rsa_jwk("main"), rsa_jwk("other")]
    identity.verifier.cache_clear()
    assert "does not show" in refusal(stack, issuer.token(kid=None))


def test_a_configured_address_of_the_keys_is_used(
    stack: Stack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OIDC_JWKS_URL=f"{issuer.url}/keys")

    assert me(stack, issuer.token()).status == 200
    assert issuer.asked == ["/keys"]


# ---- who does not


def test_a_forged_signature_is_401(stack: Stack, issuer: Issuer) -> None:
    assert refusal(stack, issuer.token(key="attacker")) == "The token's signature is wrong"


def test_changed_claims_are_401(stack: Stack, issuer: Issuer) -> None:
    header, _, signature = issuer.token().split(".")
    claims = segment(issuer.claims(roles=["admin"], tenant_id="*"))

    assert refusal(stack, f"{header}.{claims}.{signature}") == "The token's signature is wrong"


def test_a_signature_left_out_is_401(stack: Stack, issuer: Issuer) -> None:
    header, claims, _ = issuer.token().split(".")

    assert refusal(stack, f"{header}.{claims}.") == "The token's signature is wrong"


def test_an_expired_token_is_401(stack: Stack, issuer: Issuer) -> None:
    assert "has expired" in refusal(stack, issuer.token(exp=int(time.time()) - 61))


def test_a_token_that_never_expires_is_401(stack: Stack, issuer: Issuer) -> None:
    assert refusal(stack, issuer.token(exp=None)) == "The token lacks the claim 'exp'"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_tomorrow_is_401(stack: Stack, issuer: Issuer, claim: str) -> None:
    changed: dict[str, Any] = {claim: int(time.time()) + 90, "exp": int(time.time()) + 900}
    token = issuer.token(**changed)

    assert "not valid yet" in refusal(stack, token)


@pytest.mark.parametrize("aud", ["other", ["a", "b"], [], "", f"{AUDIENCE}2", {AUDIENCE: 1}, 7])
def test_a_token_for_somebody_else_is_401(stack: Stack, issuer: Issuer, aud: Any) -> None:
    assert "another audience" in refusal(stack, issuer.token(aud=aud))


def test_a_token_from_somebody_else_is_401(stack: Stack, issuer: Issuer) -> None:
    for iss in ("https://evil.example", issuer.url + "/", issuer.url.upper()):
        assert "another issuer" in refusal(stack, issuer.token(iss=iss))
    assert "lacks the claim 'iss'" in refusal(stack, issuer.token(iss=None))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
def test_a_token_that_says_it_needs_no_signature_is_401(
    stack: Stack, issuer: Issuer, alg: str
) -> None:
    token = forge({"alg": alg, "kid": "main"}, issuer.claims(), None)

    assert "algorithm (alg) is not accepted" in refusal(stack, token)


@pytest.mark.parametrize("configured", ["RS256,ES256", "RS256,HS256", "HS256", "none,HS256,RS256"])
@pytest.mark.parametrize("kid", ["main", None])
def test_the_public_key_is_no_secret_to_sign_with(
    stack: Stack,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    configured: str,
    kid: str | None,
) -> None:
    # HS/RS confusion: HMAC with what everybody can read, even where the configuration asks for it.
    configure(monkeypatch, OIDC_ALGORITHMS=configured)
    for secret in (pem_of("main"), pem_of("main").strip(), json.dumps(rsa_jwk("main")).encode()):
        header = {"alg": "HS256", "kid": kid} if kid else {"alg": "HS256"}
        token = forge(header, issuer.claims(), secret)

        assert "algorithm (alg) is not accepted" in refusal(stack, token)


def test_a_secret_among_the_public_keys_is_not_used(stack: Stack, issuer: Issuer) -> None:
    shared = b"0123456789abcdef0123456789abcdef"
    issuer.keys = [{"kty": "oct", "kid": "main", "k": segment(shared), "alg": "RS256"}]

    assert "does not show" in refusal(stack, issuer.token())
    token = forge({"alg": "HS256", "kid": "main"}, issuer.claims(), shared)
    assert "algorithm" in refusal(stack, token)


@pytest.mark.parametrize(
    "key", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "PS256"}, {"kty": "EC"}, {"kid": 7}]
)
def test_a_key_made_for_something_else_verifies_nothing(
    stack: Stack, issuer: Issuer, key: dict[str, Any]
) -> None:
    issuer.keys = [rsa_jwk("main", **key)]

    assert "does not show" in refusal(stack, issuer.token())


def test_a_key_that_could_be_guessed_verifies_nothing(stack: Stack, issuer: Issuer) -> None:
    issuer.keys = [rsa_jwk("short", 1024)]
    short: Any = rsa_key("short", 1024)
    with pytest.warns(UserWarning, match="1024 bits"):
        token = jwt.encode(issuer.claims(), short, algorithm="RS256", headers={"kid": "short"})

    assert "not usable" in refusal(stack, token)


def test_an_algorithm_off_the_list_is_401(stack: Stack, issuer: Issuer) -> None:
    issuer.keys = [rsa_jwk("main", alg="RS512")]
    token = jwt.encode(issuer.claims(), rsa_key("main"), algorithm="RS512", headers={"kid": "main"})

    assert refusal(stack, token).endswith("these are: ES256, RS256")


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk"])
def test_keys_that_the_token_brings_are_not_followed(
    stack: Stack, issuer: Issuer, name: str
) -> None:
    brought: Any = rsa_jwk("attacker") if name == "jwk" else f"{issuer.url}/evil"
    headers = {"kid": "attacker", name: brought}
    token = jwt.encode(issuer.claims(), rsa_key("attacker"), algorithm="RS256", headers=headers)

    assert "does not show" in refusal(stack, token)
    assert "/evil" not in issuer.asked


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "b64"])
def test_an_extension_that_must_be_understood_is_401(
    stack: Stack, issuer: Issuer, crit: Any
) -> None:
    token = forge({"alg": "RS256", "kid": "main", "crit": crit}, issuer.claims(), b"")

    assert "extension (crit)" in refusal(stack, token)


@pytest.mark.parametrize(
    "token",
    ["x", "a.b", "a.b.c", "a.b.c.d", "..", "....", "é.é.é", "eyJhbGciOiJSUzI1NiJ9..", "[].[].[]",
     f"{segment(b'[' * 4_000)}.e30.x", f"{segment([1])}.e30.x", f"{segment(b'{{')}.e30.x",
     f"{segment({'alg': ['RS256']})}.e30.x", f"{segment({'alg': 'RS256', 'kid': {}})}.e30.x"],
)  # fmt: skip
def test_a_malformed_token_is_401_and_asks_nobody(stack: Stack, issuer: Issuer, token: str) -> None:
    answer = me(stack, token)

    assert answer.status == 401
    if "eyJhbGciOiJSUzI1NiJ9" not in token:
        assert issuer.asked == []


def test_a_signed_text_that_is_no_object_is_401(stack: Stack, issuer: Issuer) -> None:
    for content in (b"[]", b"x", b"[" * 3_000, b"7"):
        token = jwt.PyJWS().encode(content, rsa_key("main"), "RS256", headers={"kid": "main"})
        assert refusal(stack, token) == "The token is malformed"


def test_a_token_over_8_kb_is_401(stack: Stack, issuer: Issuer) -> None:
    assert me(stack, issuer.token(padding="x" * 5_000)).status == 200
    assert "at most 8,192 characters" in refusal(stack, issuer.token(padding="x" * 6_000))


def test_where_no_issuer_is_named_tokens_count_for_nothing(
    stack: Stack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OIDC_ISSUER="")

    assert "No tokens are accepted here" in refusal(stack, issuer.token())


def test_an_issuer_without_an_audience_does_not_start() -> None:
    given = config().model_dump() | {"oidc_issuer": "https://id.example", "oidc_audience": ""}

    with pytest.raises(ValueError, match="OIDC_ISSUER without OIDC_AUDIENCE"):
        Config.model_validate(given)


# ---- the issuer's keys


def test_an_unknown_key_id_is_401_and_a_flood_of_them_is_none_of_fetches(
    stack: Stack, issuer: Issuer
) -> None:
    for number in range(20):
        assert "does not show" in refusal(stack, issuer.token(kid=f"made-up-{number}"))

    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.fixture
def clock(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the key set's time, not the tokens'."""
    started, passed = datetime.now(UTC), {"time": timedelta()}
    monkeypatch.setattr(identity.verifier()._keys, "_now", lambda: started + passed["time"])
    return lambda **time: passed.update(time=timedelta(**time))


def test_a_key_rotated_at_the_issuer_is_found(stack: Stack, issuer: Issuer, clock: Any) -> None:
    me(stack, issuer.token())
    issuer.keys = [rsa_jwk("next")]

    clock(seconds=30)
    assert me(stack, issuer.token(key="next", kid="next")).status == 200
    # And what was signed with the one that is gone counts no more.
    assert "does not show" in refusal(stack, issuer.token())


def test_an_issuer_that_is_away_is_503_for_who_has_a_token(stack: Stack, issuer: Issuer) -> None:
    issuer.status = 500

    answer = me(stack, issuer.token())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    # Keys need no issuer.
    made = stack.call(
        "POST", "/identity/keys", roles="admin", body={"name": "n", "roles": ["agent"]}
    )
    headers = {"X-Api-Key": made.body["secret"]}
    assert stack.call("GET", "/identity/me", roles=None, headers=headers).status == 200


def test_while_it_is_away_known_keys_are_believed_for_an_hour(
    stack: Stack, issuer: Issuer, clock: Any
) -> None:
    me(stack, issuer.token())
    issuer.status = 500

    clock(minutes=59)
    assert me(stack, issuer.token()).status == 200
    clock(minutes=61)
    assert me(stack, issuer.token()).status == 503


def test_the_issuer_is_reached_by_the_guarded_client_alone(
    stack: Stack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OUTBOUND_ALLOW="")

    assert me(stack, issuer.token()).status == 503
    assert issuer.asked == []


# ---- roles and tenants


def test_keycloaks_roles_stand_deeper(
    stack: Stack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(
        monkeypatch, OIDC_ROLES_CLAIM="realm_access.roles", OIDC_ROLE_MAP="ops=operator,boss=admin"
    )
    token = issuer.token(realm_access={"roles": ["boss", "offline_access", "viewer"]})

    assert me(stack, token).body["roles"] == ["admin"]


def test_cognitos_groups_are_roles(
    stack: Stack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OIDC_ROLES_CLAIM="cognito:groups", OIDC_TENANT_CLAIM="custom:tenant")
    claims: dict[str, Any] = {"cognito:groups": ["viewer"], "custom:tenant": "globex"}
    token = issuer.token(**claims)

    body = me(stack, token).body
    assert (body["roles"], body["tenant_id"]) == (["viewer"], "globex")


def test_an_identity_without_roles_is_403(stack: Stack, issuer: Issuer) -> None:
    assert me(stack, issuer.token(roles=["somebody"])).status == 403


@pytest.mark.parametrize("claim", [None, [], "", "system", "a/b"])
def test_an_identity_without_a_tenant_is_403_and_told_why(
    stack: Stack, issuer: Issuer, claim: Any
) -> None:
    answer = me(stack, issuer.token(tenant_id=claim, roles=["admin"]))

    assert answer.status == 403
    assert "Your identity names no tenant" in answer.body["detail"]


def test_an_identity_of_one_tenant_stays_there(stack: Stack, issuer: Issuer) -> None:
    assert me(stack, issuer.token(), tenant="globex").body["tenant_id"] == "acme"
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    foreign = stack.call(
        "GET", "/events/recent", roles=None, headers=headers, query={"tenant_id": "globex"}
    )
    assert foreign.status == 403


def test_an_identity_of_several_is_told_by_the_header(stack: Stack, issuer: Issuer) -> None:
    token = issuer.token(tenant_id=["acme", "globex"])

    assert me(stack, token).body["tenant_id"] == "acme"
    assert me(stack, token, tenant="globex").body["tenant_id"] == "globex"
    assert me(stack, token, tenant="initech").status == 403
    assert me(stack, token, tenant="a b").status == 400


def test_a_star_is_every_tenant(stack: Stack, issuer: Issuer) -> None:
    token = issuer.token(tenant_id="*")

    body = me(stack, token).body
    assert (body["tenant_id"], body["cross_tenant"]) == (None, True)
    assert me(stack, token, tenant="globex").body["tenant_id"] == "globex"


def test_a_tenants_admin_by_token_gives_no_other_tenant_away(stack: Stack, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(roles=['admin'])}"}

    def make(**given: Any) -> int:
        body = {"name": "n", "roles": ["admin"], **given}
        return stack.call("POST", "/identity/keys", roles=None, headers=headers, body=body).status

    assert [make(), make(tenant_id="globex"), make(cross_tenant=True)] == [200, 403, 403]


# ---- what it costs


def test_cryptography_is_loaded_by_the_first_token_and_not_before() -> None:
    code = (
        "import sys; exec(open('tests/conftest.py').read())\n"
        "import functions.events.publish, functions.identity.api, functions.registry.api\n"
        "print([m for m in ('jwt', 'cryptography', 'httpcore') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ".:layers/core", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
