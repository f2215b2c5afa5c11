"""The one table of routes and the roles that may use them. What is not in it is refused.

The HTTP edge decides by it, the OpenAPI document shows it, and the contract tests compare it with
the template. Paths are API Gateway's resource templates.
"""

from __future__ import annotations

from typing import Final, NoReturn

from aetherlink.kernel.errors import MethodNotAllowedError, NotFoundError
from aetherlink.kernel.tenancy import Role

Roles = tuple[Role, ...]

OPEN: Final[Roles] = ()
OPS: Final[Roles] = (Role.OPERATOR, Role.ADMIN)
ADMIN: Final[Roles] = (Role.ADMIN,)
ANYONE: Final[Roles] = (Role.VIEWER, Role.AGENT, Role.OPERATOR, Role.ADMIN)
PUBLISHERS: Final[Roles] = (Role.AGENT, Role.OPERATOR, Role.ADMIN)
# And the service itself, by its registration token.
OPS_OR_SELF: Final[Roles] = (*OPS, Role.SERVICE)
# A monitor, by the key in its own path; its function makes such callers of nothing else.
MONITOR: Final[Roles] = (Role.SERVICE,)

ROUTES: Final[dict[tuple[str, str], Roles]] = {
    ("GET", "/"): OPEN,
    ("GET", "/ping"): OPEN,
    ("GET", "/ops/ping"): OPEN,
    ("GET", "/health.json"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("POST", "/ops/register"): OPS_OR_SELF,
    ("POST", "/ops/services/{name}/heartbeat"): OPS_OR_SELF,
    ("GET", "/ops/services"): OPS,
    ("DELETE", "/ops/services/{name}"): OPS_OR_SELF,
    ("GET", "/ops/health"): OPS,
    ("GET", "/ops/reconciliation"): OPS,
    ("GET", "/autoheal/ping"): OPEN,
    ("GET", "/autoheal/health"): OPEN,
    ("GET", "/autoheal/status"): ANYONE,
    ("GET", "/autoheal/history"): ANYONE,
    ("GET", "/autoheal/stats"): ANYONE,
    ("POST", "/autoheal/run"): OPS,
    ("PUT", "/autoheal/services/{name}/pause"): OPS,
    ("DELETE", "/autoheal/services/{name}/pause"): OPS,
    ("GET", "/autoheal/approvals"): OPS,
    ("POST", "/autoheal/approvals/{approval_id}"): OPS,
    ("POST", "/autoheal/maintenance"): OPS,
    ("GET", "/autoheal/maintenance"): OPS,
    ("GET", "/autoheal/maintenance/{window_id}"): OPS,
    ("PUT", "/autoheal/maintenance/{window_id}"): OPS,
    ("DELETE", "/autoheal/maintenance/{window_id}"): OPS,
    ("POST", "/events/publish"): PUBLISHERS,
    ("POST", "/events/batch"): PUBLISHERS,
    ("POST", "/events/cloudevents"): PUBLISHERS,
    ("GET", "/events/recent"): OPS,
    ("GET", "/events/stats"): OPS,
    ("GET", "/events/schema"): OPS,
    ("GET", "/events/schema/{event_type}"): OPS,
    ("PUT", "/events/schema/{event_type}"): ADMIN,
    ("GET", "/events/{event_id}"): OPS,
    # Who may follow the stream, by header or by ticket; the ticket is checked in its own function.
    ("GET", "/events/stream"): OPS,
    ("POST", "/events/stream/ticket"): OPS,
    ("GET", "/events/retention"): OPS,
    ("GET", "/events/retention/tenants"): OPS,
    ("PUT", "/events/retention/tenants/{tenant}"): OPS,
    ("DELETE", "/events/retention/tenants/{tenant}"): OPS,
    ("POST", "/events/prune"): OPS,
    ("GET", "/events/archive"): OPS,
    ("POST", "/events/archive/verify"): OPS,
    ("POST", "/events/archive/restore"): OPS,
    ("GET", "/jobs/{job_id}"): ANYONE,
    ("POST", "/alerts/rules"): OPS,
    ("GET", "/alerts/rules"): OPS,
    ("GET", "/alerts/rules/{rule_id}"): OPS,
    ("DELETE", "/alerts/rules/{rule_id}"): OPS,
    ("PATCH", "/alerts/rules/{rule_id}/enabled"): OPS,
    ("POST", "/alerts/evaluate"): OPS,
    ("GET", "/alerts/rules/{rule_id}/explain"): OPS,
    ("POST", "/alerts/rules/backtest"): OPS,
    ("GET", "/alerts/templates"): OPS,
    ("GET", "/alerts/templates/{template_id}"): OPS,
    ("POST", "/alerts/templates/{template_id}/materialize"): OPS,
    ("GET", "/alerts"): OPS,
    ("GET", "/alerts/{alert_id}"): OPS,
    ("POST", "/alerts/{alert_id}/ack"): OPS,
    ("DELETE", "/alerts/{alert_id}/ack"): OPS,
    ("POST", "/alerts/silences"): OPS,
    ("POST", "/alerts/silences/preview"): OPS,
    ("GET", "/alerts/silences"): OPS,
    ("GET", "/alerts/silences/{silence_id}"): OPS,
    ("PUT", "/alerts/silences/{silence_id}"): OPS,
    ("DELETE", "/alerts/silences/{silence_id}"): OPS,
    ("POST", "/notifications/endpoints"): OPS,
    ("GET", "/notifications/endpoints"): OPS,
    ("GET", "/notifications/endpoints/{endpoint_id}"): OPS,
    ("PUT", "/notifications/endpoints/{endpoint_id}"): OPS,
    ("DELETE", "/notifications/endpoints/{endpoint_id}"): OPS,
    ("POST", "/notifications/endpoints/{endpoint_id}/enable"): OPS,
    ("POST", "/notifications/endpoints/{endpoint_id}/test"): OPS,
    ("POST", "/notifications/endpoints/{endpoint_id}/rotate-secret"): OPS,
    ("GET", "/notifications/deliveries"): OPS,
    ("GET", "/notifications/deliveries/stats"): OPS,
    ("POST", "/notifications/deliveries/replay"): OPS,
    ("GET", "/notifications/deliveries/{delivery_id}"): OPS,
    ("POST", "/notifications/deliveries/{delivery_id}/replay"): OPS,
    # By a link in a message alone: its ticket is checked in its own function, and buys nothing else.
    ("GET", "/alerts/act"): OPS,
    ("POST", "/alerts/act"): OPS,
    ("GET", "/notifications/rules"): OPS,
    ("PUT", "/notifications/rules"): OPS,
    ("DELETE", "/notifications/rules"): OPS,
    ("POST", "/notifications/test"): OPS,
    ("POST", "/ingest/alertmanager"): PUBLISHERS,
    ("POST", "/ingest/pagerduty/v2/enqueue"): PUBLISHERS,
    ("POST", "/ingest/monitors"): OPS,
    ("GET", "/ingest/monitors"): OPS,
    ("GET", "/ingest/monitors/{monitor_id}"): OPS,
    ("PUT", "/ingest/monitors/{monitor_id}"): OPS,
    ("DELETE", "/ingest/monitors/{monitor_id}"): OPS,
    ("GET", "/ingest/ping/{key}"): MONITOR,
    ("POST", "/ingest/ping/{key}"): MONITOR,
    ("GET", "/ingest/ping/{key}/{word}"): MONITOR,
    ("POST", "/ingest/ping/{key}/{word}"): MONITOR,
    ("GET", "/ai/ping"): OPEN,
    ("GET", "/ai/health"): OPEN,
    ("GET", "/ai/usage"): OPS,
    ("GET", "/providers/health"): ANYONE,
    ("POST", "/providers/{name}/reset"): OPS,
    ("POST", "/orchestrate"): PUBLISHERS,
    ("POST", "/summaries/extract-lead"): PUBLISHERS,
    ("POST", "/v1/chat/completions"): PUBLISHERS,
    ("GET", "/v1/models"): PUBLISHERS,
    ("GET", "/identity/me"): (*ANYONE, Role.SERVICE),
    ("POST", "/identity/keys"): ADMIN,
    ("GET", "/identity/keys"): ADMIN,
    ("GET", "/identity/keys/{key_id}"): ADMIN,
    ("DELETE", "/identity/keys/{key_id}"): ADMIN,
    ("POST", "/identity/keys/{key_id}/rotate"): ADMIN,
    ("GET", "/tenants"): OPS,
    ("GET", "/tenants/{tenant_id}"): OPS,
    ("PUT", "/tenants/{tenant_id}"): ADMIN,
    ("DELETE", "/tenants/{tenant_id}"): ADMIN,
    # An agent sees the orchestrator's alone (contract, Audit); the service says so.
    ("GET", "/audit/stats"): PUBLISHERS,
    ("GET", "/audit/events"): ADMIN,
    ("GET", "/audit/verify"): ADMIN,
    ("GET", "/console/config.json"): OPEN,
}

# Routes whose method says "change" though nothing changes, or though the change is a record itself:
# an event carries who published it, from where and under which trace, and cannot be altered. For
# these nothing is appended to the audit, unless they are denied.
NOT_AUDITED: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("POST", "/events/publish"),
        ("POST", "/events/batch"),
        ("POST", "/events/cloudevents"),
        ("POST", "/alerts/evaluate"),
        ("POST", "/alerts/silences/preview"),
        ("POST", "/alerts/rules/backtest"),
        ("POST", "/ops/services/{name}/heartbeat"),
        # What they say becomes events and episodes.
        ("POST", "/ingest/alertmanager"),
        ("POST", "/ingest/pagerduty/v2/enqueue"),
        ("POST", "/ingest/ping/{key}"),
        ("POST", "/ingest/ping/{key}/{word}"),
        # Each leaves an event that names who asked, whom, and what it cost.
        ("POST", "/orchestrate"),
        ("POST", "/summaries/extract-lead"),
        ("POST", "/v1/chat/completions"),
        # It shows what a rule would say, and sends nothing.
        ("POST", "/notifications/test"),
    }
)

