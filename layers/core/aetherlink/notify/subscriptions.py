"""Which events anybody wants to hear of besides alerts: asked of every event that is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import flat
from aetherlink.notify.endpoint import ALERTS
from aetherlink.notify.rules import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.events.model import Event
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.notify.endpoint import Endpoint
    from aetherlink.notify.rules import RuleSet

# A new endpoint hears of further types of events after so long at the latest; of alerts, at once.
MAX_AGE = timedelta(seconds=30)


class Endpoints(Protocol):
    def all(self) -> list[Endpoint]: ...


class Subscriptions:
    """`rules` are a tenant's notification rules."""

    def __init__(
        self,
        endpoints: Endpoints,
        rules: Callable[[TenantId], RuleSet],
        now: Callable[[], datetime],
    ) -> None:
        self._endpoints = endpoints
        self._rules = rules
        self._now = now
        self._known: list[Endpoint] = []
        self._read_at: datetime | None = None

    def want(self, event: Event) -> bool:
        """Whether some endpoint is to hear of an event that is no alert."""
        now = self._now()
        if self._read_at is None or now - self._read_at >= MAX_AGE:
            self._known = self._endpoints.all()
            self._read_at = now
        if not self._known or event.event_type in ALERTS:
            return False
        shown = flat(event)
        if any(endpoint.wants(shown) for endpoint in self._known):
            return True
        if not event.event_type.startswith(PREFIX):
            return False
        # A rule's channel hears of what it has not subscribed to.
        rule = self._rules(event.tenant_id).rule_for(shown)
        return bool(rule and rule.channel and rule.notify)
