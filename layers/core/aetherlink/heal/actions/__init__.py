"""What can be done to a sick service. Each kind is a module of its own, with the same `act`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aetherlink.heal.model import Pending, Target
    from aetherlink.registry.plan import ActionKind, HealPlan, Targets


@dataclass(frozen=True)
class Done:
    """What came of an action: whether it was taken on, and what it said. That it was taken on does not
    mean that it helped."""

    is_taken: bool
    said: str


class Action(Protocol):
    def act(self, target: Target, plan: HealPlan, attempt: Pending) -> Done: ...


class Actions:
    """Does what a plan says, if parameter HealTargets allows it."""

    def __init__(self, kinds: Mapping[ActionKind, Action], allowed: Targets) -> None:
        self._kinds = kinds
        self._allowed = allowed

    def why_not(self, target: Target) -> str | None:
        """Why its action may not be taken; None if it may."""
        plan = target.plan
        if plan is None or plan.action is None or self._allowed.allow(target.tenant_id, plan):
            return None
        return f"{plan.target} is not in parameter HealTargets for {target.tenant_id}"

    def act(self, target: Target, attempt: Pending) -> Done:
        """Never raises: what breaks is said."""
        plan = target.plan
        if plan is None or plan.action is None:
            return Done(is_taken=False, said="it has no action")
        try:
            return self._kinds[plan.action].act(target, plan, attempt)
        except Exception as error:  # noqa: BLE001 - one that breaks must not end the run
            logger.exception("an action broke", service=target.name, action=str(plan.action))
            return Done(is_taken=False, said=f"{type(error).__name__}: {error}"[:300])
