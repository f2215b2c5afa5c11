"""PagerDuty's Events API v2, as its senders speak it, as signals. Pure.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from aetherlink.events.model import Severity
from aetherlink.ingest.incident import (
    MAX_ANNOTATION,
    MAX_TITLE,
    MAX_VALUE,
    Sender,
    Signal,
    bounded,
)
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.time import parse_instant

if TYPE_CHECKING:
    from datetime import datetime

_ACTIONS: dict[str, Literal["firing", "acknowledged", "resolved"]] = {
    "trigger": "firing",
    "acknowledge": "acknowledged",
    "resolve": "resolved",
}


class Payload(Shape):
    summary: str = Field(min_length=1, max_length=1_024)
    source: str = Field(min_length=1, max_length=1_024)
    severity: Severity
    # Senders write it in many ways, PagerDuty's own client in a wrong one; it decides nothing here.
    timestamp: str | None = None
    component: str | None = None
    group: str | None = None
    class_: str | None = Field(default=None, alias="class")
    custom_details: Any = None


class Sent(Shape):
    """The body of POST /ingest/pagerduty/v2/enqueue."""

    routing_key: str = Field(default="", description="A key of ours, ak_…, unless a header has it")
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: str | None = Field(default=None, min_length=1, max_length=255)
    payload: Payload | None = None
    client: str | None = None
    client_url: str | None = None
    links: list[dict[str, Any]] = Field(default=[])
    images: list[dict[str, Any]] = Field(default=[])

    @model_validator(mode="after")
    def _is_whole(self) -> Sent:
        if self.event_action == "trigger" and self.payload is None:
            raise ValueError("payload is required of a trigger, with summary, source and severity")
        if self.event_action != "trigger" and self.dedup_key is None:
            raise ValueError(f"dedup_key is required of {self.event_action}: which incident is it?")
        return self

    def signal(self, dedup_key: str, now: datetime) -> Signal:
        """`dedup_key` is the sender's, or one that was made for it."""
        by = (self.client or "")[:MAX_TITLE]
        if self.payload is None:
            return Signal(Sender.PAGERDUTY, dedup_key, _ACTIONS[self.event_action], now, by=by)
        given = self.payload
        labels = {
            "source": given.source,
            "component": given.component,
            "group": given.group,
            "class": given.class_,
        }
        return Signal(
            sender=Sender.PAGERDUTY,
            key=dedup_key,
            action=_ACTIONS[self.event_action],
            at=_instant(given.timestamp, now),
            name=given.summary[:MAX_TITLE],
            severity=given.severity,
            source=(given.component or given.source)[:MAX_VALUE],
            group=bounded({name: value for name, value in labels.items() if value}),
            annotations=bounded(self._said(given), MAX_ANNOTATION),
            by=by,
        )

    def _said(self, given: Payload) -> dict[str, Any]:
        details = given.custom_details
        named = details if isinstance(details, dict) else {"details": details} if details else {}
        links = [str(link.get("href", "")) for link in self.links]
        said = {"summary": given.summary, "client": self.client, "client_url": self.client_url}
        return {n: v for n, v in {**said, **named, "links": " ".join(links)}.items() if v}


def _instant(text: str | None, now: datetime) -> datetime:
    try:
        return parse_instant(text) if text else now
    except ValueError:
        return now
