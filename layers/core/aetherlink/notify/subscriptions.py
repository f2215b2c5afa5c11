"""Which events anybody wants to hear of besides alerts: asked of every event that is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import flat
from aetherlink.notify.endpoint import ALERTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.events.model import Event
    from aetherlink.notify.endpoint import Endpoint

# A new endpoint hears of further types of events after so long at the latest; of alerts, at once.
MAX_AGE = timedelta(seconds=30)


class Endpoints(Protocol):
    def all(self) -> list[Endpoint]: ...


class Subscriptions:
    def __init__(self, endpoints: Endpoints, now: Callable[[], datetime]) -> None:
        self._endpoints = endpoints
        self._now = now
        self._known: list[Endpoint] = []
        self._read_at: datetime | None = None

    def want(self, event: Event) -> bool:
        """Whether some endpoint is to hear of an event that is no alert."""
        now = self._now()
        if self._read_at is None or now - self._read_at >= MAX_AGE:
            self._known = [e for e in self._endpoints.all() if set(e.event_types) - set(ALERTS)]
            self._read_at = now
        if not self._known or event.event_type in ALERTS:
            return False
        shown = flat(event)
        return any(endpoint.wants(shown) for endpoint in self._known)
