"""Healing: which services a run looks at, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.heal import own, telling
from aetherlink.heal.model import Target
from aetherlink.heal.run import Run
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from aetherlink.heal.actions import Actions
    from aetherlink.heal.model import Watched
    from aetherlink.heal.prober import Prober
    from aetherlink.heal.store import HealStore
    from aetherlink.ingest.service import Intake
    from aetherlink.registry.model import Registration, Service

# How often the healer runs (the schedule in the template).
INTERVAL = timedelta(seconds=60)
# A run's last round begins so long after its start at the latest.
TIME = timedelta(seconds=24)
# So many services are looked at in one run; with more, each run's share is a message of its own.
CHUNK = 600
# Above any key: keys begin with a tenant.
_BOTTOM, _TOP = "0", "~"


class Services(Protocol):
    def all(self) -> list[Service]: ...
    def between(self, first: str, last: str) -> list[Service]: ...
    def of(self, tenant_id: TenantId) -> list[Service]: ...


class Registering(Protocol):
    def register(self, caller: Caller, registration: Registration) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Scope:
    """A range of `<tenant>#<name>`, both ends included; no tenant is cut in two by it."""

    first: str = _BOTTOM
    last: str = _TOP

    @classmethod
    def of(cls, tenant: TenantId) -> Scope:
        # "$" comes after "#", and is in no tenant's id.
        return cls(f"{tenant}#", f"{tenant}$")

    def holds(self, tenant: str) -> bool:
        return self.first <= f"{tenant}#" <= self.last


def chunks(services: Iterable[Service]) -> list[Scope]:
    """The whole in ranges of about CHUNK services, of whole tenants: whether too many are down at once
    can only be said of all of a tenant's."""
    sizes = [
        (f"{tenant}#", len(list(of)))
        for tenant, of in groupby(
            sorted(services, key=lambda s: f"{s.tenant_id}#"), key=lambda s: s.tenant_id
        )
    ]
    starts, room = [_BOTTOM], CHUNK
    for first, size in sizes:
        if size > room and room < CHUNK:
            starts.append(first)
            room = CHUNK
        room -= size
    # A range ends just below the beginning of the next: "#" is the character after '"'.
    ends = [f'{start[:-1]}"~' for start in starts[1:]] + [_TOP]
    return [Scope(first, last) for first, last in zip(starts, ends, strict=True)]


def configured(parameter: str) -> tuple[Target, ...]:
    """Parameter MonitoredServices: `name=url`, comma-separated. They are the platform's."""
    pairs = (entry.strip().partition("=") for entry in parameter.split(",") if entry.strip())
    return tuple(Target(SYSTEM, name.strip(), url.strip()) for name, _, url in pairs if url)


def target_of(service: Service) -> Target:
    return Target(
        service.tenant_id, service.name, service.health_url, service=service, plan=service.plan
    )


class Healing:
    def __init__(
        self,
        services: Services,
        kept: HealStore,
        prober: Prober,
        actions: Actions,
        intake: Intake,
        *,
        registering: Registering,
        monitored: Sequence[Target],
        api_url: Callable[[], str | None],
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._services = services
        self._kept = kept
        self._prober = prober
        self._actions = actions
        self._intake = intake
        self._registering = registering
        self._monitored = monitored
        self._api_url = api_url
        self._now = now
        self._sleep = sleep

    def scopes(self) -> list[Scope]:
        """What a minute's healing is divided into."""
        return chunks(self._services.all())

    def run(
        self, scope: Scope, *, time: timedelta = TIME, dry: bool = False
    ) -> tuple[Run, dict[str, int]]:
        """Look at what is in the scope, and heal it. The run tells what it found; the numbers are for
        the log."""
        began = self._now()
        services = self._services.between(scope.first, scope.last)
        if scope.holds(SYSTEM) and not dry:
            services = self._with_own(services)
        targets = self.targets(services, scope)
        stored = self._kept.between(scope.first, scope.last)
        run = Run(
            targets,
            stored,
            self._kept.windows_between(scope.first, scope.last),
            kept=self._kept,
            prober=self._prober,
            actions=self._actions,
            intake=self._intake,
            now=self._now,
            sleep=self._sleep,
            until=began + time,
            dry=dry,
        )
        run.go()
        reports = run.reports(began)
        if not dry:
            self._kept.put_reports(reports)
            self._retire(stored, run)
        numbers = {
            "services": len(targets),
            "down": sum(report.down for report in reports),
            "healed": len(run.heals),
            "took_ms": round((self._now() - began).total_seconds() * 1000),
        }
        return run, numbers

    def targets(self, services: Iterable[Service], scope: Scope) -> list[Target]:
        """The registered ones, and those that parameter MonitoredServices names besides."""
        found = {target.key: target for target in map(target_of, services)}
        if scope.holds(SYSTEM):
            for target in self._monitored:
                found.setdefault(target.key, target)
        return list(found.values())

    def _with_own(self, services: list[Service]) -> list[Service]:
        """The services, after the platform's own parts have registered as they are now."""
        url = self._api_url()
        due = own.due(services, url) if url else []
        for part in due:
            self._registering.register(_PLATFORM, part)
        if not due:
            return services
        logger.info("the platform's own parts have registered", parts=[part.name for part in due])
        # From the table itself: the index may be a moment behind.
        names = {part.name for part in due}
        others = [s for s in services if s.tenant_id != SYSTEM or s.name not in names]
        return others + [s for s in self._services.of(SYSTEM) if s.name in names]

    def _retire(self, stored: Iterable[Watched], run: Run) -> None:
        """What nobody watches any more: its alert is over, since nobody could end it."""
        now = self._now()
        for each in stored:
            if run.watches(each.key):
                continue
            if each.alert:
                signal = telling.over(each.name, "the service was removed", now)
                self._intake.take(each.tenant_id, signal)
            if each.is_blast and not run.is_blast(each.tenant_id):
                self._intake.take(each.tenant_id, telling.blast_over(now))
            self._kept.retire(each, now)


# Who registers the platform's own parts.
_PLATFORM = Caller(
    subject="aether-auto-heal", roles=frozenset({Role.ADMIN}), tenant_id=SYSTEM, cross_tenant=True
)
