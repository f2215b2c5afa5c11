"""Calling the service's own hook: signed per Standard Webhooks, through the guarded client.

The Docker Engine API's `POST /containers/<name>/restart` takes it as well: it reads no body and answers
204 (docs/healing.md).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aetherlink.heal.actions import Done
from aetherlink.kernel.time import to_text
from aetherlink.notify.signing import sign
from aetherlink.platform.outbound import OutboundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.heal.model import Pending, Target
    from aetherlink.platform.outbound import Outbound
    from aetherlink.registry.plan import HealPlan

TIMEOUT_SECONDS = 10.0
_FIRST_NOT_OK = 300
_SAID = 200


class Hook:
    def __init__(self, outbound: Outbound, now: Callable[[], datetime]) -> None:
        self._outbound = outbound
        self._now = now

    def act(self, target: Target, plan: HealPlan, attempt: Pending) -> Done:
        body = json.dumps(
            {
                "type": "autoheal.attempted",
                "timestamp": to_text(attempt.at),
                "data": {
                    "service": target.name,
                    "tenant_id": target.tenant_id,
                    "attempt_id": attempt.id,
                    "action": str(plan.action),
                },
            }
        ).encode()
        headers = {"Content-Type": "application/json"}
        secret = target.service.heal_secret if target.service else None
        if secret:
            headers |= sign((secret,), attempt.id, self._now(), body)
        try:
            answer = self._outbound.send(
                plan.method,
                plan.url or "",
                headers=headers,
                body=body,
                timeout_seconds=TIMEOUT_SECONDS,
                cut=True,
            )
        except OutboundError as error:
            return Done(is_taken=False, said=f"the hook failed: {error}"[:_SAID])
        return Done(answer.status < _FIRST_NOT_OK, f"the hook answered {answer.status}")
