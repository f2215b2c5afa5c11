"""The matrix as requests: each row by each caller, each way by each thief, and what of it is a fault."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aetherlink.alerts.people import Filters as AlertFilters
from aetherlink.alerts.templates import TEMPLATES
from aetherlink.events.model import Filters
from aetherlink.kernel.ids import tenant_bound
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import TenantId
from tests.isolation.door import Answer, Request
from tests.isolation.matrix import ACCESS, NOBODY, REACH, ROLES, SERVICE, STRAY, Row, rows, thefts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.isolation.matrix import Theft
    from tests.isolation.side import Side

HTTP_BAD_REQUEST = 400


@dataclass(frozen=True)
class Attempt:
    """`wanted` are the statuses that are right; a success must have `has` in it, and lack `lacks`."""

    name: str
    request: Request
    wanted: frozenset[int]
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass
class Thief:
    """A side that tries, the other one, and all that it has ever said: of that an echo is no leak."""

    own: Side
    other: Side
    said: str = ""

    def faults(self, attempt: Attempt) -> list[str]:
        """Make the attempt; what is wrong with the answer, in words. Empty: nothing."""
        self.said += "\n" + attempt.request.words()
        answer = self.own.door.send(attempt.request)
        return list(self._faults(attempt, answer))

    def _faults(self, attempt: Attempt, answer: Answer) -> Iterator[str]:
        text, name = answer.words(), attempt.name
        if answer.status not in attempt.wanted:
            wanted = " or ".join(map(str, sorted(attempt.wanted)))
            yield f"{name}: answered {answer.status}, not {wanted}: {answer.text[:300]}"
        for needle in self.other.needles(self.said):
            if needle in text:
                yield f"{name}: the answer holds {needle} of {self.other.tenant}: {answer.text[:300]}"
        if answer.status < HTTP_BAD_REQUEST:
            absent = (word for word in attempt.has if word not in text)
            yield from (f"{name}: the answer lacks {word}: {answer.text[:300]}" for word in absent)
        yield from (f"{name}: the answer holds {word!r}" for word in attempt.lacks if word in text)


# ---------------------------------------------------------------- a request for each route

# Any of the contract's ready-made rules.
TEMPLATE = next(iter(TEMPLATES))
GUESS = secrets.token_hex(6)


@dataclass(frozen=True)
class Target:
    """Whose request it is and by which credential; `ids` are whose things it names. `service` is the
    one that a registration token stands for."""

    side: Side
    secret: str | None
    ids: dict[str, str] = field(default_factory=dict)
    service: str = ""

    def id(self, kind: str, fresh: Callable[[], str]) -> str:
        """The id that is to be tried; of one's own, a new one."""
        return self.ids.get(kind) or fresh()


def request(route: str, target: Target) -> Request:
    """A request to a route that succeeds, if the caller may do it and the ids are its own."""
    return _RECIPES[route](target).by(target.secret)


def _guessed(own: Side) -> dict[str, str]:
    """Ids of the right form that nobody has."""
    bound = tenant_bound(TenantId(own.tenant), GUESS)
    guesses = dict.fromkeys(("event_id", "source", "service"), f"guess-{GUESS}")
    guesses |= dict.fromkeys(("rule_id", "key_id", "job_id", "alert_id", "silence_id"), bound)
    guesses |= dict.fromkeys(("endpoint_id", "delivery_id", "monitor_id", "ping_key"), bound)
    guesses |= dict.fromkeys(("approval_id", "window_id"), bound)
    guesses["provider"] = f"guess-{GUESS}"
    guesses["template"] = f"guess-{GUESS}"
    return {**guesses, "event_type": f"custom.g{GUESS}.happened", "tenant": f"guess-{GUESS}"}


def _stolen(other: Side) -> dict[str, str]:
    return {**other.stolen, "tenant": other.tenant}


def _published(side: Side) -> str:
    event_id = f"own-{secrets.token_hex(8)}"
    side.send(Request("POST", "/events/publish", body=side.event(event_id=event_id)))
    return event_id


def _new_name(t: Target) -> str:
    return t.service or f"new-{secrets.token_hex(6)}"


def _own_service(t: Target) -> str:
    return t.service or t.side.fresh_service()[0]


