"""Managing endpoints: made, changed, tested, and their secrets replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from aetherlink.kernel.errors import ConflictError, InvalidError, NotFoundError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import SYSTEM, Caller, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.notify.endpoint import OVERLAP, Endpoint, EndpointDraft, changed, made, rotated
from aetherlink.notify.model import Delivery, draft
from aetherlink.notify.signing import new_secret
from aetherlink.platform.outbound import OutboundError, check_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# Each event asks every endpoint of its tenant; a page of the table holds this many with ease.
MAX_ENDPOINTS = 100


class Endpoints(Protocol):
    def of(self, tenant: TenantId) -> list[Endpoint]: ...
    def get(self, endpoint_id: str) -> Endpoint | None: ...
    def add(self, endpoint: Endpoint) -> None: ...
    def save(self, earlier: Endpoint, changed: Endpoint) -> bool: ...
    def fares(self, seen: Endpoint, now: Endpoint) -> bool: ...
    def delete(self, endpoint: Endpoint) -> None: ...


class Opening(Protocol):
    def open(self, delivery: Delivery) -> tuple[Delivery, bool]: ...


class RotationDraft(Given):
    """The body of POST /notifications/endpoints/{id}/rotate-secret; may be empty."""

    overlap_seconds: int = Field(
        default=int(OVERLAP.total_seconds()),
        ge=0,
        le=7 * 86_400,
        description="How long the secret before goes on signing as well",
    )


class Managing:
    def __init__(
        self,
        endpoints: Endpoints,
        deliveries: Opening,
        send: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._send = send
        self._now = now

    def create(self, caller: Caller, wanted: EndpointDraft) -> dict[str, Any]:
        """The endpoint, and its first secret: shown now and never again."""
        tenant = caller.writes(wanted.tenant_id)
        _check(wanted)
        if len(self._endpoints.of(tenant)) >= MAX_ENDPOINTS:
            raise ConflictError(
                f"A tenant has at most {MAX_ENDPOINTS} endpoints; delete one that is not used"
            )
        now, secret = self._now(), new_secret()
        blank = made(wanted, new_tenant_bound(tenant), tenant, now)
        endpoint = rotated(blank, secret, now, timedelta(0))
        self._endpoints.add(endpoint)
        caller.trail.tenant_id = tenant
        caller.trail.changed(f"endpoints/{endpoint.id}", after=endpoint.shown())
        return {"endpoint": endpoint.shown(), "secret": secret}

    def visible(self, caller: Caller, named: str | None) -> list[dict[str, Any]]:
        view = caller.reads(named)
        return [endpoint.shown() for endpoint in self._endpoints.of(view or SYSTEM)]

    def get(self, caller: Caller, endpoint_id: str) -> dict[str, Any]:
        return self._of(caller, endpoint_id).shown()

    def change(self, caller: Caller, endpoint_id: str, wanted: EndpointDraft) -> dict[str, Any]:
        earlier = self._of(caller, endpoint_id)
        if earlier.is_configured:
            raise ConflictError(
                "This endpoint stands in parameter AlertWebhooks; change it there and deploy"
            )
        if wanted.tenant_id not in (None, earlier.tenant_id):
            raise InvalidError("tenant_id: an endpoint stays its tenant's; add one there instead")
        _check(wanted)
        later = changed(earlier, wanted, self._now())
        self._save(caller, earlier, later)
        return later.shown()

    def switch_on(self, caller: Caller, endpoint_id: str) -> dict[str, Any]:
        """Enable what was disabled; the way back for one of parameter AlertWebhooks too."""
        earlier = self._of(caller, endpoint_id)
        later = replace(
            earlier,
            enabled=True,
            disabled_because=None,
            failing_since=None,
            failures=0,
            resting_until=None,
            updated_at=self._now(),
        )
        self._save(caller, earlier, later)
        return later.shown()

    def delete(self, caller: Caller, endpoint_id: str) -> str:
        endpoint = self._of(caller, endpoint_id)
        if endpoint.is_configured:
            raise ConflictError(
                "This endpoint stands in parameter AlertWebhooks; remove it there and deploy"
            )
        self._endpoints.delete(endpoint)
        caller.trail.tenant_id = endpoint.tenant_id
        caller.trail.changed(f"endpoints/{endpoint.id}", before=endpoint.shown())
        return endpoint.id

    def rotate(self, caller: Caller, endpoint_id: str, wanted: RotationDraft) -> dict[str, Any]:
        """A new secret, shown now and never again; the one before signs on for a while."""
        earlier, now, secret = self._of(caller, endpoint_id), self._now(), new_secret()
        overlap = timedelta(seconds=wanted.overlap_seconds)
        self._save(caller, earlier, rotated(earlier, secret, now, overlap))
        return {
            "endpoint_id": earlier.id,
            "secret": secret,
            "previous_signs_until": to_text(now + overlap),
        }

    def test(self, caller: Caller, endpoint_id: str) -> dict[str, Any]:
        """Send a test message; what came of it is in its delivery."""
        endpoint, now = self._of(caller, endpoint_id), self._now()
        token = new_tenant_bound(endpoint.tenant_id)
        event = {
            "event_id": f"test-{token}",
            "event_type": "ops.endpoint.test",
            "source": "aether-command-center",
            "tenant_id": str(endpoint.tenant_id),
            "severity": "info",
            "timestamp": to_text(now),
            "payload": {
                "endpoint": endpoint.name,
                "message": "A test of this endpoint: nothing is wrong",
                "sent_by": caller.subject,
            },
        }
        delivery, _ = self._deliveries.open(draft(event, endpoint, now))
        self.look_again(endpoint.id)
        caller.trail.tenant_id = endpoint.tenant_id
        caller.trail.changed(f"endpoints/{endpoint.id}", after={"tested": delivery.id})
        self._send(delivery.id)
        return {"delivery_id": delivery.id, "delivery": delivery.shown()}

    def look_again(self, endpoint_id: str) -> None:
        """Let an endpoint that rests be tried at once: somebody has mended it, or wants to know."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint and endpoint.resting_until:
            self._endpoints.fares(endpoint, replace(endpoint, resting_until=None))

    def _save(self, caller: Caller, earlier: Endpoint, later: Endpoint) -> None:
        if not self._endpoints.save(earlier, later):
            raise ConflictError(
                "The endpoint was changed by somebody else meanwhile; read it again"
            )
        caller.trail.tenant_id = earlier.tenant_id
        caller.trail.changed(f"endpoints/{earlier.id}", before=earlier.shown(), after=later.shown())

    def _of(self, caller: Caller, endpoint_id: str) -> Endpoint:
        owner = SYSTEM if endpoint_id.startswith("wh_") else tenant_of(endpoint_id)
        found = self._endpoints.get(endpoint_id) if owner and caller.may_act_for(owner) else None
        if found is None:
            raise NotFoundError(f"Endpoint {endpoint_id} not found")
        return found


def _check(wanted: EndpointDraft) -> None:
    """A URL that could never be called is refused now; where it leads is looked at when it is."""
    if wanted.url:
        try:
            check_url(wanted.url)
        except OutboundError as error:
            raise InvalidError(f"url: {error}") from error
