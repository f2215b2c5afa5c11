"""Every minute: the alerts whose time has come. Events themselves are the relay's."""

from __future__ import annotations

from aetherlink.platform.telemetry import logger
from aetherlink.wiring import judge as build

judge = build()


def lambda_handler(event: dict[str, object], context: object) -> dict[str, int]:
    moved = judge.sweep()
    logger.info("swept", due=moved)
    return {"due": moved}