def _alert(t: Target) -> str:
    return t.id("alert_id", lambda: t.side.stolen["alert_id"])


def _endpoint(t: Target, rest: str = "") -> str:
    own = t.id("endpoint_id", lambda: t.side.stolen["endpoint_id"])
    return f"/notifications/endpoints/{own}{rest}"


def _delivery(t: Target, rest: str = "") -> str:
    return f"/notifications/deliveries/{t.id('delivery_id', t.side.fresh_delivery)}{rest}"


def _monitor(t: Target) -> str:
    return f"/ingest/monitors/{t.id('monitor_id', lambda: t.side.fresh_monitor()[0])}"


def _window(t: Target) -> str:
    return f"/autoheal/maintenance/{t.id('window_id', t.side.fresh_window)}"


def _pause(t: Target) -> str:
    return f"/autoheal/services/{t.id('service', lambda: _own_service(t))}/pause"


def _ping(t: Target, rest: str = "") -> str:
    return f"/ingest/ping/{t.id('ping_key', lambda: t.side.fresh_monitor()[1])}{rest}"


def _cloud_event(side: Side, **fields: str) -> Request:
    event = {
        "specversion": "1.0",
        "id": f"ce-{secrets.token_hex(6)}",
        "type": "service.health.failed",
        "source": "billing",
        "data": {"service": "billing", "note": side.canary},
        **fields,
    }
    headers = {"Content-Type": "application/cloudevents+json"}
    return Request("POST", "/events/cloudevents", body=event, headers=headers)


