"""Every minute: look at every service, and heal what is sick. With many services each part of them is a
message of its own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from aetherlink.heal.service import Scope
from aetherlink.kernel.time import from_text, to_text, utc_now
from aetherlink.platform.config import heal_config
from aetherlink.platform.messaging import Queue
from aetherlink.platform.telemetry import logger
from aetherlink.wiring import healing

healer = healing()
shares = Queue(heal_config().heal_queue)

# A share that comes so late is done by the runs since.
STALE = timedelta(minutes=3)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    if "Records" not in event:
        return _minute()
    failures = []
    for record in event["Records"]:
        try:
            _share(json.loads(record["body"]))
        except Exception:  # noqa: BLE001 - it comes again, and ends in the dead-letter queue
            logger.exception("a share of the healing failed", message_id=record["messageId"])
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _minute() -> dict[str, Any]:
    scopes = healer.scopes()
    if len(scopes) == 1:
        return _run(scopes[0])
    at = to_text(utc_now())
    for scope in scopes:
        shares.send(json.dumps({"first": scope.first, "last": scope.last, "at": at}))
    logger.info("shared out", shares=len(scopes))
    return {"shares": len(scopes)}


def _share(message: dict[str, Any]) -> None:
    at: datetime = from_text(message["at"])
    if utc_now() - at > STALE:
        logger.warning("a share of the healing came too late; later runs have done it", at=str(at))
        return
    _run(Scope(message["first"], message["last"]))


def _run(scope: Scope) -> dict[str, Any]:
    run, numbers = healer.run(scope)
    logger.info("healed", extra={"found": numbers})
    if run.failures:
        # The others are done. It comes again, and to the end is seen in the dead-letter queue.
        raise run.failures[0]
    return dict(numbers)
