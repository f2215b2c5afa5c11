"""The one place where credentials become a caller.

In `token` mode only verified credentials count; no verifier is configured yet, so every protected
route answers 401. In `dev` mode, which the configuration admits on the local stage alone, headers
that anybody can write are believed.
"""

from __future__ import annotations

import json
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

CHALLENGE = 'Bearer realm="aetherlink"'


def identify(
    headers: Mapping[str, str],
    *,
    mode: Literal["token", "dev"],
    ip: str,
    trace_id: str,
    may_be_cached: bool,
) -> Caller:
    """The caller behind `headers` (names in lower case). Raises UnauthenticatedError if nobody is."""
    if mode == "dev" and headers.get("x-user-roles", "").strip():
        return _developer(headers, ip, trace_id)
    if headers.get("authorization", "").strip() or headers.get("x-api-key", "").strip():
        raise UnauthenticatedError("This credential is not valid here")
    if mode == "dev":
        raise UnauthenticatedError(
            "Authentication required: send X-User-Roles, such as 'operator' (development mode)"
        )
    raise UnauthenticatedError(
        "Authentication required: send 'Authorization: Bearer <token>' or X-Api-Key"
    )


def authorise(caller: Caller, required: Roles, method: str, template: str) -> None:
    """Raises ForbiddenError unless the caller holds one of the roles, and its key covers the route."""
    if not caller.has_any(frozenset(required)):
        raise ForbiddenError(
            f"Insufficient permissions. Required roles: {', '.join(role for role in required if role in GRANTABLE) or 'none may'}"
        )
    if not caller.scopes.allow_route(method, template):
        raise ForbiddenError(
            f"This key is limited to {', '.join(caller.scopes.routes)}; {method} {template} is not "
            "among them"
        )


def _developer(headers: Mapping[str, str], ip: str, trace_id: str) -> Caller:
    roles = _roles(headers["x-user-roles"].strip())
    cross_tenant = bool(roles & {Role.ADMIN, Role.OPERATOR})
    named = headers.get("x-tenant-id", "").strip()
    if named and not TENANT_PATTERN.fullmatch(named):
        raise InvalidError(
            "X-Tenant-ID must have 1 to 64 letters, digits, '_', '.' or '-' and start with a "
            "letter or digit"
        )
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
