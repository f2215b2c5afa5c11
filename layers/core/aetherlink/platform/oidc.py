"""Tokens (JWT) of an OpenID Connect issuer: whether one is genuine, and what it grants.

PyJWT checks signature and times; what a header says about keys is never followed (`jku`, `x5u`,
`jwk`), and the key decides with the configuration which algorithm it may be (RFC 8725). Imported when
the first token is presented: cryptography takes longer to load than a request may.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt

from aetherlink.kernel.errors import UnauthenticatedError
from aetherlink.kernel.tenancy import GRANTABLE, SYSTEM, TENANT_PATTERN, Role, TenantId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.platform.jwks import Jwk, KeySet

MAX_TOKEN = 8 * 1024
LEEWAY_SECONDS = 60
EVERY_TENANT = "*"
_MAX_SUBJECT = 255
_SEGMENTS = 3

# What may be configured, and the type (and curve) of the keys it goes with. HMAC is not among them:
# its key would have to be a secret, and the issuer's are public.
_KEY_TYPES: Final[Mapping[str, tuple[str, str | None]]] = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}


@dataclass(frozen=True)
class Settings:
    """The parameters Oidc…, parsed."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    roles_claim: str
    tenant_claim: str
    role_map: Mapping[str, Role]


@dataclass(frozen=True)
class Grant:
    """What a genuine token says. `tenants` in its order, without those that are no tenant ids."""

    subject: str
    roles: frozenset[Role]
    tenants: tuple[TenantId, ...]
    cross_tenant: bool


def settings_of(
    *,
    issuer: str,
    audience: str,
    algorithms: str,
    roles_claim: str,
    tenant_claim: str,
    role_map: str,
) -> Settings:
    """The parameters as they are written. Algorithms that no public key goes with are left out,
    whatever the configuration says."""
    pairs = (pair.partition("=") for pair in role_map.split(",") if "=" in pair)
    known = {role.value: role for role in GRANTABLE}
    mapped = {name.strip(): role.strip() for name, _, role in pairs}
    return Settings(
        issuer=issuer,
        audience=audience,
        algorithms=frozenset(name.strip() for name in algorithms.split(",")) & _KEY_TYPES.keys(),
        roles_claim=roles_claim,
        tenant_claim=tenant_claim,
        # With a map, only what is in it: a group that happens to be called admin is no admin.
        role_map={name: known[role] for name, role in mapped.items() if role in known}
        if role_map.strip()
        else known,
    )


