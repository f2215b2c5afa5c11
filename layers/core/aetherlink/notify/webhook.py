"""Posting a message to a webhook through the guarded client; every failure becomes an outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aetherlink.kernel.time import utc_now
from aetherlink.notify.model import Delivery, Endpoint, Outcome
from aetherlink.platform.outbound import OutboundError

if TYPE_CHECKING:
    from aetherlink.platform.outbound import Outbound


class Webhook:
    def __init__(self, outbound: Outbound, timeout_seconds: float) -> None:
        self._outbound = outbound
        self._timeout_seconds = timeout_seconds

    def __call__(self, endpoint: Endpoint, delivery: Delivery) -> Outcome:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "webhook-id": delivery.message_id,
            "webhook-timestamp": str(int(utc_now().timestamp())),
        }
        started = time.perf_counter()
        try:
            answer = self._outbound.send(
                "POST",
                endpoint.url,
                headers=headers,
                body=delivery.body.encode(),
                timeout_seconds=self._timeout_seconds,
            )
        except OutboundError as error:
            return Outcome(_ms_since(started), error=str(error), permanent=error.permanent)
        error_text = None if answer.status < 300 else f"answered {answer.status}"  # noqa: PLR2004
        return Outcome(_ms_since(started), status=answer.status, error=error_text)


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