_RECIPES: dict[str, Callable[[Target], Request]] = {
    "GET /": lambda t: Request("GET", "/"),
    "GET /ping": lambda t: Request("GET", "/ping"),
    "GET /ops/ping": lambda t: Request("GET", "/ops/ping"),
    "GET /health.json": lambda t: Request("GET", "/health.json"),
    "GET /openapi.json": lambda t: Request("GET", "/openapi.json"),
    "GET /console/config.json": lambda t: Request("GET", "/console/config.json"),
    "POST /ops/register": lambda t: Request(
        "POST",
        "/ops/register",
        body=t.side.service(_new_name(t)),
    ),
    "POST /ops/services/{name}/heartbeat": lambda t: Request(
        "POST", f"/ops/services/{t.id('service', lambda: _own_service(t))}/heartbeat"
    ),
    "GET /ops/services": lambda t: Request("GET", "/ops/services"),
    "DELETE /ops/services/{name}": lambda t: Request(
        "DELETE", f"/ops/services/{t.id('service', lambda: _own_service(t))}"
    ),
    "GET /ops/health": lambda t: Request("GET", "/ops/health"),
    "GET /ops/reconciliation": lambda t: Request("GET", "/ops/reconciliation"),
    "GET /autoheal/ping": lambda t: Request("GET", "/autoheal/ping"),
    "GET /autoheal/health": lambda t: Request("GET", "/autoheal/health"),
    "GET /autoheal/status": lambda t: Request("GET", "/autoheal/status"),
    "GET /autoheal/history": lambda t: Request("GET", "/autoheal/history"),
    "GET /ai/ping": lambda t: Request("GET", "/ai/ping"),
    "GET /ai/health": lambda t: Request("GET", "/ai/health"),
    "GET /ai/usage": lambda t: Request("GET", "/ai/usage"),
    "GET /providers/health": lambda t: Request("GET", "/providers/health"),
    "POST /providers/{name}/reset": lambda t: Request(
        "POST", f"/providers/{t.id('provider', lambda: 'claude')}/reset"
    ),
    "POST /orchestrate": lambda t: Request(
        "POST",
        "/orchestrate",
        body={
            "tenant_id": t.side.tenant,
            "intent": "extract-lead",
            "payload": {"raw_text": t.side.canary},
        },
    ),
    "POST /summaries/extract-lead": lambda t: Request(
        "POST", "/summaries/extract-lead", body={"raw_text": t.side.canary}
    ),
    "POST /v1/chat/completions": lambda t: Request(
        "POST",
        "/v1/chat/completions",
        body={"model": "auto", "messages": [{"role": "user", "content": t.side.canary}]},
    ),
    "GET /v1/models": lambda t: Request("GET", "/v1/models"),
    "GET /autoheal/stats": lambda t: Request("GET", "/autoheal/stats"),
    "POST /autoheal/run": lambda t: Request("POST", "/autoheal/run", {"dry_run": "true"}),
    "PUT /autoheal/services/{name}/pause": lambda t: Request(
        "PUT", _pause(t), body={"reason": t.side.canary}
    ),
    "DELETE /autoheal/services/{name}/pause": lambda t: Request("DELETE", _pause(t)),
    "GET /autoheal/approvals": lambda t: Request("GET", "/autoheal/approvals"),
    "POST /autoheal/approvals/{approval_id}": lambda t: Request(
        "POST",
        f"/autoheal/approvals/{t.id('approval_id', t.side.fresh_approval)}",
        body={"approve": False},
    ),
    "POST /autoheal/maintenance": lambda t: Request(
        "POST", "/autoheal/maintenance", body=t.side.maintenance()
    ),
    "GET /autoheal/maintenance": lambda t: Request("GET", "/autoheal/maintenance"),
    "GET /autoheal/maintenance/{window_id}": lambda t: Request("GET", _window(t)),
    "PUT /autoheal/maintenance/{window_id}": lambda t: Request(
        "PUT", _window(t), body=t.side.maintenance()
    ),
    "DELETE /autoheal/maintenance/{window_id}": lambda t: Request("DELETE", _window(t)),
    "POST /events/publish": lambda t: Request("POST", "/events/publish", body=t.side.event()),
    "POST /events/batch": lambda t: Request(
        "POST", "/events/batch", body={"events": [t.side.event()]}
    ),
    "POST /events/cloudevents": lambda t: _cloud_event(t.side),
    "GET /events/recent": lambda t: Request("GET", "/events/recent"),
    "GET /events/stats": lambda t: Request("GET", "/events/stats"),
    "GET /events/schema": lambda t: Request("GET", "/events/schema"),
    "GET /events/schema/{event_type}": lambda t: Request(
        "GET", f"/events/schema/{t.id('event_type', lambda: t.side.stolen['event_type'])}"
    ),
    "PUT /events/schema/{event_type}": lambda t: Request(
        "PUT", f"/events/schema/{t.side.stolen['event_type']}", body=t.side.schema()
    ),
    "GET /events/{event_id}": lambda t: Request(
        "GET", f"/events/{t.id('event_id', lambda: _published(t.side))}"
    ),
    "GET /events/stream": lambda t: Request(
        "GET", "/events/stream", {"wait": "0", "cursor": t.side.stolen["position"]}
    ),
    "POST /events/stream/ticket": lambda t: Request("POST", "/events/stream/ticket"),
    "GET /events/retention": lambda t: Request("GET", "/events/retention"),
    "GET /events/retention/tenants": lambda t: Request("GET", "/events/retention/tenants"),
    "PUT /events/retention/tenants/{tenant}": lambda t: Request(
        "PUT",
        f"/events/retention/tenants/{t.id('tenant', lambda: t.side.tenant)}",
        {"retention_days": "19"},
    ),
    "DELETE /events/retention/tenants/{tenant}": lambda t: Request(
        "DELETE", f"/events/retention/tenants/{t.id('tenant', lambda: t.side.tenant)}"
    ),
    "POST /events/prune": lambda t: Request("POST", "/events/prune"),
    "GET /events/archive": lambda t: Request("GET", "/events/archive"),
    "POST /events/archive/verify": lambda t: Request(
        "POST", "/events/archive/verify", body=t.side.span()
    ),
    "POST /events/archive/restore": lambda t: Request(
        "POST", "/events/archive/restore", body=t.side.span()
    ),
    "GET /jobs/{job_id}": lambda t: Request(
        "GET", f"/jobs/{t.id('job_id', lambda: t.side.fresh_job(t.secret or ''))}"
    ),
    "POST /alerts/rules": lambda t: Request("POST", "/alerts/rules", body=t.side.rule()),
    "GET /alerts/rules": lambda t: Request("GET", "/alerts/rules"),
    "GET /alerts/rules/{rule_id}": lambda t: Request(
        "GET", f"/alerts/rules/{t.id('rule_id', lambda: t.side.stolen['rule_id'])}"
    ),
    "DELETE /alerts/rules/{rule_id}": lambda t: Request(
        "DELETE", f"/alerts/rules/{t.id('rule_id', t.side.fresh_rule)}"
    ),
    "PATCH /alerts/rules/{rule_id}/enabled": lambda t: Request(
        "PATCH",
        f"/alerts/rules/{t.id('rule_id', lambda: t.side.stolen['rule_id'])}/enabled",
        {"enabled": "true"},
    ),
    "GET /alerts/rules/{rule_id}/explain": lambda t: Request(
        "GET", f"/alerts/rules/{t.id('rule_id', lambda: t.side.stolen['rule_id'])}/explain"
    ),
    "POST /alerts/rules/backtest": lambda t: Request(
        "POST", "/alerts/rules/backtest", body={"rule": t.side.rule()}
    ),
    "GET /alerts/templates": lambda t: Request("GET", "/alerts/templates"),
    "GET /alerts/templates/{template_id}": lambda t: Request(
        "GET", f"/alerts/templates/{t.ids.get('template', TEMPLATE)}"
    ),
    "POST /alerts/templates/{template_id}/materialize": lambda t: Request(
        "POST",
        f"/alerts/templates/{t.ids.get('template', TEMPLATE)}/materialize",
        body={"overrides": {"enabled": False}},
    ),
    "POST /alerts/evaluate": lambda t: Request("POST", "/alerts/evaluate"),
    "GET /alerts": lambda t: Request("GET", "/alerts"),
    "GET /alerts/{alert_id}": lambda t: Request("GET", f"/alerts/{_alert(t)}"),
    "POST /alerts/{alert_id}/ack": lambda t: Request("POST", f"/alerts/{_alert(t)}/ack", body={}),
    "DELETE /alerts/{alert_id}/ack": lambda t: Request("DELETE", f"/alerts/{_alert(t)}/ack"),
    "POST /alerts/silences": lambda t: Request("POST", "/alerts/silences", body=t.side.silence()),
    "POST /alerts/silences/preview": lambda t: Request(
        "POST", "/alerts/silences/preview", body=t.side.silence()
    ),
    "GET /alerts/silences": lambda t: Request("GET", "/alerts/silences"),
    "GET /alerts/silences/{silence_id}": lambda t: Request(
        "GET", f"/alerts/silences/{t.id('silence_id', lambda: t.side.stolen['silence_id'])}"
    ),
    "PUT /alerts/silences/{silence_id}": lambda t: Request(
        "PUT",
        f"/alerts/silences/{t.id('silence_id', lambda: t.side.stolen['silence_id'])}",
        body=t.side.silence(),
    ),
    "DELETE /alerts/silences/{silence_id}": lambda t: Request(
        "DELETE", f"/alerts/silences/{t.id('silence_id', t.side.fresh_silence)}"
    ),
    "GET /alerts/act": lambda t: Request("GET", "/alerts/act", {"ticket": "made.up"}),
    "POST /alerts/act": lambda t: Request("POST", "/alerts/act", {"ticket": "made.up"}),
    "POST /notifications/endpoints": lambda t: Request(
        "POST", "/notifications/endpoints", body=t.side.endpoint()
    ),
    "GET /notifications/endpoints": lambda t: Request("GET", "/notifications/endpoints"),
    "GET /notifications/endpoints/{endpoint_id}": lambda t: Request("GET", _endpoint(t)),
    "PUT /notifications/endpoints/{endpoint_id}": lambda t: Request(
        "PUT", _endpoint(t), body=t.side.endpoint()
    ),
    "DELETE /notifications/endpoints/{endpoint_id}": lambda t: Request(
        "DELETE", f"/notifications/endpoints/{t.id('endpoint_id', t.side.fresh_endpoint)}"
    ),
    "POST /notifications/endpoints/{endpoint_id}/enable": lambda t: Request(
        "POST", _endpoint(t, "/enable")
    ),
    "POST /notifications/endpoints/{endpoint_id}/test": lambda t: Request(
        "POST", _endpoint(t, "/test")
    ),
    "POST /notifications/endpoints/{endpoint_id}/rotate-secret": lambda t: Request(
        "POST", _endpoint(t, "/rotate-secret")
    ),
    "GET /notifications/deliveries": lambda t: Request("GET", "/notifications/deliveries"),
    "GET /notifications/deliveries/stats": lambda t: Request(
        "GET", "/notifications/deliveries/stats"
    ),
    "POST /notifications/deliveries/replay": lambda t: Request(
        "POST", "/notifications/deliveries/replay", body={}
    ),
    "GET /notifications/deliveries/{delivery_id}": lambda t: Request("GET", _delivery(t)),
    "POST /notifications/deliveries/{delivery_id}/replay": lambda t: Request(
        "POST", _delivery(t, "/replay")
    ),
    "GET /notifications/rules": lambda t: Request("GET", "/notifications/rules"),
    "PUT /notifications/rules": lambda t: Request(
        "PUT", "/notifications/rules", body=t.side.notification_rules()
    ),
    "DELETE /notifications/rules": lambda t: Request("DELETE", "/notifications/rules"),
    "POST /notifications/test": lambda t: Request(
        "POST", "/notifications/test", body={"event_type": "lead.created", "lead_id": 1}
    ),
    "POST /ingest/alertmanager": lambda t: Request(
        "POST", "/ingest/alertmanager", body=t.side.alertmanager()
    ),
    "POST /ingest/pagerduty/v2/enqueue": lambda t: Request(
        "POST", "/ingest/pagerduty/v2/enqueue", body=t.side.pagerduty()
    ),
    "POST /ingest/monitors": lambda t: Request("POST", "/ingest/monitors", body=t.side.monitor()),
    "GET /ingest/monitors": lambda t: Request("GET", "/ingest/monitors"),
    "GET /ingest/monitors/{monitor_id}": lambda t: Request("GET", _monitor(t)),
    "PUT /ingest/monitors/{monitor_id}": lambda t: Request(
        "PUT", _monitor(t), body=t.side.monitor()
    ),
    "DELETE /ingest/monitors/{monitor_id}": lambda t: Request("DELETE", _monitor(t)),
    "GET /ingest/ping/{key}": lambda t: Request("GET", _ping(t)),
    "POST /ingest/ping/{key}": lambda t: Request("POST", _ping(t)),
    "GET /ingest/ping/{key}/{word}": lambda t: Request("GET", _ping(t, "/start")),
    "POST /ingest/ping/{key}/{word}": lambda t: Request("POST", _ping(t, "/start")),
    "GET /identity/me": lambda t: Request("GET", "/identity/me"),
    "POST /identity/keys": lambda t: Request(
        "POST", "/identity/keys", body={"name": f"key {t.side.canary}", "roles": ["viewer"]}
    ),
    "GET /identity/keys": lambda t: Request("GET", "/identity/keys"),
    "GET /identity/keys/{key_id}": lambda t: Request(
        "GET", f"/identity/keys/{t.id('key_id', lambda: t.side.stolen['key_id'])}"
    ),
    "DELETE /identity/keys/{key_id}": lambda t: Request(
        "DELETE", f"/identity/keys/{t.id('key_id', lambda: t.side.fresh_key()[0])}"
    ),
    "POST /identity/keys/{key_id}/rotate": lambda t: Request(
        "POST", f"/identity/keys/{t.id('key_id', lambda: t.side.fresh_key()[0])}/rotate", body={}
    ),
    "GET /tenants": lambda t: Request("GET", "/tenants"),
    "GET /tenants/{tenant_id}": lambda t: Request(
        "GET", f"/tenants/{t.id('tenant', lambda: t.side.tenant)}"
    ),
    "PUT /tenants/{tenant_id}": lambda t: Request(
        "PUT",
        f"/tenants/{t.id('tenant', lambda: t.side.tenant)}",
        body={"name": f"tenant {t.side.canary}"},
    ),
    "DELETE /tenants/{tenant_id}": lambda t: Request(
        "DELETE",
        f"/tenants/{t.id('tenant', lambda: t.side.tenant)}",
        {"confirm": t.id("tenant", lambda: t.side.tenant)},
    ),
    "GET /audit/stats": lambda t: Request("GET", "/audit/stats"),
    "GET /audit/stats?service=ai-orchestrator": lambda t: Request(
        "GET", "/audit/stats", {"service": "ai-orchestrator"}
    ),
    "GET /audit/events": lambda t: Request("GET", "/audit/events", {"limit": "200"}),
    "GET /audit/verify": lambda t: Request("GET", "/audit/verify"),
}

