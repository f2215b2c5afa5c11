"""The events table's stream: counting, alerts, announcements."""

from __future__ import annotations

from typing import Any

from aetherlink.platform.config import config, relay_config
from aetherlink.platform.messaging import Queue
from aetherlink.platform.telemetry import logger
from aetherlink.relay.records import from_keys, from_stream
from aetherlink.relay.service import Relay
from aetherlink.wiring import (
    announcer,
    due_store,
    event_store,
    journal,
    judge,
    outlet,
    overview_store,
    subscriptions,
)

relay = Relay(
    overview=overview_store(),
    journal=journal(),
    due=due_store() if config().archive_enabled else None,
    judge=judge(),
    tell=announcer(),
    subscribed=subscriptions().want,
    publish=outlet(),
    aside=Queue(relay_config().relay_aside_queue),
)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Takes a stream batch, or `{"redrive": [{"pk", "sk"}, …]}` for records once set aside."""
    if "redrive" in event:
        records = from_keys(event["redrive"], event_store())
    else:
        records = from_stream(event["Records"])
    failed = relay.handle(records)
    logger.info("relayed", records=len(records), set_aside=len(failed))
    if "redrive" in event:
        return {
            "redriven": len(records) - len(failed),
            "failed": [{"pk": record.pk, "sk": record.sk} for record in failed],
        }
    return {"batchItemFailures": []}
