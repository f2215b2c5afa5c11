"""What is told: one event in words, whoever it is told to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aetherlink.kernel.plain import one_line

MAX_TITLE = 100
# So many of a payload's fields are shown: a message is to be read at a glance.
MAX_FACTS = 20
_MAX_FACT = 300
_MAX_NOTES = 8
_MAX_SUBJECT = 99
_MARKS = {"info": "i", "warning": "!", "error": "!!", "critical": "!!!"}


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class Digest:
    """Several events told together: all are counted, the first ones are in `alerts`."""

    count: int
    since: str
    until: str
    alerts: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Notice:
    """`event` is flat: event_id, event_type, tenant_id, source, severity, timestamp, payload.
    `message_id` is the delivery's."""

    event: dict[str, Any]
    message_id: str
    links: tuple[Link, ...] = ()
    digest: Digest | None = None
    # In whose words it is told, where a notification rule has some.
    said: str = ""

    @property
    def event_type(self) -> str:
        return str(self.event.get("event_type", ""))

    @property
    def is_raised(self) -> bool:
        return self.event_type == "ops.alert.raised"

    @property
    def is_resolved(self) -> bool:
        return self.event_type == "ops.alert.resolved"

    @property
    def is_alert(self) -> bool:
        return self.is_raised or self.is_resolved

    @property
    def payload(self) -> dict[str, Any]:
        payload = self.event.get("payload")
        return payload if isinstance(payload, dict) else {}

    @property
    def episode_id(self) -> str | None:
        return str(self.payload["episode_id"]) if self.payload.get("episode_id") else None

    @property
    def severity(self) -> str:
        return str(self.event.get("severity", "info"))

    @property
    def tenant(self) -> str:
        return str(self.event.get("tenant_id", ""))

    @property
    def timestamp(self) -> str:
        """To the second."""
        return f"{one_line(str(self.event.get('timestamp', ''))[:19], 19)}Z"

    @property
    def title(self) -> str:
        """One line of at most 100 characters."""
        if self.digest:
            return one_line(f"[{self.tenant}] {self.digest.count} notifications at once", MAX_TITLE)
        if self.is_alert:
            word = "raised" if self.is_raised else "resolved"
            return one_line(f"[{self.tenant}] {self.payload.get('rule_name')} {word}", MAX_TITLE)
        if self.said:
            return one_line(self.said, MAX_TITLE)
        said = self.payload.get("message") or self.event.get("source", "")
        return one_line(f"[{self.tenant}] {self.event_type}: {said}", MAX_TITLE)

    def facts(self) -> list[tuple[str, str]]:
        """What is known, by name; each of one line."""
        if self.is_alert:
            found = [
                ("Rule", self.payload.get("rule_name")),
                ("Severity", self.severity.upper()),
                ("Source", self.event.get("source")),
                ("Tenant", self.tenant),
                ("Threshold", threshold(self.payload)),
                *notes(self.payload),
                *_named(self.payload.get("group")),
                *_named(titles(self.payload.get("filters"))),
            ]
        else:
            found = [
                ("Event", self.event_type),
                ("Severity", self.severity.upper()),
                ("Source", self.event.get("source")),
                ("Tenant", self.tenant),
                *_named(self.payload),
            ]
        shown = [
            (one_line(str(name), MAX_TITLE), one_line(str(value), _MAX_FACT))
            for name, value in found
            if value not in (None, "")
        ]
        return [*shown[:MAX_FACTS], ("Timestamp", self.timestamp)]


def notes(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What whoever made the rule, or the sender, wants people to know: annotations that are texts."""
    annotations = payload.get("annotations")
    given: dict[str, Any] = annotations if isinstance(annotations, dict) else {}
    named = [(_title(name), value) for name, value in given.items() if isinstance(value, str)]
    reason = payload.get("reason")
    return [*([("Reason", reason)] if isinstance(reason, str) else []), *named][:_MAX_NOTES]


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def threshold(payload: dict[str, Any]) -> str:
    if not payload.get("window_seconds"):
        # It was counted elsewhere, or not at all.
        return "as its sender reports"
    counts = f"{payload.get('matched_count')}/{payload.get('threshold')}"
    return f"{counts} events in {payload.get('window_seconds')}s"


def titles(filters: object) -> dict[str, Any]:
    names: dict[str, str] = {"event_type": "Event Type", "source": "Source", "severity": "Severity"}
    given: dict[str, Any] = filters if isinstance(filters, dict) else {}
    return {names.get(name, name): value for name, value in given.items()}


def _named(values: object) -> list[tuple[str, Any]]:
    """Scalars alone: what is nested is not read at a glance."""
    given = values if isinstance(values, dict) else {}
    return [(n, v) for n, v in given.items() if isinstance(v, str | int | float | bool)]


def subject(notice: Notice) -> str:
    """Of an e-mail: fewer than 100 printable ASCII characters (SNS's rule)."""
    mark = _MARKS.get(notice.severity, "") if not notice.is_resolved else "ok"
    text = "".join(c if " " <= c <= "~" else "?" for c in f"({mark}) {notice.title}")
    return text[:_MAX_SUBJECT]


def plain(notice: Notice) -> str:
    """For people without any markup: e-mail."""
    lines = [notice.title, "", *(f"{name}: {value}" for name, value in notice.facts())]
    if notice.digest:
        lines += ["", *(brief(event) for event in notice.digest.alerts)]
    lines += [f"{link.text}: {link.url}" for link in notice.links]
    return "\n".join(lines)


def brief(event: dict[str, Any]) -> str:
    """One line of a digest."""
    notice = Notice(event=event, message_id="")
    group = ", ".join(f"{n}={v}" for n, v in _named(notice.payload.get("group")))
    return one_line(f"{notice.timestamp} {notice.title}{f' ({group})' if group else ''}", 200)
