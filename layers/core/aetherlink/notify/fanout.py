"""The topic: where everything that people are told of can be subscribed to, by the team itself too.

A message's attributes are `tenant`, `severity` and `type`, to filter a subscription by. Queues,
functions and HTTPS subscribers get `{"event": …}` as JSON; e-mail and SMS get a text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from aetherlink.events.model import flat
from aetherlink.notify.notice import Notice, plain, subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.events.model import Event

# An SMS of more is cut into several, each of which costs.
_MAX_SMS = 140


class Topic(Protocol):
    def publish(
        self,
        message: str,
        *,
        subject: str,
        attributes: Mapping[str, str],
        texts: Mapping[str, str],
    ) -> None: ...


def outlet(topic: Topic) -> Callable[[Event], None]:
    """Puts an event on the topic. Raises StorageError (try again) if it is not taken."""

    def publish(event: Event) -> None:
        shown = flat(event)
        notice = Notice(event=shown, message_id=event.event_id)
        topic.publish(
            json.dumps({"event": shown}, ensure_ascii=False),
            subject=subject(notice),
            attributes={
                "tenant": event.tenant_id,
                "severity": str(event.severity),
                "type": event.event_type,
            },
            texts={"email": plain(notice), "sms": notice.title[:_MAX_SMS]},
        )

    return publish