# What cannot be done twice. Its own rows use a tenant of their own (test_matrix.py, deployed too).
ENDS_THE_TENANT = "DELETE /tenants/{tenant_id}"


# ---------------------------------------------------------------- role by route


def by_role(row: Row, side: Side, stray: str | None) -> Iterator[Attempt]:
    """A row of ACCESS, each caller with a request of its own. `stray`: a key of no tenant."""
    name, token = side.fresh_service()
    callers: dict[str, str | None] = {NOBODY: None, **side.keys, SERVICE: token}
    if stray:
        callers[STRAY] = stray
    for caller, secret in callers.items():
        cell = row.cells[caller]
        target = Target(side, secret, service=name if caller == SERVICE else "")
        if row.name == ENDS_THE_TENANT and cell == "yes":
            continue
        wanted = frozenset({200, 202}) if cell == "yes" else frozenset({int(cell)})
        yield Attempt(f"{row.name} as {caller}", request(row.name, target), wanted)
    garbage = f"ak_{'0' * 29}"
    expected = frozenset({200}) if row.cells[NOBODY] == "yes" else frozenset({401})
    yield Attempt(
        f"{row.name} with a key that nobody has",
        request(row.name, Target(side, garbage)),
        expected,
    )


# ---------------------------------------------------------------- tenant by route


