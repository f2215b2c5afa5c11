"""The one place where credentials become a caller.

A credential that is presented counts, and nothing else does: if it is not valid the answer is 401,
in development mode too. Without one, development mode, which the configuration admits on the local
stage alone, believes headers that anybody can write.
"""

from __future__ import annotations

import json
from functools import cache
from secrets import compare_digest
from typing import TYPE_CHECKING, Literal

from aetherlink.kernel.errors import ForbiddenError, InvalidError, UnauthenticatedError
from aetherlink.kernel.tenancy import (
    DEFAULT,
    GRANTABLE,
    TENANT_PATTERN,
    Caller,
    Role,
    TenantId,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.kernel.access import Roles
    from aetherlink.platform.credentials import Credentials
    from aetherlink.platform.oidc import Verifier

# Both ways in: a token or a key as Bearer, or a key in X-Api-Key.
CHALLENGE = 'Bearer realm="aetherlink", ApiKey realm="aetherlink"'


def identify(
    headers: Mapping[str, str],
    *,
    mode: Literal["token", "dev"],
    ip: str,
    trace_id: str,
    may_be_cached: bool,
) -> Caller:
    """The caller behind `headers` (names in lower case). Raises UnauthenticatedError if nobody is.

    An identity that is known and may still do nothing as it comes, since it has no tenant or names
    one that it was not granted, comes back with a `refusal`, for the record.
    """
    named = headers.get("x-tenant-id", "").strip()
    credential = _presented(headers)
    if credential:
        # Deferred: an open route needs neither, and tokens load cryptography.
        from aetherlink.platform.credentials import is_ours  # noqa: PLC0415

        if is_ours(credential):
            return _by_key(credential, named, ip, trace_id, may_be_cached=may_be_cached)
        return _by_token(credential, named, ip, trace_id)
    if mode == "dev" and headers.get("x-user-roles", "").strip():
        return _developer(headers, ip, trace_id)
    if mode == "dev":
        raise UnauthenticatedError(
            "Authentication required: send 'Authorization: Bearer <token or key>' or X-Api-Key; in "
            "development mode X-User-Roles, such as 'operator', will do"
        )
    raise UnauthenticatedError(
        "Authentication required: send 'Authorization: Bearer <token or key>' or X-Api-Key"
    )


def authorise(caller: Caller, required: Roles, method: str, template: str) -> None:
    """Raises ForbiddenError unless the caller holds one of the roles, and its key covers the route."""
    if caller.refusal:
        raise ForbiddenError(caller.refusal)
    if not caller.has_any(frozenset(required)):
        named = ", ".join(role for role in required if role in GRANTABLE) or "none may"
        raise ForbiddenError(f"Insufficient permissions. Required roles: {named}")
    if not caller.scopes.allow_route(method, template):
        raise ForbiddenError(
            f"This key is limited to {', '.join(caller.scopes.routes)}; {method} {template} is not "
            "among them"
        )


@cache
def credentials() -> Credentials:
    from aetherlink.kernel.time import utc_now  # noqa: PLC0415
    from aetherlink.platform.config import config  # noqa: PLC0415
    from aetherlink.platform.credentials import Credentials  # noqa: PLC0415
    from aetherlink.platform.dynamo import Table  # noqa: PLC0415

    return Credentials(Table(config().control_table), utc_now)


@cache
def verifier() -> Verifier:
    from aetherlink.kernel.time import utc_now  # noqa: PLC0415
    from aetherlink.platform.config import config  # noqa: PLC0415
    from aetherlink.platform.jwks import KeySet  # noqa: PLC0415
    from aetherlink.platform.oidc import Verifier, settings_of  # noqa: PLC0415
    from aetherlink.platform.outbound import Outbound, parse_allow_list  # noqa: PLC0415

    given = config()
    settings = settings_of(
        issuer=given.oidc_issuer,
        audience=given.oidc_audience,
        algorithms=given.oidc_algorithms,
        roles_claim=given.oidc_roles_claim,
        tenant_claim=given.oidc_tenant_claim,
        role_map=given.oidc_role_map,
    )
    outbound = Outbound(parse_allow_list(given.outbound_allow))
    keys = KeySet(outbound, issuer=settings.issuer, jwks_url=given.oidc_jwks_url, now=utc_now)
    return Verifier(settings, keys)


def _presented(headers: Mapping[str, str]) -> str:
    """The credential in the headers; "" if there is none."""
    authorization = headers.get("authorization", "").strip()
    key = headers.get("x-api-key", "").strip()
    scheme, _, bearer = authorization.partition(" ")
    bearer = bearer.strip()
    if authorization and (scheme.lower() != "bearer" or not bearer):
        raise UnauthenticatedError("Authorization must be 'Bearer <token or key>'")
    if key and not key.startswith(("ak_", "rt_")):
        raise UnauthenticatedError(
            "X-Api-Key takes a key (ak_…) or a registration token (rt_…); a token of the issuer "
            "goes into 'Authorization: Bearer <token>'"
        )
    if bearer and key and not compare_digest(_octets(bearer), _octets(key)):
        # A request that makes no sense, rather than a wrong credential: whichever we took, the other
        # might be whom a proxy or a client's default meant.
        raise InvalidError("Authorization and X-Api-Key name two identities; send one of them")
    return bearer or key


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _by_key(secret: str, named: str, ip: str, trace_id: str, *, may_be_cached: bool) -> Caller:
    from aetherlink.platform.credentials import is_well_formed  # noqa: PLC0415

    if not is_well_formed(secret):
        raise UnauthenticatedError(
            "This key is not well-formed (its checksum does not fit); was all of it copied?"
        )
    found = credentials().look_up(secret, may_be_cached=may_be_cached)
    if found is None:
        raise UnauthenticatedError("This key is unknown, revoked or expired")
    tenant, refusal = choose_tenant(found.tenants, named, cross_tenant=found.cross_tenant)
    return Caller(
        subject=f"{found.kind}:{found.name}",
        roles=found.roles,
        tenant_id=tenant,
        cross_tenant=found.cross_tenant,
        ip=ip,
        trace_id=trace_id,
        tenants=_several(found.tenants),
        key_id=found.name if found.kind == "key" else "",
        service=found.name if found.kind == "service" else "",
        scopes=found.scopes,
        requests_per_minute=found.requests_per_minute,
        refusal=refusal,
    )


def _by_token(token: str, named: str, ip: str, trace_id: str) -> Caller:
    grant = verifier().verify(token)
    tenant, refusal = choose_tenant(grant.tenants, named, cross_tenant=grant.cross_tenant)
    return Caller(
        subject=f"oidc:{grant.subject}",
        roles=grant.roles,
        tenant_id=tenant,
        cross_tenant=grant.cross_tenant,
        ip=ip,
        trace_id=trace_id,
        tenants=_several(grant.tenants),
        refusal=refusal,
    )


def choose_tenant(
    granted: tuple[TenantId, ...], named: str, *, cross_tenant: bool
) -> tuple[TenantId | None, str]:
    """The tenant that an identity stands in, and why it is refused ("" if it is not).

    X-Tenant-ID (`named`) counts only for who was granted more than one tenant: of one it is ignored.
    With the cross-tenant grant and no name: none in particular, which reads as all.
    """
    if not granted and not cross_tenant:
        return None, (
            "Your identity names no tenant; whoever runs the issuer has to put one into the claim "
            "that the parameter OidcTenantClaim names"
        )
    home = None if cross_tenant else granted[0]
    if not named or (len(granted) == 1 and not cross_tenant):
        return home, ""
    if not TENANT_PATTERN.fullmatch(named):
        raise InvalidError(_MALFORMED_TENANT)
    if cross_tenant or named in granted:
        return TenantId(named), ""
    return home, f"X-Tenant-ID names '{named}', which is none of your tenants"


def _several(tenants: tuple[TenantId, ...]) -> frozenset[TenantId]:
    return frozenset(tenants) if len(tenants) > 1 else frozenset()


def _developer(headers: Mapping[str, str], ip: str, trace_id: str) -> Caller:
    roles = _roles(headers["x-user-roles"].strip())
    cross_tenant = bool(roles & {Role.ADMIN, Role.OPERATOR})
    named = headers.get("x-tenant-id", "").strip()
    if named and not TENANT_PATTERN.fullmatch(named):
        raise InvalidError(_MALFORMED_TENANT)
    tenant = TenantId(named) if named else None
    if tenant is None and not cross_tenant:
        tenant = DEFAULT
    return Caller(
        subject="dev:" + ",".join(sorted(roles)),
        roles=roles,
        tenant_id=tenant,
        cross_tenant=cross_tenant,
        ip=ip,
        trace_id=trace_id,
    )


def _roles(header: str) -> frozenset[Role]:
    """A comma list or a JSON array of role names; what is no role of ours counts for nothing."""
    names: object = [name.strip() for name in header.split(",")]
    if header.startswith("["):
        try:
            names = json.loads(header)
        except (ValueError, RecursionError) as error:
            raise InvalidError(_MALFORMED) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidError(_MALFORMED)
    known = {role.value: role for role in GRANTABLE}
    return frozenset(known[name.strip()] for name in names if name.strip() in known)


_MALFORMED = "X-User-Roles must be a comma list such as operator,admin or a JSON array of strings"
_MALFORMED_TENANT = (
    "X-Tenant-ID must have 1 to 64 letters, digits, '_', '.' or '-' and start with a letter or a "
    "digit"
)
