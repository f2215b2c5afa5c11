"""Who may do what, and what one sees of another tenant: written by hand from ../shared/CONTRACT.md.

Nothing here comes from the code: not its route table, not its answers. When a test disagrees with this
page, the contract decides which of the two is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

# What a route answers to whom. `yes`: the request is carried out. 401, 403: so much and no more. 404: it
# may ask, and has nothing there: only who may do long work has jobs.
# What a link in a message and a monitor's key are worth stands in the thing itself, whoever brings it: a
# made-up link is 401, and with a monitor's own key anybody may ping.
# - nobody: without a credential; viewer to admin: a key of one tenant with that role
# - service: the registration token of a service, for that service itself
# - stray: a credential that names no tenant at all, with the role of an admin
ACCESS = """
                                              nobody viewer agent operator admin service stray
GET    /                                       yes    yes    yes   yes      yes   yes     yes
GET    /ping                                   yes    yes    yes   yes      yes   yes     yes
GET    /ops/ping                               yes    yes    yes   yes      yes   yes     yes
GET    /health.json                            yes    yes    yes   yes      yes   yes     yes
GET    /openapi.json                           yes    yes    yes   yes      yes   yes     yes
GET    /console/config.json                    yes    yes    yes   yes      yes   yes     yes
POST   /ops/register                           401    403    403   yes      yes   yes     403
POST   /ops/services/{name}/heartbeat          401    403    403   yes      yes   yes     403
GET    /ops/services                           401    403    403   yes      yes   403     403
DELETE /ops/services/{name}                    401    403    403   yes      yes   yes     403
GET    /ops/health                             401    403    403   yes      yes   403     403
GET    /ops/reconciliation                     401    403    403   yes      yes   403     403
GET    /autoheal/ping                          yes    yes    yes   yes      yes   yes     yes
GET    /autoheal/health                        yes    yes    yes   yes      yes   yes     yes
GET    /autoheal/status                        401    yes    yes   yes      yes   403     403
GET    /autoheal/history                       401    yes    yes   yes      yes   403     403
GET    /autoheal/stats                         401    yes    yes   yes      yes   403     403
POST   /autoheal/run                           401    403    403   yes      yes   403     403
PUT    /autoheal/services/{name}/pause         401    403    403   yes      yes   403     403
DELETE /autoheal/services/{name}/pause         401    403    403   yes      yes   403     403
GET    /autoheal/approvals                     401    403    403   yes      yes   403     403
POST   /autoheal/approvals/{approval_id}       401    403    403   yes      yes   403     403
POST   /autoheal/maintenance                   401    403    403   yes      yes   403     403
GET    /autoheal/maintenance                   401    403    403   yes      yes   403     403
GET    /autoheal/maintenance/{window_id}       401    403    403   yes      yes   403     403
PUT    /autoheal/maintenance/{window_id}       401    403    403   yes      yes   403     403
DELETE /autoheal/maintenance/{window_id}       401    403    403   yes      yes   403     403
POST   /events/publish                         401    403    yes   yes      yes   403     403
POST   /events/batch                           401    403    yes   yes      yes   403     403
POST   /events/cloudevents                     401    403    yes   yes      yes   403     403
GET    /events/recent                          401    403    403   yes      yes   403     403
GET    /events/stats                           401    403    403   yes      yes   403     403
GET    /events/schema                          401    403    403   yes      yes   403     403
GET    /events/schema/{event_type}             401    403    403   yes      yes   403     403
PUT    /events/schema/{event_type}             401    403    403   403      yes   403     403
GET    /events/{event_id}                      401    403    403   yes      yes   403     403
GET    /events/stream                          401    403    403   yes      yes   403     403
POST   /events/stream/ticket                   401    403    403   yes      yes   403     403
GET    /events/retention                       401    403    403   yes      yes   403     403
GET    /events/retention/tenants               401    403    403   yes      yes   403     403
PUT    /events/retention/tenants/{tenant}      401    403    403   yes      yes   403     403
DELETE /events/retention/tenants/{tenant}      401    403    403   yes      yes   403     403
POST   /events/prune                           401    403    403   yes      yes   403     403
GET    /events/archive                         401    403    403   yes      yes   403     403
POST   /events/archive/verify                  401    403    403   yes      yes   403     403
POST   /events/archive/restore                 401    403    403   yes      yes   403     403
GET    /jobs/{job_id}                          401    404    404   yes      yes   403     403
POST   /alerts/rules                           401    403    403   yes      yes   403     403
GET    /alerts/rules                           401    403    403   yes      yes   403     403
GET    /alerts/rules/{rule_id}                 401    403    403   yes      yes   403     403
DELETE /alerts/rules/{rule_id}                 401    403    403   yes      yes   403     403
PATCH  /alerts/rules/{rule_id}/enabled         401    403    403   yes      yes   403     403
GET    /alerts/rules/{rule_id}/explain         401    403    403   yes      yes   403     403
POST   /alerts/rules/backtest                  401    403    403   yes      yes   403     403
GET    /alerts/templates                       401    403    403   yes      yes   403     403
GET    /alerts/templates/{template_id}         401    403    403   yes      yes   403     403
POST   /alerts/templates/{template_id}/materialize 401 403   403   yes      yes   403     403
POST   /alerts/evaluate                        401    403    403   yes      yes   403     403
GET    /alerts                                 401    403    403   yes      yes   403     403
GET    /alerts/{alert_id}                      401    403    403   yes      yes   403     403
POST   /alerts/{alert_id}/ack                  401    403    403   yes      yes   403     403
DELETE /alerts/{alert_id}/ack                  401    403    403   yes      yes   403     403
POST   /alerts/silences                        401    403    403   yes      yes   403     403
POST   /alerts/silences/preview                401    403    403   yes      yes   403     403
GET    /alerts/silences                        401    403    403   yes      yes   403     403
GET    /alerts/silences/{silence_id}           401    403    403   yes      yes   403     403
PUT    /alerts/silences/{silence_id}           401    403    403   yes      yes   403     403
DELETE /alerts/silences/{silence_id}           401    403    403   yes      yes   403     403
GET    /alerts/act                             401    403    403   401      401   403     403
POST   /alerts/act                             401    403    403   401      401   403     403
POST   /notifications/endpoints                401    403    403   yes      yes   403     403
GET    /notifications/endpoints                401    403    403   yes      yes   403     403
GET    /notifications/endpoints/{endpoint_id}  401    403    403   yes      yes   403     403
PUT    /notifications/endpoints/{endpoint_id}  401    403    403   yes      yes   403     403
DELETE /notifications/endpoints/{endpoint_id}  401    403    403   yes      yes   403     403
POST   /notifications/endpoints/{endpoint_id}/enable 401    403    403   yes      yes   403     403
POST   /notifications/endpoints/{endpoint_id}/test 401    403    403   yes      yes   403     403
POST   /notifications/endpoints/{endpoint_id}/rotate-secret 401    403    403   yes      yes   403     403
GET    /notifications/deliveries               401    403    403   yes      yes   403     403
GET    /notifications/deliveries/stats         401    403    403   yes      yes   403     403
POST   /notifications/deliveries/replay        401    403    403   yes      yes   403     403
GET    /notifications/deliveries/{delivery_id} 401    403    403   yes      yes   403     403
POST   /notifications/deliveries/{delivery_id}/replay 401    403    403   yes      yes   403     403
GET    /notifications/rules                    401    403    403   yes      yes   403     403
PUT    /notifications/rules                    401    403    403   yes      yes   403     403
POST   /notifications/test                     401    403    403   yes      yes   403     403
DELETE /notifications/rules                    401    403    403   yes      yes   403     403
POST   /ingest/alertmanager                    401    403    yes   yes      yes   403     403
POST   /ingest/pagerduty/v2/enqueue            401    403    yes   yes      yes   403     403
POST   /ingest/monitors                        401    403    403   yes      yes   403     403
GET    /ingest/monitors                        401    403    403   yes      yes   403     403
GET    /ingest/monitors/{monitor_id}           401    403    403   yes      yes   403     403
PUT    /ingest/monitors/{monitor_id}           401    403    403   yes      yes   403     403
DELETE /ingest/monitors/{monitor_id}           401    403    403   yes      yes   403     403
GET    /ingest/ping/{key}                      yes    yes    yes   yes      yes   yes     yes
POST   /ingest/ping/{key}                      yes    yes    yes   yes      yes   yes     yes
GET    /ingest/ping/{key}/{word}               yes    yes    yes   yes      yes   yes     yes
POST   /ingest/ping/{key}/{word}               yes    yes    yes   yes      yes   yes     yes
GET    /ai/ping                                yes    yes    yes   yes      yes   yes     yes
GET    /ai/health                              yes    yes    yes   yes      yes   yes     yes
GET    /ai/usage                               401    403    403   yes      yes   403     403
GET    /providers/health                       401    yes    yes   yes      yes   403     403
POST   /providers/{name}/reset                 401    403    403   yes      yes   403     403
POST   /orchestrate                            401    403    yes   yes      yes   403     403
POST   /summaries/extract-lead                 401    403    yes   yes      yes   403     403
POST   /v1/chat/completions                    401    403    yes   yes      yes   403     403
GET    /v1/models                              401    403    yes   yes      yes   403     403
GET    /identity/me                            401    yes    yes   yes      yes   yes     403
POST   /identity/keys                          401    403    403   403      yes   403     403
GET    /identity/keys                          401    403    403   403      yes   403     403
GET    /identity/keys/{key_id}                 401    403    403   403      yes   403     403
DELETE /identity/keys/{key_id}                 401    403    403   403      yes   403     403
POST   /identity/keys/{key_id}/rotate          401    403    403   403      yes   403     403
GET    /tenants                                401    403    403   yes      yes   403     403
GET    /tenants/{tenant_id}                    401    403    403   yes      yes   403     403
PUT    /tenants/{tenant_id}                    401    403    403   403      yes   403     403
DELETE /tenants/{tenant_id}                    401    403    403   403      yes   403     403
GET    /audit/stats                            401    403    403   yes      yes   403     403
GET    /audit/stats?service=ai-orchestrator    401    403    yes   yes      yes   403     403
GET    /audit/events                           401    403    403   403      yes   403     403
GET    /audit/verify                           401    403    403   403      yes   403     403
"""

# What one of a single tenant gets, by how it reaches. `own`: exactly what it gets of its own tenant, the
# foreign name being ignored. Numbers: that status (of a batch, 207 with a refusal inside). `-`: there is no
# such way.
# - own: it names nobody
# - query: ?tenant_id=<other>; body: the body's tenant_id (CloudEvents: tenantid) is the other's
# - header: X-Tenant-ID: <other>
# - stolen: an id of the other's in the path; guessed: one that nobody has
# - shows: a mark of the tenant's own that the answer must hold: its canary (a text that stands in whatever
#   it has stored), its name, the name of its event type; -, the answer shows nothing stored
REACH = """
                                              own  query body header stolen guessed shows