def by_reach(
    row: Row, access: Row, own: Side, other: Side, roles: tuple[str, ...] = ROLES
) -> Iterator[Attempt]:
    """A row of REACH, each way by each of the roles that may use the route."""
    for role in roles:
        if access.cells[role] == "yes":
            for way, made in _ways(row, own, other, own.keys[role]):
                cell = row.cells[way]
                if cell == "-" or (row.name == ENDS_THE_TENANT and _is_own(row, way)):
                    continue
                statuses = row.cells["own"] if cell == "own" else cell
                yield Attempt(
                    f"{row.name} as {role}, {way}",
                    made(),
                    frozenset(map(int, statuses.split("/"))),
                    has=own.marks(row.cells["shows"]) if _is_own(row, way) else (),
                    lacks=('"stored":true',) if statuses == "207" else (),
                )


def _is_own(row: Row, way: str) -> bool:
    return way == "own" or row.cells[way] == "own"


def _ways(
    row: Row, own: Side, other: Side, secret: str
) -> Iterator[tuple[str, Callable[[], Request]]]:
    def plain() -> Request:
        return request(row.name, Target(own, secret))

    def naming() -> Request:
        made = plain()
        if row.name == "POST /events/batch":
            return made.having(events=[{**made.body["events"][0], "tenant_id": other.tenant}])
        if row.name == "POST /alerts/rules/backtest":
            return made.having(rule={**made.body["rule"], "tenant_id": other.tenant})
        if row.name == "POST /alerts/templates/{template_id}/materialize":
            return made.having(overrides={"tenant_id": other.tenant})
        if row.name == "POST /events/cloudevents":
            return made.having(tenantid=other.tenant)
        return made.having(tenant_id=other.tenant)

    yield "own", plain
    yield "query", lambda: plain().asking(tenant_id=other.tenant)
    yield "body", naming
    yield "header", lambda: plain().saying(X_Tenant_ID=other.tenant)
    yield "stolen", lambda: request(row.name, Target(own, secret, _stolen(other)))
    yield "guessed", lambda: request(row.name, Target(own, secret, _guessed(own)))


