"""Every minute, and when it is woken: the alerts whose time has come. Events themselves are the relay's."""

from __future__ import annotations

from typing import Any

from aetherlink.platform.telemetry import logger
from aetherlink.wiring import judge as build
from aetherlink.wiring import stored_events

judge = build(stored_events())


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    # Whoever woke it: one sweep does all that is due.
    moved = judge.sweep()
    logger.info("swept", due=moved)
    return {"due": moved, "batchItemFailures": []}
