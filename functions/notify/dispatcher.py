"""The notifications queue: alerts on their way to the webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aetherlink.kernel.time import utc_now
from aetherlink.notify.batch import deliver
from aetherlink.notify.model import parse_schedule
from aetherlink.notify.service import Dispatcher
from aetherlink.notify.webhook import Webhook
from aetherlink.platform.config import config, dispatch_config
from aetherlink.platform.messaging import Queue
from aetherlink.platform.outbound import Outbound, parse_allow_list
from aetherlink.wiring import delivery_store, endpoint_store, in_hand, notification_rules, one_click

settings = dispatch_config()
dispatcher = Dispatcher(
    delivery_store(),
    endpoint_store(settings.alert_webhooks),
    Webhook(Outbound(parse_allow_list(config().outbound_allow)), settings.delivery_timeout_seconds),
    queue=Queue(settings.notifications_queue),
    dead_letters=Queue(settings.notifications_dead_letter_queue),
    schedule=parse_schedule(settings.delivery_retry_seconds),
    timeout=timedelta(seconds=settings.delivery_timeout_seconds),
    in_hand=in_hand(),
    links=one_click().links,
    rules=notification_rules().of,
    now=utc_now,
)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return deliver(dispatcher, event["Records"])
