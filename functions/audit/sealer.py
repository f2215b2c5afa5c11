"""The audit table's stream, and every minute: chains what was appended."""

from __future__ import annotations

from typing import Any

from aetherlink.audit.delivery import delivered
from aetherlink.platform.telemetry import logger
from aetherlink.wiring import sealer as build

sealer = build()


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Takes a stream batch, or whatever the schedule sends."""
    outcome = sealer.take(delivered(event["Records"])) if "Records" in event else sealer.sweep()
    logger.info("sealed", records=outcome.sealed, altered=outcome.altered, failed=outcome.failed)
    return {"sealed": outcome.sealed, "altered": outcome.altered, "failed": outcome.failed}
