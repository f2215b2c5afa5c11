"""One of the two tenants: what is planted in it, so that any of it is known again anywhere.

Everything goes in through the API. Each text that a person could choose holds the tenant's canary. Of
ids there are two of each kind: one that the other side has stolen, and one that it never hears of.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.isolation.door import Answer, Request
from tests.isolation.matrix import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.isolation.door import Door

HOUR = timedelta(hours=1)
HTTP_BAD_REQUEST = 400


@dataclass
class Side:
    """`stolen` are ids and the like by their kind; `hidden` those that nobody else is told."""

    door: Door
    tenant: str
    canary: str = field(default_factory=lambda: f"canary{secrets.token_hex(8)}")
    keys: dict[str, str] = field(default_factory=dict)
    stolen: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    # What everybody may see of the platform's, by kind.
    platform: dict[str, str] = field(default_factory=dict)
    # The service that is down, if there is one.
    sick: str = ""

    def send(self, request: Request) -> Answer:
        """As the tenant's admin; the answer must be a success."""
        answer = self.door.send(request.by(request.secret or self.keys["admin"]))
        assert answer.status < HTTP_BAD_REQUEST, f"{request.method} {request.path}: {answer}"
        return answer

    def needles(self, sent: str) -> list[str]:
        """What must be in no answer to the other side; of what it said itself, an echo is none."""
        marks = [self.canary, self.tenant, *self.hidden, *self.stolen.values()]
        return [mark for mark in dict.fromkeys(marks) if mark not in sent]

    def marks(self, kind: str) -> tuple[str, ...]:
        """What an answer that shows something of the tenant must hold."""
        kinds = {"-": "", "canary": self.canary, "tenant": self.tenant}
        mark = kinds[kind] if kind in kinds else self.stolen[kind]
        return (mark,) if mark else ()

    def event(self, **fields: Any) -> dict[str, Any]:
        name = f"source-{self.canary}"
        return {
            "event_type": "service.health.failed",
            "source": name,
            "severity": "error",
            "payload": {"service": name, "note": self.canary},
            **fields,
        }

    def rule(self, **fields: Any) -> dict[str, Any]:
        return {
            "name": f"rule {self.canary}",
            "event_type": "service.health.failed",
            "source": f"source-{self.canary}",
            "window_seconds": 600,
            "threshold": 1,
            "labels": {"note": self.canary},
            # Only what is planted counts: hundreds that do would slow everything down.
            "enabled": False,
            **fields,
        }

    def service(self, name: str) -> dict[str, Any]:
        # Nobody calls it: it is well while its lease lasts.
        return {
            "name": name,
            "url": f"https://{self.canary}.example",
            "tags": [self.canary],
            "lease_seconds": 86_400,
            "heal": {"probe": {"kind": "heartbeat"}},
        }

    def fresh_approval(self) -> str:
        """Of a service that is down, and must not be healed unless somebody agrees. There is one at a
        time: of many that are down none would be healed."""
        if self.sick:
            self.send(Request("DELETE", f"/ops/services/{self.sick}"))
        self.sick = f"sick-{self.canary}-{secrets.token_hex(4)}"
        url = "http://127.0.0.1:9"
        heal = {"action": "http", "url": url, "approval": True, "probe": {"failures": 1}}
        body = {"name": self.sick, "url": url, "heal": heal}
        made = self.send(Request("POST", "/ops/register", body=body)).body
        self.hidden += [made["registration_token"], made["heal_secret"]]
        self.send(Request("POST", "/autoheal/run"))
        found = self.send(Request("GET", "/autoheal/approvals")).body["approvals"]
        return str(next(each["id"] for each in found if each["service"] == self.sick))

    def maintenance(self) -> dict[str, Any]:
        ends = (datetime.now(UTC) + HOUR).isoformat()
        # It holds nothing back, so that services stay what they are.
        return {"services": ["no-such"], "reason": f"window {self.canary}", "ends_at": ends}

    def fresh_window(self) -> str:
        request = Request("POST", "/autoheal/maintenance", body=self.maintenance())
        return str(self.send(request).body["maintenance"]["id"])

    def silence(self) -> dict[str, Any]:
        ends = (datetime.now(UTC) + HOUR).isoformat()
        # It mutes nothing, so that alerts stay what they are.
        matchers = [{"name": "source", "value": f"no source of {self.canary}"}]
        return {"matchers": matchers, "reason": f"silence {self.canary}", "ends_at": ends}

    def schema(self) -> dict[str, Any]:
        properties = {"note": {"type": "string"}}
        return {
            "description": f"type {self.canary}",
            "schema": {"type": "object", "properties": properties},
        }

    def span(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {"since": (now - HOUR).isoformat(), "until": (now + HOUR).isoformat()}

    # What a request of one's own consumes is made anew for each.

    def fresh_rule(self) -> str:
        request = Request("POST", "/alerts/rules", body=self.rule(name=f"fresh {self.canary}"))
        return str(self.send(request).body["rule_id"])

    def fresh_silence(self) -> str:
        request = Request("POST", "/alerts/silences", body=self.silence())
        return str(self.send(request).body["silence_id"])

    def endpoint(self) -> dict[str, Any]:
        # Where nobody may call, of a type that nobody publishes: what is sent there is refused at once.
        url, types = f"http://192.0.2.1/{self.canary}", [f"{self.canary}.*"]
        return {"name": f"endpoint {self.canary}", "url": url, "event_types": types}

    def fresh_endpoint(self) -> str:
        made = self.send(Request("POST", "/notifications/endpoints", body=self.endpoint())).body
        self.hidden.append(made["secret"])
        return str(made["endpoint_id"])

    def fresh_delivery(self) -> str:
        path = f"/notifications/endpoints/{self.stolen['endpoint_id']}/test"
        return str(self.send(Request("POST", path)).body["delivery_id"])

    def notification_rules(self) -> dict[str, Any]:
        match = {"event_type": "lead.created", "name": self.canary}
        return {"rules": [{"match": match, "template": f"lead of {self.canary}"}]}

    def monitor(self) -> dict[str, Any]:
        # So long that it is never missed.
        return {"name": f"monitor {self.canary}", "period_seconds": 86_400}

    def fresh_monitor(self) -> tuple[str, str]:
        """Its id and its key."""
        made = self.send(Request("POST", "/ingest/monitors", body=self.monitor())).body
        self.hidden.append(made["ping_key"])
        return made["monitor_id"], made["ping_key"]

    def alertmanager(self) -> dict[str, Any]:
        labels = {"alertname": f"alert {self.canary}", "severity": "warning"}
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": {},
            "startsAt": datetime.now(UTC).isoformat(),
            "fingerprint": secrets.token_hex(8),
        }
        return {"version": "4", "status": "firing", "alerts": [alert]}

    def pagerduty(self) -> dict[str, Any]:
        payload = {"summary": f"alert {self.canary}", "source": "x", "severity": "info"}
        return {"event_action": "trigger", "payload": payload}

    def fresh_service(self) -> tuple[str, str]:
        """Its name and its registration token."""
        name = f"fresh-{secrets.token_hex(6)}"
        made = self.send(Request("POST", "/ops/register", body=self.service(name))).body
        return name, made["registration_token"]

    def fresh_key(self, *roles: str) -> tuple[str, str]:
        """Its id and its secret."""
        body = {"name": f"key {self.canary}", "roles": list(roles or ("viewer",))}
        made = self.send(Request("POST", "/identity/keys", body=body)).body
        return made["key"]["key_id"], made["secret"]

    def fresh_job(self, secret: str) -> str:
        """One that the holder of `secret` has started, if it may; else the admin's."""
        request = Request("POST", "/events/archive/verify", body=self.span())
        answer = self.door.send(request.by(secret))
        if answer.status != 202:
            answer = self.send(request)
        return str(answer.body["job_id"])