# Routes that take an Idempotency-Key and then run once for it: what they do twice would be there
# twice. The others that POST need none:
# - publish and batch derive the event's id from the key, at no further call (events/keyed.py);
#   CloudEvents always bring an id of their own
# - a heartbeat renews, an acknowledgement is one, a judgement by hand and a preview look: doing it
#   again does no more; so does switching an endpoint on, and what a link in a message does
# - what other systems say names its incident (ingest/incident.py), and a ping counts as one more
# - a run of the healer heals nothing twice, and an approval is decided once
# - a question put twice is answered twice, which changes nothing; who would rather not pay twice has
#   the tenant's limits.ai_cache_seconds. A breaker that is closed stays so
# - a stream's ticket is a secret that is not kept, so a repeated answer would be worth nothing
CREATES: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        # An upsert, but each announces itself, and the first one shows the registration token.
        ("POST", "/ops/register"),
        ("POST", "/alerts/rules"),
        ("POST", "/alerts/silences"),
        ("POST", "/alerts/templates/{template_id}/materialize"),
        # It may start a job.
        ("POST", "/alerts/rules/backtest"),
        # Another prune finds nothing more, but it may start a job and would report less.
        ("POST", "/events/prune"),
        ("POST", "/events/archive/verify"),
        ("POST", "/events/archive/restore"),
        ("POST", "/identity/keys"),
        ("POST", "/identity/keys/{key_id}/rotate"),
        ("POST", "/notifications/endpoints"),
        ("POST", "/notifications/endpoints/{endpoint_id}/test"),
        ("POST", "/notifications/endpoints/{endpoint_id}/rotate-secret"),
        ("POST", "/notifications/deliveries/replay"),
        ("POST", "/notifications/deliveries/{delivery_id}/replay"),
        ("POST", "/ingest/monitors"),
        ("POST", "/autoheal/maintenance"),
    }
)
# These take the header too, in their own way.
NAMES_EVENTS: Final[frozenset[tuple[str, str]]] = frozenset(
    {("POST", "/events/publish"), ("POST", "/events/batch")}
)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_change(method: str, template: str) -> bool:
    """Whether a request to this route leaves an audit record when it is admitted."""
    return method not in _SAFE_METHODS and (method, template) not in NOT_AUDITED


def methods_of(path: str) -> tuple[str, ...]:
    """The methods that a concrete path answers to; empty if there is no such path.

    A literal segment wins over a parameter, as it does at API Gateway: `/events/recent` is not an
    event id.
    """
    wanted = path.strip("/").split("/")
    fits: dict[str, list[str]] = {}
    for method, template in ROUTES:
        if _fits(template.strip("/").split("/"), wanted):
            fits.setdefault(template, []).append(method)
    if not fits:
        return ()
    best = min(fits, key=lambda template: template.count("{"))
    return tuple(sorted(fits[best]))


def no_such_route(method: str, path: str) -> NoReturn:
    """Raises the error for a request that no route takes: 405 for a known path, else 404."""
    allowed = methods_of(path)
    if allowed and method not in allowed:
        raise MethodNotAllowedError(
            f"{path} does not take {method}; it takes {', '.join(allowed)}", allowed
        )
    raise NotFoundError(f"There is no {path}; GET /openapi.json lists every path")


def _fits(template: list[str], path: list[str]) -> bool:
    return len(template) == len(path) and all(
        (part.startswith("{") and given != "") or part == given
        for part, given in zip(template, path, strict=True)
    )
