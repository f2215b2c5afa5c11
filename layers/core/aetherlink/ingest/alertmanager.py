"""Alertmanager's webhook, version 4, as signals. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, field_validator

from aetherlink.events.model import Severity
from aetherlink.ingest.incident import MAX_ANNOTATION, MAX_TITLE, Sender, Signal, bounded
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.time import parse_instant, to_text

# The gateway cuts a request off after 29 s: a trigger that arrives sooner after the end of the same
# alert may have been under way since before it. Later, Prometheus is firing again with the start that
# it remembered (Alertmanager's resolve_timeout had ended the alert), and somebody has to know.
_UNDER_WAY = timedelta(seconds=30)
_SEVERITIES = {
    **dict.fromkeys(("critical", "page", "emergency", "fatal", "disaster"), Severity.CRITICAL),
    **dict.fromkeys(("warning", "warn", "minor", "ticket"), Severity.WARNING),
    **dict.fromkeys(("info", "information", "none", "low", "debug"), Severity.INFO),
}
_SERVICE_LABELS = ("service", "job", "instance")


class Alert(Shape):
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(min_length=1)
    annotations: dict[str, str] = Field(default={})
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime | None = Field(default=None, alias="endsAt")
    generator_url: str = Field(default="", alias="generatorURL")
    fingerprint: str = Field(default="", max_length=64)

    @field_validator("starts_at", "ends_at", mode="before")
    @classmethod
    def _instant(cls, given: Any) -> Any:
        return parse_instant(given) if isinstance(given, str) and given else given or None

    def signal(self, external_url: str) -> Signal:
        links = {"generatorURL": self.generator_url, "externalURL": external_url}
        said = {**self.annotations, **{name: link for name, link in links.items() if link}}
        # A release before 0.20 sends no fingerprint; labels are what it is made of.
        print_ = self.fingerprint or digest(*(f"{n}={v}" for n, v in sorted(self.labels.items())))
        is_firing = self.status == "firing"
        return Signal(
            sender=Sender.ALERTMANAGER,
            key=f"{print_}/{to_text(self.starts_at)}",
            action=self.status,
            at=self.starts_at if is_firing else self.ends_at or self.starts_at,
            name=self.labels.get("alertname", "alert")[:MAX_TITLE],
            severity=_SEVERITIES.get(self.labels.get("severity", "").lower(), Severity.ERROR),
            source=next((self.labels[n] for n in _SERVICE_LABELS if n in self.labels), ""),
            group=bounded({n: v for n, v in self.labels.items() if n != "alertname"}),
            annotations=bounded(said, MAX_ANNOTATION),
            settled_for=_UNDER_WAY,
        )


class Webhook(Shape):
    """The body of POST /ingest/alertmanager."""

    version: Literal["4"] = Field(description="Of the webhook's format")
    status: Literal["firing", "resolved"]
    # As many as a request's 4 MB hold: what is refused, Alertmanager does not send again.
    alerts: list[Alert]
    group_key: str = Field(default="", alias="groupKey")
    truncated_alerts: int = Field(default=0, ge=0, alias="truncatedAlerts")
    receiver: str = ""
    external_url: str = Field(default="", alias="externalURL")

    def signals(self) -> list[Signal]:
        return [alert.signal(self.external_url) for alert in self.alerts]
