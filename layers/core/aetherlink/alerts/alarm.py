"""Wakes the sweep when an alert is to begin by time alone, rather than at its next minute."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from aetherlink.kernel.errors import UnavailableError
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# The longest that SQS delays a message; what is due later the sweep finds on its own.
MAX_DELAY_SECONDS = 900


class Waiting(Protocol):
    """A queue."""

    def send(self, message: str, *, delay_seconds: int = 0) -> None: ...


class QueueAlarm:
    def __init__(self, queue: Waiting, now: Callable[[], datetime]) -> None:
        self._queue = queue
        self._now = now

    def __call__(self, at: datetime) -> None:
        """Best effort: without it the alert is at most a minute late, by the schedule."""
        # Rounded up, since a sweep that comes early finds nothing.
        seconds = max(0, -int(-(at - self._now()).total_seconds() // 1))
        if seconds > MAX_DELAY_SECONDS:
            return
        try:
            self._queue.send(json.dumps({"sweep": True}), delay_seconds=seconds)
        except UnavailableError as error:
            logger.warning("the sweep was not woken", error=str(error))
