"""The platform's own parts: registered like any other service, by the healer, under the version that is
deployed and the URL that its parameter says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetherlink import __version__
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.registry.model import Registration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aetherlink.registry.model import Service

_OPS = ["operator", "admin"]
# Name, where it answers, who may use it, and what it is (contract, Command center).
_PARTS: tuple[tuple[str, str, list[str], list[str]], ...] = (
    ("aether-command-center", "/ops/ping", _OPS, ["ops", "registry"]),
    ("aether-ai-orchestrator", "/ai/ping", ["agent", *_OPS], ["ai", "orchestrator", "phase-ii"]),
    ("aether-auto-heal", "/autoheal/ping", ["viewer", "agent", *_OPS], ["ops", "healing"]),
    ("aether-crm-ui", "/health.json", [], ["ui", "console"]),
)
NAMES = tuple(name for name, *_ in _PARTS)
# What the healer watched before there was a registry (spec v1.5).
DEFAULT_WATCHED = ("aether-crm-ui", "aether-command-center", "aether-ai-orchestrator")


def parts(api_url: str) -> list[Registration]:
    """The platform's parts, as they register."""
    base = api_url.rstrip("/")
    return [
        Registration(
            name=name,
            url=base,
            health_url=base + path,
            version=__version__,
            roles_required=roles,
            tags=tags,
            tenant_id=SYSTEM,
        )
        for name, path, roles, tags in _PARTS
    ]


def due(known: Iterable[Service], api_url: str) -> list[Registration]:
    """Those that are not registered as they are now."""
    said = {
        service.name: (service.url, service.health_url, service.version)
        for service in known
        if service.tenant_id == SYSTEM
    }
    return [
        part
        for part in parts(api_url)
        if said.get(part.name) != (part.url, part.health_url, part.version)
    ]