class Verifier:
    def __init__(self, settings: Settings, keys: KeySet) -> None:
        self._settings = settings
        self._keys = keys

    def verify(self, token: str) -> Grant:
        """What `token` grants. Raises UnauthenticatedError saying what is wrong with it, and
        UnavailableError if the issuer's keys cannot be had."""
        if not self._settings.issuer or not self._settings.audience:
            raise UnauthenticatedError(
                "No tokens are accepted here (parameters OidcIssuer and OidcAudience); send a key"
            )
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            allowed = ", ".join(sorted(self._settings.algorithms))
            raise UnauthenticatedError(
                f"The token's algorithm (alg) is not accepted; these are: {allowed}"
            )
        if "crit" in header:
            raise UnauthenticatedError("The token needs an extension (crit); none is understood")
        if kid is not None and not isinstance(kid, str):
            raise UnauthenticatedError("The token's key id (kid) must be a string")
        key = self._keys.pick(lambda keys: _fitting(keys, kid, algorithm))
        if key is None:
            raise UnauthenticatedError(
                "The token is signed with a key (kid) that the issuer does not show for it"
            )
        claims = self._claims(token, key, algorithm)
        self._check_audience(claims)
        return granted(claims, self._settings)

    def _claims(self, token: str, key: Jwk, algorithm: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(key, algorithm=algorithm),
                algorithms=[algorithm],
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp", "iss", "sub"],
                    # By us: Cognito's access tokens have none.
                    "verify_aud": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(_reason(error, self._settings.issuer)) from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UnauthenticatedError("The token is malformed") from error
        return claims

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        named = claims.get("aud")
        if named is None and claims.get("token_use") == "access":
            # Cognito (Using tokens with user pools, "access token"): client_id stands for aud.
            named = claims.get("client_id")
        listed = named if isinstance(named, list) else [named]
        if self._settings.audience not in listed:
            raise UnauthenticatedError(
                "The token was made for another audience (aud) than this API; it must name "
                f"'{self._settings.audience}'"
            )


def granted(claims: Mapping[str, Any], settings: Settings) -> Grant:
    """Roles and tenants in the claims of a genuine token; names that we do not know count for
    nothing."""
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise UnauthenticatedError(
            f"The token's subject (sub) must be a text of 1 to {_MAX_SUBJECT} characters"
        )
    tenants = _names(claim_at(claims, settings.tenant_claim))
    roles = _names(claim_at(claims, settings.roles_claim))
    return Grant(
        subject=subject,
        roles=frozenset(settings.role_map[name] for name in roles if name in settings.role_map),
        tenants=tuple(
            TenantId(name)
            for name in dict.fromkeys(tenants)
            # The platform's own tenant is nobody's home.
            if TENANT_PATTERN.fullmatch(name) and name != SYSTEM
        ),
        cross_tenant=EVERY_TENANT in tenants,
    )


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim called `path`; else where its dots lead, `realm_access.roles`; None if nowhere.

    A name on the way may have dots of its own, as `resource_access.my.client.roles` does.
    """
    if path in claims:
        return claims[path]
    for at, character in enumerate(path):
        inner = claims.get(path[:at]) if character == "." else None
        if isinstance(inner, dict):
            found = claim_at(inner, path[at + 1 :])
            if found is not None:
                return found
    return None


def _names(claim: Any) -> list[str]:
    """A claim's names: a list, or a text with commas or blanks between them."""
    if isinstance(claim, str):
        return claim.replace(",", " ").split()
    listed = claim if isinstance(claim, list) else []
    return [name for name in listed if isinstance(name, str)]


def _header(token: str) -> dict[str, Any]:
    """The token's header, unverified: it only says which key to try."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != _SEGMENTS or not token.isascii():
        raise UnauthenticatedError(
            f"The credential is neither a key (ak_…) nor a signed token (JWT) of at most "
            f"{MAX_TOKEN:,} characters"
        )
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, RecursionError) as error:
        raise UnauthenticatedError("The token's header is malformed") from error
    if not isinstance(header, dict):
        raise UnauthenticatedError("The token's header is malformed")
    return header


def _fitting(keys: list[Jwk], kid: str | None, algorithm: str) -> Jwk | None:
    """The key that may have signed: by its id, and made for this algorithm. A token without a key id
    is tried with the only key that it can mean."""
    kind, curve = _KEY_TYPES[algorithm]
    fitting = [
        key
        for key in keys
        if key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
    ]
    if kid is not None:
        return next((key for key in fitting if key.get("kid") == kid), None)
    return fitting[0] if len(fitting) == 1 else None


def _reason(error: jwt.PyJWTError, issuer: str) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token lacks the claim '{error.claim}'"
    if isinstance(error, jwt.InvalidIssuerError):
        return f"The token is from another issuer (iss) than '{issuer}'"
    known = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return next(known, "The token is malformed")


_REASONS: Final[Mapping[type[jwt.PyJWTError], str]] = {
    jwt.ExpiredSignatureError: "The token has expired; get a new one from the issuer",
    jwt.ImmatureSignatureError: "The token is not valid yet (nbf, iat); is a clock wrong?",
    jwt.InvalidSignatureError: "The token's signature is wrong",
    jwt.InvalidKeyError: "The issuer's key for this token is not usable; is it too short?",
}
