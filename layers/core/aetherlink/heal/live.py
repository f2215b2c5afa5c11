"""GET /ops/health: a look at everything, now."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.heal import own
from aetherlink.heal.model import Target
from aetherlink.heal.service import target_of
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import to_text
from aetherlink.registry.model import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from aetherlink.heal.health import Probe
    from aetherlink.heal.prober import Prober
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.registry.model import Service

# Contract: each for so long at most.
LONGEST_SECONDS = 2.5
# A thousand services that all hang are looked at in ten seconds; an answer has 29.
_WORKERS = 256


class Services(Protocol):
    def of(self, tenant_id: TenantId) -> list[Service]: ...
    def all(self) -> list[Service]: ...


class Live:
    def __init__(
        self,
        services: Services,
        prober: Prober,
        monitored: Sequence[Target],
        api_url: Callable[[], str | None],
        now: Callable[[], datetime],
    ) -> None:
        self._services = services
        self._prober = prober
        self._monitored = monitored
        self._api_url = api_url
        self._now = now

    def health(self, view: TenantId | None) -> dict[str, Any]:
        """The platform's own parts, the configured and the registered services. Two of the same name are
        told apart by their tenants. Nothing is stored: that is the healer's."""
        registered = self._services.all() if view is None else self._services.of(view)
        targets = {target.key: target for target in self._ours()}
        targets |= {target.key: target for target in self._monitored}
        targets |= {target.key: target for target in map(target_of, registered)}
        called = [t for t in targets.values() if not _is_leased(t)]
        found = dict(
            zip(
                (target.key for target in called),
                self._prober.look(called, workers=_WORKERS, longest=LONGEST_SECONDS),
                strict=True,
            )
        )
        expired = self._expired(registered)
        times = Counter(target.name for target in targets.values())
        services = {
            target.name if times[target.name] == 1 else f"{target.tenant_id}/{target.name}": (
                _looked_at(target, found[target.key])
                if target.key in found
                else _heard_of(target, self._now(), is_over=target.key in expired)
            )
            for target in targets.values()
        }
        is_up = all(service["status"] == "up" for service in services.values())
        return {"status": "up" if is_up else "degraded", "services": services}

    def _ours(self) -> list[Target]:
        url = self._api_url()
        return [
            Target(SYSTEM, part.name, part.health_url or part.url)
            for part in (own.parts(url) if url else ())
        ]

    def _expired(self, services: Iterable[Service]) -> set[tuple[str, str]]:
        by_tenant: dict[TenantId, list[Service]] = {}
        for service in services:
            by_tenant.setdefault(service.tenant_id, []).append(service)
        now = self._now()
        return {
            (tenant, name) for tenant, of in by_tenant.items() for name in Standing(of, now).expired
        }


def _is_leased(target: Target) -> bool:
    return target.probe is not None and target.probe.kind == "heartbeat"


def _looked_at(target: Target, probe: Probe) -> dict[str, Any]:
    """What answers is degraded at worst."""
    status = "up" if probe.is_well else "down" if probe.status is None else "degraded"
    shown: dict[str, Any] = {
        "status": status,
        "url": target.url,
        "latency_ms": probe.ms,
        "checked_at": to_text(probe.at),
    }
    if probe.status is not None:
        shown["http_status"] = probe.status
    if probe.error:
        shown["error"] = probe.error
    return shown


def _heard_of(target: Target, now: datetime, *, is_over: bool) -> dict[str, Any]:
    """Of what is not called: whether its heartbeat goes on."""
    shown = {
        "status": "down" if is_over else "up",
        "url": target.url,
        "latency_ms": 0,
        "checked_at": to_text(now),
    }
    return shown | ({"error": "its heartbeat stopped"} if is_over else {})
