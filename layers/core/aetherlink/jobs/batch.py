"""A batch of the jobs queue's messages, each message's fate its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.jobs.service import Jobs


def work(jobs: Jobs, records: list[dict[str, Any]], deadline: datetime) -> dict[str, Any]:
    """SQS's partial batch answer: the messages that have to come again.

    A message that cannot be read fails too; after its last receive SQS moves it to the dead letters.
    """
    failed = []
    for record in records:
        try:
            job_id = str(json.loads(record["body"])["job_id"])
            logger.info("job", job_id=job_id, state=jobs.step(job_id, deadline))
        except Exception as error:  # noqa: BLE001 - one message of a batch; it comes again
            logger.warning(
                "message failed", message_id=record["messageId"], error=type(error).__name__
            )
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
