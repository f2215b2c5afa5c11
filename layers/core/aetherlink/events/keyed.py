"""Publishing by Idempotency-Key: the key names the event, so that sending it again is the same event.

It costs no call besides the one that stores the event. The key names it among the events of its
source, as any event id does: the same key with another source is another event.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.kernel.errors import Flaw, UnprocessableError
from aetherlink.kernel.ids import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aetherlink.events.model import Event, Published
    from aetherlink.kernel.tenancy import Caller

PREFIX = "ik-"


class Publishing(Protocol):
    def prepare(self, caller: Caller, body: Any) -> Event: ...
    def store(
        self, event: Event, *, check: Callable[[Event, Event], None] | None = None
    ) -> Published: ...


class Keyed:
    """A publisher for one request of `caller`, whose `key` names the events that have no id."""

    def __init__(self, publisher: Publishing, caller: Caller, route: str, key: str) -> None:
        self._publisher = publisher
        self._scope = (caller.subject, route, key)
        self._names: set[str] = set()

    def publish(self, caller: Caller, body: Any) -> Published:
        (named,) = self.named([body])
        return self.store(self.prepare(caller, named))

    def named(self, bodies: Iterable[Any]) -> list[Any]:
        """The bodies with an event id each; an id of their own is left, and the key ignored."""
        return [self._named(body, index) for index, body in enumerate(bodies)]

    def prepare(self, caller: Caller, body: Any) -> Event:
        return self._publisher.prepare(caller, body)

    def store(self, event: Event) -> Published:
        is_ours = event.event_id in self._names
        return self._publisher.store(event, check=check_same if is_ours else None)

    def _named(self, body: Any, index: int) -> Any:
        if not isinstance(body, dict) or body.get("event_id") is not None:
            return body
        name = PREFIX + digest(*self._scope, str(index), length=32)
        self._names.add(name)
        return {**body, "event_id": name}


def check_same(kept: Event, event: Event) -> None:
    """Raises UnprocessableError unless `event` says what was `kept` under its name."""
    if _said(kept) != _said(event):
        raise UnprocessableError(
            (
                Flaw(
                    "header/Idempotency-Key",
                    "this key came with another event before; a new event needs a new key, and the "
                    "same one must be repeated as it was",
                ),
            )
        )


def _said(event: Event) -> tuple[Any, ...]:
    """What the producer said of it. A time that it did not state is that of arrival."""
    stated = event.original_timestamp or event.timestamp
    return (
        event.event_type,
        str(event.severity),
        event.schema_version,
        stated if stated != event.received_at else None,
        # As text, in which true is not 1.
        json.dumps([event.payload, event.attributes or {}], sort_keys=True),
    )