GET    /                                      200  own   -    own    -      -       -
GET    /ping                                  200  own   -    own    -      -       -
GET    /ops/ping                              200  own   -    own    -      -       -
GET    /health.json                           200  own   -    own    -      -       -
GET    /openapi.json                          200  own   -    own    -      -       -
GET    /console/config.json                   200  own   -    own    -      -       -
POST   /ops/register                          200  own   403  own    -      -       -
POST   /ops/services/{name}/heartbeat         200  403   -    own    404    404     -
GET    /ops/services                          200  403   -    own    -      -       canary
DELETE /ops/services/{name}                   200  403   -    own    404    404     -
GET    /ops/health                            200  403   -    own    -      -       canary
GET    /ops/reconciliation                    200  403   -    own    -      -       service
GET    /autoheal/ping                         200  own   -    own    -      -       -
GET    /autoheal/health                       200  own   -    own    -      -       -
GET    /autoheal/status                       200  403   -    own    -      -       service
GET    /autoheal/history                      200  403   -    own    -      -       -
GET    /autoheal/stats                        200  403   -    own    -      -       -
POST   /autoheal/run                          200  403   -    own    -      -       service
PUT    /autoheal/services/{name}/pause        200  own   403  own    404    404     -
DELETE /autoheal/services/{name}/pause        200  403   -    own    404    404     -
GET    /autoheal/approvals                    200  403   -    own    -      -       canary
POST   /autoheal/approvals/{approval_id}      200  own   -    own    404    404     canary
POST   /autoheal/maintenance                  200  own   403  own    -      -       canary
GET    /autoheal/maintenance                  200  403   -    own    -      -       canary
GET    /autoheal/maintenance/{window_id}      200  own   -    own    404    404     canary
PUT    /autoheal/maintenance/{window_id}      200  own   400  own    404    404     canary
DELETE /autoheal/maintenance/{window_id}      200  own   -    own    404    404     -
POST   /events/publish                        200  own   403  own    -      -       -
POST   /events/batch                          200  own   207  own    -      -       -
POST   /events/cloudevents                    202  own   403  own    -      -       -
GET    /events/recent                         200  403   -    own    -      -       canary
GET    /events/stats                          200  403   -    own    -      -       event_type
GET    /events/schema                         200  403   -    own    -      -       canary
GET    /events/schema/{event_type}            200  403   -    own    404    404     canary
PUT    /events/schema/{event_type}            200  403   -    own    -      -       canary
GET    /events/{event_id}                     200  403   -    own    404    404     canary
GET    /events/stream                         200  403   -    own    -      -       canary
POST   /events/stream/ticket                  200  own   own  own    -      -       -
GET    /events/retention                      200  own   -    own    -      -       -
GET    /events/retention/tenants              200  own   -    own    -      -       tenant
PUT    /events/retention/tenants/{tenant}     200  own   -    own    403    403     -
DELETE /events/retention/tenants/{tenant}     200  own   -    own    403    403     -
POST   /events/prune                          200  403   own  own    -      -       -
GET    /events/archive                        200  403   -    own    -      -       -
POST   /events/archive/verify                 202  own   403  own    -      -       -
POST   /events/archive/restore                202  own   403  own    -      -       -
GET    /jobs/{job_id}                         200  own   -    own    404    404     -
POST   /alerts/rules                          200  own   403  own    -      -       -
GET    /alerts/rules                          200  403   -    own    -      -       canary
GET    /alerts/rules/{rule_id}                200  own   -    own    404    404     canary
DELETE /alerts/rules/{rule_id}                200  own   -    own    404    404     -
PATCH  /alerts/rules/{rule_id}/enabled        200  own   -    own    404    404     -
GET    /alerts/rules/{rule_id}/explain        200  own   -    own    404    404     canary
POST   /alerts/rules/backtest                 200  own   403  own    -      -       -
GET    /alerts/templates                      200  own   -    own    -      -       -
GET    /alerts/templates/{template_id}        200  own   -    own    -      404     -
POST   /alerts/templates/{template_id}/materialize 200 own 403 own   -      404     -
POST   /alerts/evaluate                       200  own   own  own    -      -       -
GET    /alerts                                200  403   -    own    -      -       canary
GET    /alerts/{alert_id}                     200  own   -    own    404    404     canary
POST   /alerts/{alert_id}/ack                 200  own   -    own    404    404     canary
DELETE /alerts/{alert_id}/ack                 200  own   -    own    404    404     canary
POST   /alerts/silences                       200  own   403  own    -      -       canary
POST   /alerts/silences/preview               200  own   403  own    -      -       -
GET    /alerts/silences                       200  403   -    own    -      -       canary
GET    /alerts/silences/{silence_id}          200  own   -    own    404    404     canary
PUT    /alerts/silences/{silence_id}          200  own   -    own    404    404     canary
DELETE /alerts/silences/{silence_id}          200  own   -    own    404    404     -
GET    /alerts/act                            401  -    -    -      -       -       -
POST   /alerts/act                            401  -    -    -      -       -       -
POST   /notifications/endpoints               200  own   403  own    -      -       -
GET    /notifications/endpoints               200  403   -    own    -      -       canary
GET    /notifications/endpoints/{endpoint_id} 200  own   -    own    404    404     canary
PUT    /notifications/endpoints/{endpoint_id} 200  own   400  own    404    404     canary
DELETE /notifications/endpoints/{endpoint_id} 200  own   -    own    404    404     -
POST   /notifications/endpoints/{endpoint_id}/enable 200  own   -    own    404    404     canary
POST   /notifications/endpoints/{endpoint_id}/test 202  own   -    own    404    404     -
POST   /notifications/endpoints/{endpoint_id}/rotate-secret 200  own   -    own    404    404     -
GET    /notifications/deliveries              200  403   -    own    -      -       delivery_id
GET    /notifications/deliveries/stats        200  403   -    own    -      -       endpoint_id
POST   /notifications/deliveries/replay       200  own   403  own    -      -       -
GET    /notifications/deliveries/{delivery_id} 200  own   -    own    404    404     canary
POST   /notifications/deliveries/{delivery_id}/replay 202  own   -    own    404    404     -
GET    /notifications/rules                   200  403   -    own    -      -       canary
PUT    /notifications/rules                   200  403   -    own    -      -       canary
POST   /notifications/test                    200  own   403  own    -      -       -
DELETE /notifications/rules                   200  403   -    own    -      -       -
POST   /ingest/alertmanager                   200  403   -    own    -      -       -
POST   /ingest/pagerduty/v2/enqueue           202  403   -    own    -      -       -
POST   /ingest/monitors                       200  own   403  own    -      -       -
GET    /ingest/monitors                       200  403   -    own    -      -       canary
GET    /ingest/monitors/{monitor_id}          200  own   -    own    404    404     canary
PUT    /ingest/monitors/{monitor_id}          200  own   400  own    404    404     canary
DELETE /ingest/monitors/{monitor_id}          200  own   -    own    404    404     -
GET    /ingest/ping/{key}                     200  own   -    own    -      404     -
POST   /ingest/ping/{key}                     200  own   -    own    -      404     -
GET    /ingest/ping/{key}/{word}              200  own   -    own    -      404     -
POST   /ingest/ping/{key}/{word}              200  own   -    own    -      404     -
GET    /ai/ping                               200  own   -    own    -      -       -
GET    /ai/health                             200  own   -    own    -      -       -
GET    /ai/usage                              200  403   -    own    -      -       tenant
GET    /providers/health                      200  own   -    own    -      -       -
POST   /providers/{name}/reset                200  own   -    own    -      404     -
POST   /orchestrate                           200  own   403  own    -      -       canary
POST   /summaries/extract-lead                200  own   403  own    -      -       canary
POST   /v1/chat/completions                   200  own   -    own    -      -       -
GET    /v1/models                             200  own   -    own    -      -       -
GET    /identity/me                           200  own   -    own    -      -       tenant
POST   /identity/keys                         200  own   403  own    -      -       canary
GET    /identity/keys                         200  403   -    own    -      -       canary
GET    /identity/keys/{key_id}                200  own   -    own    404    404     canary
DELETE /identity/keys/{key_id}                200  own   -    own    404    404     -
POST   /identity/keys/{key_id}/rotate         200  own   -    own    404    404     -
GET    /tenants                               200  own   -    own    -      -       canary
GET    /tenants/{tenant_id}                   200  own   -    own    404    404     canary
PUT    /tenants/{tenant_id}                   200  own   -    own    403    403     canary
DELETE /tenants/{tenant_id}                   202  own   -    own    403    403     -
GET    /audit/stats                           200  403   -    own    -      -       -
GET    /audit/stats?service=ai-orchestrator   200  403   -    own    -      -       -
GET    /audit/events                          200  403   -    own    -      -       canary
GET    /audit/verify                          200  403   -    own    -      -       -"""

# What is not in a path: cursors, positions, ids in bodies, names in filters. Each is tried by a tenant with
# what it has got hold of from another one, or has made up: a cursor's seal is no signature.
THEFTS = """
GET    /events/recent            the cursor of the other's list                            400
GET    /events/recent            the other's source as a filter                            200
GET    /events/recent            the other's event type as a filter                        200
GET    /events/{event_id}        the other's event id with its source                      404
GET    /events/schema            the cursor of the other's list                            400
GET    /events/stream            the other's position as ?cursor=                          400
GET    /events/stream            the other's position as Last-Event-ID                     400
GET    /events/stream            the other's unused ticket beside one's own key            200
GET    /events/archive           the cursor of the other's list                            400
GET    /identity/keys            the cursor of the other's list                            400
GET    /audit/events             the cursor of the other's list                            400
GET    /alerts                   the cursor of the other's list                            400
GET    /events/recent            a cursor made up for the other's first event              200/400
GET    /events/schema            a cursor made up for the other's types                    200/400
GET    /events/archive           a cursor made up for the other's hours                    200/400
GET    /identity/keys            a cursor made up for the other's keys                     200/400
GET    /audit/events             a cursor made up for the other's records                  200/400
GET    /alerts                   a cursor made up for the other's open alerts              200/400
GET    /events/stream            a position made up for everybody's arrivals               200/400
GET    /alerts/silences/{silence_id}  a silence of the platform, which mutes the other's too  200
POST   /alerts/evaluate          a rule of the platform, which counts the other's too      200
GET    /alerts/rules/{rule_id}/explain  a rule of the platform, which counts the other's too  403
DELETE /alerts/rules/{rule_id}   a rule of the platform                                    403
PATCH  /alerts/rules/{rule_id}/enabled  a rule of the platform                             403
DELETE /alerts/silences/{silence_id}  a silence of the platform                            403/404
GET    /audit/events             the other's subject as a filter                           200
POST   /events/publish           the other's event id and source: an event of one's own    200
POST   /events/batch             the other's event id and source: an event of one's own    200
POST   /events/cloudevents       the other's event id and source: an event of one's own    202
POST   /events/publish           the Idempotency-Key that the other has used               200
POST   /alerts/rules             the Idempotency-Key that the other has used               200
POST   /alerts/rules             the other's source: a rule that counts nothing of it      200
POST   /ops/register             the name of the other's service: one of one's own         200
POST   /identity/keys            a key for both tenants                                    403
POST   /identity/keys            a key for every tenant                                    403
"""

# Of the contract and not built yet: they come with later issues.
PENDING = frozenset(
    {
        ("GET", "/summaries/lead/{id}"),
        ("POST", "/leads"),
        ("GET", "/leads"),
        ("GET", "/leads/{id}"),
        ("PATCH", "/leads/{id}"),
        ("POST", "/leads/{id}/notes"),
        ("GET", "/leads/{id}/notes"),
        ("GET", "/leads/{id}/activity"),
        ("POST", "/leads/imports"),
        ("GET", "/leads/export"),
        ("DELETE", "/leads/{id}/person"),
        ("GET", "/owners"),
    }
)

NOBODY, SERVICE, STRAY = "nobody", "service", "stray"
ROLES = ("viewer", "agent", "operator", "admin")


@dataclass(frozen=True)
class Row:
    """A route, and one cell for each column of a table."""

    method: str
    template: str
    cells: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def route(self) -> tuple[str, str]:
        return self.method, self.template.partition("?")[0]


@dataclass(frozen=True)
class Theft:
    """A way to use what was stolen, and the statuses that it may get; never a word of the other's."""

    route: str
    what: str
    statuses: frozenset[int]


def rows(table: str) -> list[Row]:
    head, *lines = table.strip().splitlines()
    columns = head.split()
    found = []
    for line in lines:
        method, template, *cells = line.split()
        found.append(Row(method, template, dict(zip(columns, cells, strict=True))))
    return found


def thefts() -> list[Theft]:
    found = []
    for line in THEFTS.strip().splitlines():
        method, template, *words, cell = line.split()
        statuses = frozenset(map(int, cell.split("/")))
        found.append(Theft(f"{method} {template}", " ".join(words), statuses))
    return found
