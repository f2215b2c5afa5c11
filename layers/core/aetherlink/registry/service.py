"""Register, renew, list and remove services."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.events.model import Event, Filters, Severity, announce
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    ForbiddenError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.ids import uuid7
from aetherlink.kernel.time import to_text
from aetherlink.registry.graph import cycle_through
from aetherlink.registry.history import REGISTERED, UNREGISTERED, there_at, told
from aetherlink.registry.model import (
    MAX_SERVICES,
    Registration,
    Service,
    Standing,
    State,
    admit,
    check_self,
    shown,
)
from aetherlink.registry.plan import ActionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aetherlink.kernel.tenancy import Caller, TenantId
    from aetherlink.registry.model import Entry, Seen
    from aetherlink.registry.plan import Targets

SOURCE = "aether-command-center"
# Two who register the same name at the same moment: one of them looks again.
_TRIES = 3
# What was registered at some time is found among so many events of each kind.
_EXAMINED = 1_000
_PAGE = 200


@dataclass(frozen=True)
class Wanted:
    """What a list asks for. `version` and `tag` are exact."""

    tag: str | None = None
    state: State | None = None
    version: str | None = None

    def fit(self, service: Service, state: State) -> bool:
        return (
            (self.tag is None or self.tag in service.tags)
            and (self.version is None or self.version == service.version)
            and (self.state is None or self.state is state)
        )


class Services(Protocol):
    """What the registry needs of its storage."""

    def put(
        self, tenant_id: TenantId, service: Service, earlier: Service | None, announcing: Event
    ) -> bool: ...
    def get(self, tenant_id: TenantId, name: str) -> Service | None: ...
    def see(self, tenant_id: TenantId, name: str, at: datetime) -> bool: ...
    def delete(self, tenant_id: TenantId, service: Service, announcing: Event) -> bool: ...
    def count(self, tenant_id: TenantId) -> int: ...
    def of(self, tenant_id: TenantId) -> list[Service]: ...
    def all(self) -> list[Service]: ...
    def dependencies(self, tenant_id: TenantId) -> dict[str, list[str]]: ...


class Health(Protocol):
    """What was found when services were looked at, by tenant and name."""

    def __call__(self, view: TenantId | None) -> Mapping[tuple[str, str], Seen]: ...


class Past(Protocol):
    """Stored events, newest first."""

    def page(
        self, view: TenantId | None, filters: Filters, *, below: str | None, limit: int
    ) -> tuple[list[Event], str | None]: ...


class Minting(Protocol):
    """Where registration tokens come from."""

    def generate(self) -> str: ...
    def hash_of(self, secret: str) -> str: ...


class Registry:
    """`targets` is what healing may act on besides hooks; `new_secret` makes what a hook is signed
    with."""

    def __init__(
        self,
        services: Services,
        mint: Minting,
        *,
        health: Health,
        past: Past,
        targets: Targets,
        new_secret: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._services = services
        self._mint = mint
        self._health = health
        self._past = past
        self._targets = targets
        self._new_secret = new_secret
        self._now = now

    def register(self, caller: Caller, registration: Registration) -> dict[str, Any]:
        """Add or renew a service of the caller's tenant; the tenant's count comes back, and of a new
        service the token with which it may look after itself. A hook's secret that was made here comes
        back this once."""
        check_self(caller, registration.name)
        tenant = caller.writes(registration.tenant_id)
        self._check(tenant, registration)
        for _ in range(_TRIES):
            earlier = self._services.get(tenant, registration.name)
            token = self._token(caller, registration, earlier)
            secret, is_made = self._secret(registration, earlier)
            now = self._now()
            service = admit(
                registration,
                tenant,
                seen_at=now,
                earlier=earlier,
                token_hash=self._mint.hash_of(token) if token else None,
                heal_secret=secret,
            )
            if earlier is None and self._services.count(tenant) >= MAX_SERVICES:
                raise ConflictError(f"A tenant has at most {MAX_SERVICES:,} services; remove one")
            announcing = self._registered(caller, service, now)
            if self._services.put(tenant, service, earlier, announcing):
                break
        else:
            raise ConflictError(_busy(registration.name))
        caller.trail.changed(
            f"service/{service.name}",
            before=shown(earlier, State.UNKNOWN) if earlier else None,
            after=shown(service, State.UNKNOWN),
        )
        return {
            "status": "ok",
            "registered": service.name,
            "service_count": self._services.count(tenant),
            **({"registration_token": token} if token else {}),
            **({"heal_secret": secret} if is_made else {}),
        }

    def _check(self, tenant: TenantId, registration: Registration) -> None:
        """Raises UnprocessableError for a plan that is not allowed, and for services that would wait for
        each other."""
        plan = registration.heal
        if plan and not self._targets.allow(tenant, plan):
            raise UnprocessableError(
                (
                    Flaw(
                        "/heal",
                        f"{plan.target} may not be acted on for {tenant}; whoever runs this deployment "
                        f"allows it in parameter HealTargets, as {tenant}={plan.target}",
                    ),
                )
            )
        if registration.depends_on:
            name = registration.name
            edges = {**self._services.dependencies(tenant), name: registration.depends_on}
            cycle = cycle_through(name, edges)
            if cycle:
                raise UnprocessableError(
                    (Flaw("/depends_on", f"would be a cycle: {' → '.join(cycle)}"),)
                )

    def _secret(
        self, registration: Registration, earlier: Service | None
    ) -> tuple[str | None, bool]:
        """What the hook's calls are to be signed with from now on (None: as before), and whether it was
        made here."""
        plan = registration.heal
        if plan is None or plan.action is not ActionKind.HTTP:
            return None, False
        if plan.secret:
            return plan.secret, False
        if earlier and earlier.heal_secret:
            return None, False
        return self._new_secret(), True

    def heartbeat(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        """The service is there: its lease, if it has one, begins anew."""
        check_self(caller, name)
        tenant, now = caller.writes(named_tenant), self._now()
        if not self._services.see(tenant, name, now):
            raise NotFoundError(_unknown(name))
        return {"status": "ok", "service": name, "last_seen": to_text(now)}

    def catalogue(self, view: TenantId | None, wanted: Wanted) -> dict[str, Any]:
        """The services and how they stand; `self_preservation` names those whose lease has run out
        together with most others', and who are kept for that."""
        services = self._services.all() if view is None else self._services.of(view)
        seen, standings = self._health(view), self._standings(services)
        listed = []
        for each in services:
            found = seen.get((each.tenant_id, each.name))
            state = standings[each.tenant_id].state(each.name, found)
            if wanted.fit(each, state):
                listed.append(shown(each, state, found))
        kept = sorted(name for standing in standings.values() for name in standing.preserved)
        return {
            "status": "ok",
            "count": len(listed),
            "services": listed,
            "self_preservation": {"active": bool(kept), "services": kept},
        }

    def _standings(self, services: list[Service]) -> dict[str, Standing]:
        by_tenant: dict[str, list[Service]] = defaultdict(list)
        for service in services:
            by_tenant[service.tenant_id].append(service)
        now = self._now()
        return {tenant: Standing(of, now) for tenant, of in by_tenant.items()}

    def at(self, view: TenantId | None, instant: datetime) -> dict[str, Any]:
        """What was registered at some time, as far back as events are kept. `complete` false: more was
        removed since than one answer looks at."""
        services = self._services.all() if view is None else self._services.of(view)
        removed, rest = self._events(view, Filters(event_type=UNREGISTERED, since=instant))
        there = there_at(instant, services, removed)
        if any(not entry.is_exact for entry in there.values()):
            said, _ = self._events(view, Filters(event_type=REGISTERED, until=instant))
            there = told(there, said, instant)
        listed = [_was(entry) for _, entry in sorted(there.items())]
        return {
            "status": "ok",
            "at": to_text(instant),
            "count": len(listed),
            "complete": rest is None,
            "services": listed,
        }

    def _events(self, view: TenantId | None, filters: Filters) -> tuple[list[Event], str | None]:
        found: list[Event] = []
        below: str | None = None
        while len(found) < _EXAMINED:
            page, below = self._past.page(view, filters, below=below, limit=_PAGE)
            # The platform's own events show in every tenant's views, its services do not.
            found += [event for event in page if view is None or event.tenant_id == view]
            if below is None:
                break
        return found, below

    def remove(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        """Remove a service, and its registration token with it."""
        check_self(caller, name)
        tenant = caller.writes(named_tenant)
        for _ in range(_TRIES):
            service, now = self._services.get(tenant, name), self._now()
            if service is None:
                raise NotFoundError(_unknown(name))
            if self._services.delete(tenant, service, self._unregistered(caller, service, now)):
                break
        else:
            raise ConflictError(_busy(name))
        caller.trail.changed(f"service/{name}", before=shown(service, State.UNKNOWN))
        return {"status": "ok", "deleted": name, "remaining_count": self._services.count(tenant)}

    def _token(
        self, caller: Caller, registration: Registration, earlier: Service | None
    ) -> str | None:
        """The new registration token, where one is due."""
        if caller.service:
            # What a token can do it must not be able to prolong: who stole one would keep it.
            if registration.rotate_token:
                raise ForbiddenError(
                    "A registration token cannot replace itself; an operator does that"
                )
            if earlier is None:
                raise ForbiddenError("This service has been removed; an operator registers it anew")
            return None
        return self._mint.generate() if earlier is None or registration.rotate_token else None

    def _registered(self, caller: Caller, service: Service, now: datetime) -> Event:
        payload = service.model_dump(include={"url", "version", "tags"})
        return announce(
            "service.registered",
            source=SOURCE,
            tenant_id=service.tenant_id,
            payload={"service": service.name, **payload},
            now=now,
            event_id=uuid7(now),
            trace_id=caller.trace_id,
        )

    def _unregistered(self, caller: Caller, service: Service, now: datetime) -> Event:
        return announce(
            "service.unregistered",
            source=SOURCE,
            tenant_id=service.tenant_id,
            # What it was, so that the registry of any time can be told from events.
            payload={
                "service": service.name,
                **service.model_dump(include={"url", "version", "tags"}),
                "registered_at": to_text(service.registered_at),
            },
            now=now,
            event_id=uuid7(now),
            severity=Severity.WARNING,
            trace_id=caller.trace_id,
        )


def _was(entry: Entry) -> dict[str, Any]:
    return {**entry.model_dump(), "registered_at": to_text(entry.registered_at)}


def _unknown(name: str) -> str:
    return f"Service '{name}' not found in registry"


def _busy(name: str) -> str:
    return f"Somebody else is changing the service '{name}'; try again"
