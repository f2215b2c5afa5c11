"""What people say of healing: pause it, plan maintenance, agree to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.heal import telling
from aetherlink.heal.model import APPROVED_FOR, Pause, Watched
from aetherlink.kernel.errors import ConflictError, InvalidError, NotFoundError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.kernel.time import parse_instant, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aetherlink.heal.model import Target
    from aetherlink.heal.record import (
        ApprovalDraft,
        Maintenance,
        MaintenanceDraft,
        PauseDraft,
    )
    from aetherlink.heal.store import HealStore
    from aetherlink.ingest.service import Intake
    from aetherlink.kernel.tenancy import Caller, TenantId
    from aetherlink.registry.model import Service

MAX_WINDOWS = 200
_TRIES = 3


class Services(Protocol):
    def get(self, tenant_id: TenantId, name: str) -> Service | None: ...


class Managing:
    def __init__(
        self,
        kept: HealStore,
        services: Services,
        monitored: Sequence[Target],
        intake: Intake,
        now: Callable[[], datetime],
    ) -> None:
        self._kept = kept
        self._services = services
        self._monitored = {target.name for target in monitored}
        self._intake = intake
        self._now = now

    # ---- pause

    def pause(self, caller: Caller, name: str, draft: PauseDraft) -> dict[str, Any]:
        """Leave a service alone, whatever happens to it. It is looked at all the same."""
        until = parse_instant(draft.until) if draft.until else None
        if until and until <= self._now():
            raise InvalidError("until has passed already; nothing would be paused")
        wanted = Pause(draft.reason, caller.subject, until)
        return self._paused(caller, name, draft.tenant_id, wanted)

    def resume(self, caller: Caller, name: str, named_tenant: str | None) -> dict[str, Any]:
        """Heal a service again. One that was given up is tried anew, as if it had just gone down."""
        return self._paused(caller, name, named_tenant, None)

    def _paused(
        self, caller: Caller, name: str, named_tenant: str | None, wanted: Pause | None
    ) -> dict[str, Any]:
        tenant = caller.writes(named_tenant)
        is_there = tenant == SYSTEM and name in self._monitored
        if not is_there and self._services.get(tenant, name) is None:
            raise NotFoundError(f"Service '{name}' not found in registry")
        for _ in range(_TRIES):
            stored = self._kept.get(tenant, name)
            earlier = stored or Watched(tenant, name)
            changed = replace(earlier, pause=wanted)
            if wanted is None:
                changed = self._anew(changed)
            if self._kept.commit(self._kept.requests(stored, changed)):
                break
        else:
            raise ConflictError(f"The healer is busy with '{name}' at this moment; try again")
        caller.trail.changed(f"autoheal/{name}", before=_pause(earlier.pause), after=_pause(wanted))
        return {"service": name, "tenant_id": tenant, **_pause(wanted)}

    def _anew(self, watched: Watched) -> Watched:
        if watched.alert == "gave_up":
            signal = telling.over(watched.name, "healing was resumed", self._now())
            self._intake.take(watched.tenant_id, signal)
        alert = None if watched.alert == "gave_up" else watched.alert
        return replace(watched, alert=alert, attempts=watched.attempts if watched.pending else ())

    # ---- approvals

    def approvals(self, view: TenantId) -> list[dict[str, Any]]:
        """Those of the last week, the newest first."""
        found = sorted(self._kept.approvals(view), key=lambda a: a.requested_at, reverse=True)
        return [approval.shown() for approval in found]

    def decide(self, caller: Caller, approval_id: str, draft: ApprovalDraft) -> dict[str, Any]:
        """Agree to an action, or do not. It is taken by the next run, if the service is still down."""
        owner = tenant_of(approval_id)
        found = self._kept.approval(approval_id) if owner and caller.may_act_for(owner) else None
        if found is None:
            raise NotFoundError(f"Approval {approval_id} not found")
        caller.writes(found.tenant_id)
        if found.decision != "open":
            raise ConflictError(f"It was {found.decision} by {found.decided_by} already")
        watched = self._kept.get(found.tenant_id, found.service)
        if watched is None or watched.approval_id != approval_id:
            raise ConflictError(f"'{found.service}' is not down any more; there is nothing to do")
        now = self._now()
        decided = replace(
            found,
            decision="approved" if draft.approve else "denied",
            decided_by=caller.subject,
            decided_at=now,
        )
        changed = replace(
            watched,
            approved_until=now + APPROVED_FOR if draft.approve else None,
            alert=None if watched.alert == "approval" else watched.alert,
        )
        if watched.alert == "approval":
            because = f"{decided.decision} by {caller.subject}"
            self._intake.take(found.tenant_id, telling.over(found.service, because, now))
        if not self._kept.decide(decided, watched, changed):
            raise ConflictError("It changed meanwhile; read it again")
        caller.trail.changed(
            f"autoheal/approvals/{approval_id}", before=found.shown(), after=decided.shown()
        )
        return decided.shown()

    # ---- maintenance

    def windows(self, view: TenantId) -> list[dict[str, Any]]:
        now = self._now()
        found = sorted(self._kept.windows(view), key=lambda window: window.starts_at)
        return [window.shown(now) for window in found]

    def plan(self, caller: Caller, draft: MaintenanceDraft) -> dict[str, Any]:
        tenant, now = caller.writes(draft.tenant_id), self._now()
        if len(self._kept.windows(tenant)) >= MAX_WINDOWS:
            raise ConflictError(f"A tenant has at most {MAX_WINDOWS} windows; delete one")
        window = draft.window(new_tenant_bound(tenant), tenant, caller.subject, now)
        self._kept.add_window(window)
        caller.trail.changed(f"autoheal/maintenance/{window.id}", after=window.shown(now))
        return window.shown(now)

    def window(self, caller: Caller, window_id: str) -> dict[str, Any]:
        return self._window(caller, window_id).shown(self._now())

    def change(self, caller: Caller, window_id: str, draft: MaintenanceDraft) -> dict[str, Any]:
        earlier, now = self._window(caller, window_id), self._now()
        tenant = caller.writes(earlier.tenant_id)
        if draft.tenant_id not in (None, tenant):
            raise InvalidError("tenant_id: a window stays its tenant's; add one there instead")
        changed = draft.window(window_id, tenant, caller.subject, now)
        if draft.starts_at is None:
            changed = replace(changed, starts_at=earlier.starts_at)
        if not self._kept.put_window(changed):
            raise _no_window(window_id)
        caller.trail.changed(
            f"autoheal/maintenance/{window_id}",
            before=earlier.shown(now),
            after=changed.shown(now),
        )
        return changed.shown(now)

    def end(self, caller: Caller, window_id: str) -> str:
        window = self._window(caller, window_id)
        caller.writes(window.tenant_id)
        self._kept.delete_window(window)
        caller.trail.changed(f"autoheal/maintenance/{window_id}", before=window.shown(self._now()))
        return window_id

    def _window(self, caller: Caller, window_id: str) -> Maintenance:
        owner = tenant_of(window_id)
        found = self._kept.window(window_id) if owner and caller.may_act_for(owner) else None
        if found is None:
            raise _no_window(window_id)
        return found


def _no_window(window_id: str) -> NotFoundError:
    return NotFoundError(f"Maintenance window {window_id} not found")


def _pause(pause: Pause | None) -> dict[str, Any]:
    if pause is None:
        return {"paused": False}
    until = to_text(pause.until) if pause.until else None
    return {"paused": True, "reason": pause.reason, "by": pause.by, "until": until}