# ---------------------------------------------------------------- what is stolen


def by_theft(theft: Theft, own: Side, other: Side) -> Attempt:
    """A line of THEFTS, by the thief's admin."""
    made = _THEFTS[theft.route, theft.what](own, other).by(own.keys["admin"])
    has: tuple[str, ...] = ()
    if theft.what.endswith("an event of one's own"):
        has = ('"duplicate":false',)
    return Attempt(f"{theft.route}: {theft.what}", made, theft.statuses, has=has)


def _lured(own: Side, other: Side) -> dict[str, object]:
    # Each time another thief may come first, and then the event is its own.
    return own.event(event_id=other.stolen["lure"], source=other.stolen["lure_source"])


def _archive_cursor(other: Side) -> str:
    # As the archive of the other would give it: there may be nothing in it.
    return encode_cursor("2026-11-23T08", "archive", other.tenant, "", "")


def _types_cursor(other: Side) -> str:
    return encode_cursor(f"{other.tenant}#{other.stolen['event_type']}", other.tenant, "types")


def _made_up(position: str, *question: str) -> str:
    """A cursor with a seal that fits: it can be worked out by whoever has read our code."""
    return encode_cursor(position, *question)


def _recent(own: Side) -> tuple[str, ...]:
    """What a cursor of GET /events/recent without filters is bound to."""
    return (own.tenant, *Filters().question())


