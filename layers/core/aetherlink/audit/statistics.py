"""How many requests there were, by path and status, from the shared counters (spec v1.11)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aetherlink.kernel.errors import Flaw, ForbiddenError, UnprocessableError
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.tenancy import SYSTEM, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aetherlink.kernel.tenancy import Caller, TenantId

SERVICES = (
    "command-center",
    "ai-orchestrator",
    "auto-heal",
    "crm",
    "notifications",
    "console",
)
# The one service whose figures an agent may see.
_OF_AGENTS = "ai-orchestrator"
_OPS = frozenset({Role.OPERATOR, Role.ADMIN})
_TOP = 10


class Tallied(NamedTuple):
    """Requests of one service to one route, by status. `path` is a template, never a path."""

    service: str
    path: str
    by_status: dict[int, int]


class RequestStats(Shape):
    """Since the stack was made. `by_path` has the ten paths with the most requests."""

    total_requests: int
    denied_401_unauthorized: int
    denied_403_forbidden: int
    refused_429: int
    by_path: dict[str, int]
    by_status: dict[str, int]
    by_service: dict[str, int]


class Counts(Protocol):
    def of_tenant(self, tenant: TenantId) -> Iterator[Tallied]: ...
    def of_everybody(self) -> Iterator[Tallied]: ...


class Statistics:
    """`flush` writes what this process has counted itself, so that the answer has it."""

    def __init__(self, counts: Counts, flush: Callable[[], None]) -> None:
        self._counts = counts
        self._flush = flush

    def of(
        self, by: Caller, service: str | None = None, tenant_id: str | None = None
    ) -> RequestStats:
        """Of the caller's tenant and of nobody's requests, which belong to no tenant; of everybody
        for who sees all tenants. An agent sees the orchestrator's alone."""
        if service != _OF_AGENTS and not by.has_any(_OPS):
            raise ForbiddenError("Insufficient permissions. Required roles: operator, admin")
        if service is not None and service not in SERVICES:
            raise UnprocessableError(
                (
                    Flaw(
                        "query/service",
                        f"must be one of {', '.join(SERVICES)}, got {service[:60]!r}",
                    ),
                )
            )
        view = by.reads(tenant_id)
        self._flush()
        return summed(t for t in self._tallied(view) if service in (None, t.service))

    def _tallied(self, view: TenantId | None) -> Iterator[Tallied]:
        if view is None:
            yield from self._counts.of_everybody()
            return
        yield from self._counts.of_tenant(SYSTEM)
        if view != SYSTEM:
            yield from self._counts.of_tenant(view)


def summed(tallied: Iterator[Tallied]) -> RequestStats:
    by_status, by_path, by_service = Counter[int](), Counter[str](), Counter[str]()
    for service, path, counts in tallied:
        by_status.update(counts)
        by_path[path] += sum(counts.values())
        by_service[service] += sum(counts.values())
    # Of equals the first by name, so that two answers agree.
    top = sorted(by_path.items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP]
    return RequestStats(
        total_requests=by_status.total(),
        denied_401_unauthorized=by_status[401],
        denied_403_forbidden=by_status[403],
        refused_429=by_status[429],
        by_path=dict(top),
        by_status={str(status): by_status[status] for status in sorted(by_status)},
        by_service={name: by_service[name] for name in sorted(by_service)},
    )