def plant(
    door: Door,
    tenant: str,
    cross_admin: str,
    settle: Callable[[], None],
    side: Side | None = None,
) -> Side:
    """A tenant with something of everything. `settle` waits until what was published is seen."""
    side = side or Side(door, tenant)
    record = {"name": f"tenant {side.canary}"}
    made = door.send(Request("PUT", f"/tenants/{tenant}", body=record, secret=cross_admin))
    assert made.status < HTTP_BAD_REQUEST, made
    for role in ROLES:
        body = {"name": f"{role} {side.canary}", "roles": [role], "tenant_id": tenant}
        made = door.send(Request("POST", "/identity/keys", body=body, secret=cross_admin))
        assert made.status < HTTP_BAD_REQUEST, made
        side.keys[role] = made.body["secret"]
    position = side.send(Request("GET", "/events/stream", {"wait": "0"}))
    side.stolen["position"] = position.headers["x-next-cursor"]
    # Of types, there are the built-in ones too: an own one has to sort after nothing.
    for word in ("stolen", "hidden"):
        _plant(side, word)
    # Both rules fire on it.
    side.send(Request("POST", "/events/publish", body=side.event()))
    settle()
    _look(side)
    return side


def _plant(side: Side, word: str) -> None:
    """One of each kind."""
    token = secrets.token_hex(6)

    def keep(kind: str, value: str) -> str:
        if word == "stolen":
            side.stolen[kind] = value
        else:
            side.hidden.append(value)
        return value

    event_type = keep("event_type", f"custom.t{token}.happened")
    side.send(Request("PUT", f"/events/schema/{event_type}", body=side.schema()))
    source = keep("source", f"source-{token}")
    event_id = keep("event_id", f"event-{token}")
    event = side.event(event_type=event_type, source=source, event_id=event_id)
    side.send(Request("POST", "/events/publish", body={**event, "payload": {"note": side.canary}}))
    keep("once", f"once-{token}")
    lure = side.event(
        event_id=keep("lure", f"lure-{token}"), source=keep("lure_source", f"l{token}")
    )
    side.send(Request("POST", "/events/publish", body=lure).saying(Idempotency_Key=f"once-{token}"))
    rule = Request(
        "POST", "/alerts/rules", body=side.rule(name=f"{word} {side.canary}", enabled=True)
    )
    made = side.send(rule.saying(Idempotency_Key=f"once-{token}")).body
    keep("rule_id", made["rule_id"])
    name = keep("service", f"service-{token}")
    registered = side.send(Request("POST", "/ops/register", body=side.service(name))).body
    side.hidden.append(registered["registration_token"])
    keep("silence_id", side.fresh_silence())
    keep("key_id", side.fresh_key()[0])
    keep("endpoint_id", side.fresh_endpoint())
    keep("delivery_id", side.fresh_delivery())
    keep("monitor_id", side.fresh_monitor()[0])
    keep("approval_id", side.fresh_approval())
    keep("window_id", side.fresh_window())
    plant_notification_rules(side)
    keep("job_id", side.fresh_job(side.keys["admin"]))
    plant_policy(side, {"stolen": "17", "hidden": "19"}[word])