_NO_FILTERS = repr(AlertFilters(None, None, None, None))
_OWN_SERVICE = "/ops/register"
_THEFTS: dict[tuple[str, str], Callable[[Side, Side], Request]] = {
    ("GET /events/recent", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/events/recent", {"limit": "1", "cursor": other.stolen["recent_cursor"]}
    ),
    ("GET /alerts", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/alerts", {"limit": "1", "cursor": other.stolen["alerts_cursor"]}
    ),
    ("GET /events/recent", "a cursor made up for the other's first event"): (
        lambda own, other: Request(
            "GET", "/events/recent",
            {"cursor": _made_up(f"{other.tenant}#{other.stolen['event_id']}", *_recent(own))},
        )
    ),
    ("GET /events/schema", "a cursor made up for the other's types"): lambda own, other: Request(
        "GET", "/events/schema", {"cursor": _made_up(f"{other.tenant}#", own.tenant, "types")}
    ),
    ("GET /events/archive", "a cursor made up for the other's hours"): lambda own, other: Request(
        "GET", "/events/archive",
        {"cursor": _made_up(f"9999-12-31T23#{other.tenant}", "archive", own.tenant, "", "")},
    ),
    ("GET /identity/keys", "a cursor made up for the other's keys"): lambda own, other: Request(
        "GET", "/identity/keys", {"cursor": _made_up(f"{other.tenant}#", "keys", own.tenant)}
    ),
    ("GET /audit/events", "a cursor made up for the other's records"): lambda own, other: Request(
        "GET", "/audit/events",
        {"cursor": _made_up(f"9999-12-31T23:59:59Z#{other.tenant}", own.tenant, *[""] * 6)},
    ),
    ("GET /alerts", "a cursor made up for the other's open alerts"): lambda own, other: Request(
        "GET", "/alerts",
        {"cursor": _made_up("open:!", "alerts", own.tenant, _NO_FILTERS)},
    ),
    ("GET /events/stream", "a position made up for everybody's arrivals"): (
        lambda own, other: Request(
            "GET", "/events/stream", {"wait": "0", "cursor": _made_up("1.0.0", "stream", "*")}
        )
    ),
    ("GET /alerts/silences/{silence_id}", "a silence of the platform, which mutes the other's too"): (
        lambda own, other: Request("GET", f"/alerts/silences/{own.platform['silence_id']}")
    ),
    ("POST /alerts/evaluate", "a rule of the platform, which counts the other's too"): (
        lambda own, other: Request("POST", "/alerts/evaluate")
    ),
    ("GET /alerts/rules/{rule_id}/explain", "a rule of the platform, which counts the other's too"): (
        lambda own, other: Request("GET", f"/alerts/rules/{own.platform['rule_id']}/explain")
    ),
    ("DELETE /alerts/rules/{rule_id}", "a rule of the platform"): lambda own, other: Request(
        "DELETE", f"/alerts/rules/{own.platform['rule_id']}"
    ),
    ("PATCH /alerts/rules/{rule_id}/enabled", "a rule of the platform"): lambda own, other: Request(
        "PATCH", f"/alerts/rules/{own.platform['rule_id']}/enabled", {"enabled": "false"}
    ),
    ("DELETE /alerts/silences/{silence_id}", "a silence of the platform"): lambda own, other: (
        Request("DELETE", f"/alerts/silences/{own.platform['silence_id']}")
    ),
    ("GET /events/recent", "the other's source as a filter"): lambda own, other: Request(
        "GET", "/events/recent", {"source": other.stolen["source"]}
    ),
    ("GET /events/recent", "the other's event type as a filter"): lambda own, other: Request(
        "GET", "/events/recent", {"event_type": other.stolen["event_type"]}
    ),
    ("GET /events/{event_id}", "the other's event id with its source"): lambda own, other: Request(
        "GET", f"/events/{other.stolen['event_id']}", {"source": other.stolen["source"]}
    ),
    ("GET /events/schema", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/events/schema", {"cursor": _types_cursor(other)}
    ),
    ("GET /events/stream", "the other's position as ?cursor="): lambda own, other: Request(
        "GET", "/events/stream", {"wait": "0", "cursor": other.stolen["position"]}
    ),
    ("GET /events/stream", "the other's position as Last-Event-ID"): lambda own, other: Request(
        "GET", "/events/stream", {"wait": "0"}, headers={"Last-Event-ID": other.stolen["position"]}
    ),
    ("GET /events/stream", "the other's unused ticket beside one's own key"): (
        lambda own, other: Request(
            "GET", "/events/stream", {"wait": "0", "ticket": other.stolen["ticket"]}
        )
    ),
    ("GET /events/archive", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/events/archive", {"cursor": _archive_cursor(other)}
    ),
    ("GET /identity/keys", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/identity/keys", {"cursor": other.stolen["keys_cursor"]}
    ),
    ("GET /audit/events", "the cursor of the other's list"): lambda own, other: Request(
        "GET", "/audit/events", {"limit": "1", "cursor": other.stolen["audit_cursor"]}
    ),
    ("GET /audit/events", "the other's subject as a filter"): lambda own, other: Request(
        "GET", "/audit/events", {"subject": other.stolen["subject"]}
    ),
    ("POST /events/publish", "the other's event id and source: an event of one's own"): (
        lambda own, other: Request("POST", "/events/publish", body=_lured(own, other))
    ),
    ("POST /events/batch", "the other's event id and source: an event of one's own"): (
        lambda own, other: Request(
            "POST", "/events/batch",
            body={"events": [{**_lured(own, other), "source": f"{other.stolen['lure_source']}b"}]},
        )
    ),
    ("POST /events/cloudevents", "the other's event id and source: an event of one's own"): (
        lambda own, other: _cloud_event(
            own, id=other.stolen["lure"], source=f"{other.stolen['lure_source']}c"
        )
    ),
    ("POST /events/publish", "the Idempotency-Key that the other has used"): (
        lambda own, other: Request(
            "POST", "/events/publish", body=own.event(),
            headers={"Idempotency-Key": other.stolen["once"]},
        )
    ),
    ("POST /alerts/rules", "the Idempotency-Key that the other has used"): (
        lambda own, other: Request(
            "POST", "/alerts/rules", body=own.rule(),
            headers={"Idempotency-Key": other.stolen["once"]},
        )
    ),
    ("POST /alerts/rules", "the other's source: a rule that counts nothing of it"): (
        lambda own, other: Request(
            "POST", "/alerts/rules",
            body=own.rule(source=other.stolen["source"], event_type=None, enabled=True),
        )
    ),
    ("POST /ops/register", "the name of the other's service: one of one's own"): (
        lambda own, other: Request(
            "POST", _OWN_SERVICE, body=own.service(other.stolen["service"])
        )
    ),
    ("POST /identity/keys", "a key for both tenants"): lambda own, other: Request(
        "POST", "/identity/keys",
        body={"name": "both", "roles": ["viewer"], "tenants": [own.tenant, other.tenant]},
    ),
    ("POST /identity/keys", "a key for every tenant"): lambda own, other: Request(
        "POST", "/identity/keys",
        body={"name": "all", "roles": ["viewer"], "cross_tenant": True},
    ),
}  # fmt: skip


def everything(own: Side, other: Side) -> Iterator[Attempt]:
    """Every way of REACH, by whoever may do most, and every line of THEFTS."""
    access = {row.name: row for row in rows(ACCESS)}
    for row in rows(REACH):
        yield from by_reach(row, access[row.name], own, other, ("admin",))
    for theft in thefts():
        yield by_theft(theft, own, other)
