"""A batch of queue messages: every delivery in it at the same time, each message's fate its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from concurrent.futures import Future

    from aetherlink.notify.model import State
    from aetherlink.notify.service import Dispatcher

# So many at a time, none of which waits behind one that hangs. What an event has beyond that gets
# messages of its own: a function has 30 seconds, and another of its kind may be idle.
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
        sending: list[tuple[str, Future[State | None]]] = []
        for message, ids in opened:
            try:
                for delivery_id in ids.result():
                    if len(sending) < _WORKERS:
                        sending.append((message, pool.submit(dispatcher.attempt, delivery_id)))
                    else:
                        dispatcher.put_off(delivery_id)
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
