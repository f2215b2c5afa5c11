"""Every minute, and when it is woken: the alerts whose time has come. Events themselves are the relay's."""

from __future__ import annotations

from typing import Any

from aetherlink.platform.telemetry import logger
from aetherlink.wiring import announcer as build_announcer
from aetherlink.wiring import judge as build_judge
from aetherlink.wiring import monitors as build_monitors
from aetherlink.wiring import stored_events

judge = build_judge(stored_events())
announcer = build_announcer()
monitors = build_monitors()


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    # Whoever woke it: one sweep does all that is due. A damaged watch must not keep a silent monitor
    # from being missed, nor what is muted from being told.
    try:
        moved = judge.sweep()
    finally:
        try:
            missed = monitors.sweep()
        finally:
            muted = announcer.revisit()
    logger.info("swept", due=moved, missed=missed, muted=muted)
    return {"due": moved, "missed": missed, "muted": muted, "batchItemFailures": []}
