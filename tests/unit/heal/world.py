"""Services, a network, a table and a clock, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aetherlink.events.model import Event
from aetherlink.heal.actions import Done
from aetherlink.heal.health import Probe
from aetherlink.heal.model import Pending, Target, Watched
from aetherlink.heal.record import Approval, Heal, Ledger, Maintenance
from aetherlink.heal.run import Run
from aetherlink.heal.service import target_of
from aetherlink.ingest.incident import Signal
from aetherlink.kernel.tenancy import TenantId
from aetherlink.registry.model import Registration, Service, admit

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
HOOK = {"action": "http", "url": "https://hook.example/restart"}
MINUTE = timedelta(seconds=60)


class Killed(BaseException):
    """The healer's process is gone."""


class Kept:
    """The table: every write is conditional on what was read."""

    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], Watched] = {}
        self.books: dict[str, Ledger] = {}
        self.heals: list[Heal] = []
        self.events: list[Event] = []
        self.approvals: list[Approval] = []
        self.commits = 0

    def ledger(self, tenant: TenantId) -> Ledger:
        return self.books.get(tenant, Ledger(tenant))

    def ledgers(self, tenants: Iterable[TenantId]) -> dict[TenantId, Ledger]:
        return {tenant: self.ledger(tenant) for tenant in tenants}

    def requests(
        self,
        earlier: Watched | None,
        changed: Watched,
        *,
        ledger: tuple[Ledger, Ledger] | None = None,
        heal: Heal | None = None,
        approval: Approval | None = None,
        events: Sequence[Event] = (),
    ) -> list[Any]:
        return [(earlier, changed, ledger, heal, approval, events)]

    def commit(self, writes: list[Any]) -> bool:
        self.commits += 1
        ((earlier, changed, ledger, heal, approval, events),) = writes
        stored = self.watched.get(changed.key)
        if (stored.version if stored else 0) != (earlier.version if earlier else 0):
            return False
        if ledger:
            before, after = ledger
            if self.ledger(changed.tenant_id).version != before.version:
                return False
            self.books[changed.tenant_id] = replace(after, version=before.version + 1)
        version = (earlier.version if earlier else 0) + 1
        self.watched[changed.key] = replace(changed, version=version)
        self.heals += [heal] if heal else []
        self.approvals += [approval] if approval else []
        self.events += events
        return True


class World:
    """`sick` are the names of services that do not answer well. An action heals what it is for after
    `takes`, unless it is `useless`."""

    def __init__(self) -> None:
        self.now = NOON
        self.kept = Kept()
        self.services: dict[str, Service] = {}
        self.sick: set[str] = set()
        self.heals_at: dict[str, datetime] = {}
        self.takes = timedelta(seconds=1)
        self.useless = False
        self.refuses = False
        self.kill_after_action = False
        self.forbidden: set[str] = set()
        self.acted: list[tuple[str, datetime]] = []
        self.signals: list[Signal] = []
        self.windows: list[Maintenance] = []
        self.looks = 0
        self.on_look: Callable[[], None] = lambda: None
        self.on_act: Callable[[str], None] = lambda _name: None

    def add(self, *names: str, tenant: str = ACME, **given: Any) -> World:
        for name in names:
            body = {"name": name, "url": f"https://{name}.example", "heal": HOOK, **given}
            service = admit(
                Registration.model_validate(body),
                TenantId(tenant),
                seen_at=self.now,
                earlier=None,
                token_hash=None,
                heal_secret=None,
            )
            self.services[f"{tenant}/{name}"] = service
        return self

    # ---- what a run needs

    def look(self, targets: Sequence[Target]) -> list[Probe]:
        self.looks += len(targets)
        self.on_look()
        return [self._probe(target) for target in targets]

    def _probe(self, target: Target) -> Probe:
        due = self.heals_at.get(target.name)
        if due and due <= self.now:
            self.sick.discard(target.name)
            del self.heals_at[target.name]
        is_well = target.name not in self.sick
        error = None if is_well else "answered 500"
        return Probe(self.now, is_well, 5, 200 if is_well else 500, error)

    def act(self, target: Target, attempt: Pending) -> Done:
        self.acted.append((target.name, self.now))
        self.on_act(target.name)
        if self.refuses:
            return Done(is_taken=False, said="the hook answered 503")
        if not self.useless:
            self.heals_at[target.name] = self.now + self.takes
        if self.kill_after_action:
            raise Killed
        return Done(is_taken=True, said="the hook answered 204")

    def why_not(self, target: Target) -> str | None:
        return "not allowed" if target.name in self.forbidden else None

    def take(self, tenant: TenantId, signal: Signal) -> str:
        self.signals.append(signal)
        return "opened"

    # ---- runs

    def make(self, *, dry: bool = False, seconds: float = 24) -> Run:
        given: Any = self
        kept: Any = self.kept
        return Run(
            self.targets(),
            list(self.kept.watched.values()),
            self.windows,
            kept=kept,
            prober=given,
            actions=given,
            intake=given,
            now=lambda: self.now,
            sleep=self.sleep,
            until=self.now + timedelta(seconds=seconds),
            dry=dry,
        )

    def run(self, **given: Any) -> Run:
        run = self.make(**given)
        run.go()
        return run

    def minutes(self, number: int) -> None:
        """A run each minute."""
        for _ in range(number):
            started = self.now
            self.run()
            self.now = started + MINUTE

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def targets(self) -> list[Target]:
        return [target_of(service) for service in self.services.values()]

    # ---- what came of it

    def state(self, name: str, tenant: str = ACME) -> str:
        return str(self.kept.watched[tenant, name].health.state)

    def told(self, *types: str) -> list[str]:
        return [e.event_type for e in self.kept.events if not types or e.event_type in types]

    def named(self) -> list[str]:
        return [name for name, _ in self.acted]

    def alerts(self, action: str = "firing") -> list[str]:
        return [signal.key for signal in self.signals if signal.action == action]


def names(services: Iterable[int]) -> list[str]:
    return [f"s{number:02}" for number in services]
