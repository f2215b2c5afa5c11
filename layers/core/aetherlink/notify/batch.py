"""A batch of queue messages: every delivery in it at the same time, each message's fate its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from aetherlink.notify.service import Dispatcher

# A batch is at most 5 messages with a few endpoints each; none may wait behind one that hangs.
_WORKERS = 32


def deliver(dispatcher: Dispatcher, records: list[dict[str, Any]]) -> dict[str, Any]:
    """SQS's partial batch answer: the messages that have to come again.

    A message that cannot be read fails too; after its last receive SQS moves it to the dead letters.
    """
    failed: set[str] = set()
    with ThreadPoolExecutor(_WORKERS) as pool:
        opened = [
            (record["messageId"], pool.submit(dispatcher.open, record["body"]))
            for record in records
        ]
        sending = []
        for message, ids in opened:
            try:
                sending += [(message, pool.submit(dispatcher.attempt, i)) for i in ids.result()]
            except Exception as error:  # noqa: BLE001 - one message of a batch; it comes again
                logger.warning("message failed", message_id=message, error=type(error).__name__)
                failed.add(message)
        for message, state in sending:
            try:
                logger.info("delivery", message_id=message, state=str(state.result()))
            except Exception as error:  # noqa: BLE001 - one delivery of a batch; it comes again
                logger.exception("delivery failed", message_id=message, error=type(error).__name__)
                failed.add(message)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}