def plant_notification_rules(side: Side) -> None:
    side.send(Request("PUT", "/notifications/rules", body=side.notification_rules()))


def plant_policy(side: Side, days: str = "19") -> None:
    path = f"/events/retention/tenants/{side.tenant}"
    side.send(Request("PUT", path, {"retention_days": days}))


def alerts_of_rules(side: Side) -> list[dict[str, Any]]:
    """Without those of services that wait for approval, which come and go."""
    return [
        alert
        for alert in side.send(Request("GET", "/alerts")).body["alerts"]
        if not alert["rule_id"].startswith("heal:")
    ]


def _look(side: Side) -> None:
    """What reading gives to be stolen: cursors, and a ticket."""
    for kind, path in (
        ("recent_cursor", "/events/recent"),
        ("keys_cursor", "/identity/keys"),
        ("audit_cursor", "/audit/events"),
        ("alerts_cursor", "/alerts"),
    ):
        body = side.send(Request("GET", path, {"limit": "1"})).body
        assert body["next_cursor"], f"{path} has one page: {body}"
        side.stolen[kind] = body["next_cursor"]
    side.stolen["alert_id"], *hidden = [alert["id"] for alert in alerts_of_rules(side)]
    side.hidden += hidden
    side.stolen["ticket"] = side.send(Request("POST", "/events/stream/ticket")).body["ticket"]
    me = side.send(Request("GET", "/identity/me")).body
    side.stolen["subject"] = me["subject"]


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def plant_platform(sides: tuple[Side, Side], everybody: str, *, is_live: bool = True) -> None:
    """A rule and a silence of the platform, which work on every tenant's events and alerts; on a stack
    that others use (not `is_live`) they are there and touch nothing."""
    draft = {
        "name": "platform rule", "event_type": "service.health.failed", "window_seconds": 600,
        "threshold": 1, "group_by": ["tenant_id", "source"], "enabled": is_live,
    }  # fmt: skip
    ends = (datetime.now(UTC) + HOUR).isoformat()
    silence = {
        "matchers": [{"name": "severity", "value": "critical" if is_live else "of nothing"}],
        "reason": "platform silence", "ends_at": ends, "tenant_id": "system",
    }  # fmt: skip
    made = {}
    for kind, path, body in (
        ("rule_id", "/alerts/rules", draft),
        ("silence_id", "/alerts/silences", silence),
    ):
        answer = sides[0].door.send(Request("POST", path, body=body, secret=everybody))
        assert answer.status < HTTP_BAD_REQUEST, answer
        made[kind] = answer.body[kind]
    for side in sides:
        side.platform |= made
