"""How many requests a tenant and a key may make; estimated here, counted for all instances behind.

    control    pk  <tenant>#rates    sk  tenant#<minute>          n, expires_at
                                     sk  key:<key id>#<minute>    (pk system#rates for a key that is
                                                                  not one tenant's)

A minute is a number of minutes since 1970. What is refused is not counted: who keeps knocking gets in
again all the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from aetherlink.kernel.errors import ForbiddenError
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import utc_now
from aetherlink.platform import behind
from aetherlink.platform.config import config
from aetherlink.platform.meters import Limit, Meters, Place
from aetherlink.platform.standing import Standing, Standings
from aetherlink.platform.window import MINUTE_SECONDS

if TYPE_CHECKING:
    from typing import Any

    from aetherlink.kernel.tenancy import Caller
    from aetherlink.platform.dynamo import Table

_SAFE_METHODS = frozenset({"GET", "HEAD"})


def limits_of(caller: Caller, standing: Standing, default: int) -> tuple[Limit, ...]:
    """Those in force for a caller: its tenant's and its key's."""
    found = []
    own = standing.requests_per_minute
    of_tenant = default if own is None else own
    if caller.tenant_id and of_tenant:
        whose, place = f"Tenant '{caller.tenant_id}'", (_partition(caller.tenant_id), "tenant")
        found.append(Limit(whose, place, of_tenant))
    if caller.key_id and caller.requests_per_minute:
        # One count of a key that acts for several tenants.
        is_of_several = caller.cross_tenant or caller.tenants or caller.tenant_id is None
        home = SYSTEM if is_of_several else caller.home
        place = (_partition(home), f"key:{caller.key_id}")
        found.append(Limit(f"Key '{caller.key_id}'", place, caller.requests_per_minute))
    return tuple(found)


def check_standing(caller: Caller, standing: Standing, method: str, resource: str) -> None:
    """Raises ForbiddenError for a tenant that is leaving.

    Who sees all tenants sees it through: follows the job, reads what is left, asks again.
    """
    if not (standing.is_leaving or standing.has_left):
        return
    if caller.cross_tenant and (method in _SAFE_METHODS or resource == "/tenants/{tenant_id}"):
        return
    what = "has been removed" if standing.has_left else "is being removed"
    raise ForbiddenError(f"Tenant '{caller.tenant_id}' {what}")


def _partition(tenant: str) -> str:
    return f"{tenant}#rates"


class _Control:
    """The control table, reached when it is needed: the open routes start without boto3."""

    def add(self, place: Place, minute: int, number: int) -> int:
        pk, scope = place
        # Long enough for who writes late; deleted for free then.
        expires_at = (minute + 10) * MINUTE_SECONDS
        item = _table().add(
            pk, f"{scope}#{minute}", {"n": number}, setting={"expires_at": expires_at}
        )
        return int(item["n"])

    def get(self, place: Place, minute: int) -> int:
        pk, scope = place
        item = _table().get(pk, f"{scope}#{minute}")
        return int(item["n"]) if item else 0


class _Records:
    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        return _table().get(pk, sk)


def _table() -> Table:
    from aetherlink.platform.dynamo import Table  # noqa: PLC0415

    return Table(config().control_table)


@cache
def _meters() -> Meters:
    return Meters(_Control(), utc_now)


@cache
def _standings() -> Standings:
    return Standings(_Records(), utc_now)


def admit(caller: Caller, method: str, resource: str) -> None:
    """Raises TooManyRequestsError over a limit, ForbiddenError for a tenant that is being removed.

    Costs one GetItem in 30 seconds and tenant, and else no AWS call.
    """
    behind.wake()
    standing = Standing()
    if caller.tenant_id:
        standing = _standings().of(caller.tenant_id)
        note_standing(caller)
        check_standing(caller, standing, method, resource)
        if caller.trail.is_leaving:
            # Nor is it counted: the tenant is to have no numbers any more.
            standing = replace(standing, requests_per_minute=0)
    _meters().admit(limits_of(caller, standing, config().requests_per_minute))


def is_leaving(tenant: str) -> bool:
    """Whether it is being removed, or has been; as it was at most 30 s ago."""
    standing = _standings().of(tenant)
    return standing.is_leaving or standing.has_left


def standing_of(tenant: str) -> Standing:
    """What the tenant's record says, as it was at most 30 seconds ago."""
    return _standings().of(tenant)


def note_standing(caller: Caller) -> None:
    """Note whether the caller's tenant is leaving: then the request is not noted in its name. Also for
    who was refused before it was admitted."""
    caller.trail.is_leaving = caller.tenant_id is not None and is_leaving(caller.tenant_id)


def check_tenant(tenant: str) -> None:
    """Raises ForbiddenError for a tenant that is leaving: for who writes to one that is not its own."""
    if is_leaving(tenant):
        raise ForbiddenError(f"Tenant '{tenant}' is being removed, or has been")


def forget() -> None:
    """What this process knows of tenants and their requests."""
    _meters().forget()
    _standings().forget()
