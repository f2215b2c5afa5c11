"""What no answer lacks and no request gets through: headers, CORS, limits, and a fuzz of every route."""

from __future__ import annotations

import base64
import importlib
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherlink.kernel.access import ROUTES, methods_of
from aetherlink.platform import http
from aetherlink.platform.config import config
from tests.component.conftest import Answer, Context, Stack

FRIEND = "https://console.example"
STRANGER = "https://evil.example"
SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Pairs = list[tuple[str, str]]


def send(
    stack: Stack,
    method: str,
    path: str,
    *,
    headers: Pairs | None = None,
    query: Pairs | None = None,
    raw: str | None = None,
    is_base64: bool = False,
    roles: str | None = "admin",
) -> tuple[Answer, str]:
    """A request as the gateway hands it on, where names may come twice; and the body's own text."""
    given = [*(headers or []), *([("X-User-Roles", roles)] if roles else [])]
    resource, parameters = stack._resource(method, path)
    event = {
        "resource": resource,
        # As under an emulator's long prefix: nothing may be read from it.
        "path": f"/restapis/abc/local/_user_request_{path}",
        "httpMethod": method,
        "headers": dict(given),
        "multiValueHeaders": _lists(given),
        "queryStringParameters": dict(query or []) or None,
        "multiValueQueryStringParameters": _lists(query or []) or None,
        "pathParameters": parameters,
        "requestContext": {
            "requestId": "req-1",
            "path": f"/local{path}",
            "stage": "local",
            "identity": {"sourceIp": "203.0.113.7"},
        },
        "body": raw,
        "isBase64Encoded": is_base64,
    }
    answer = stack.handler(method, resource)(event, Context())
    shown = {n: ", ".join(v) for n, v in answer["multiValueHeaders"].items()}
    text = answer.get("body") or ""
    is_json = "json" in shown.get("Content-Type", "")
    body = json.loads(text) if text and is_json else text
    return Answer(answer["statusCode"], shown, body), text


def _lists(pairs: Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


# ---- security headers


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("GET", "/ping", None),
        ("GET", "/events/recent", "operator"),
        ("GET", "/events/recent", None),
        ("GET", "/events/recent", "viewer"),
        ("GET", "/events/absent", "operator"),
        ("POST", "/events/publish", "operator"),
        ("DELETE", "/ping", None),
        ("GET", "/nowhere", None),
        ("OPTIONS", "/ping", None),
        ("HEAD", "/ping", None),
    ],
)
def test_every_answer_carries_the_security_headers(
    stack: Stack, method: str, path: str, roles: str | None
) -> None:
    answer, _ = send(stack, method, path, roles=roles)

    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY


def test_a_bug_is_answered_with_the_security_headers_too(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    monkeypatch.setattr(registry, "catalogue", lambda *_: 1 / 0)

    answer, text = send(stack, "GET", "/ops/services")

    assert answer.status == 500
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert "division" not in text


def test_transport_security_is_asked_for_wherever_there_is_tls(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Strict-Transport-Security" not in send(stack, "GET", "/ping")[0].headers

    deployed = config().model_copy(update={"stage": "prod", "auth_mode": "token"})
    monkeypatch.setattr(http, "config", lambda: deployed)

    for path in ("/ping", "/events/recent"):
        answer, _ = send(stack, "GET", path)
        assert answer.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


def test_a_stranger_is_told_both_ways_to_say_who_it_is(stack: Stack) -> None:
    answer, _ = send(stack, "GET", "/events/recent", roles=None)

    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="aetherlink", ApiKey realm="aetherlink"'
    )


def test_no_answer_says_what_it_was_made_with(stack: Stack) -> None:
    for path in ("/ping", "/events/recent", "/nowhere"):
        assert not {"server", "x-powered-by", "via"} & {
            name.lower() for name in send(stack, "GET", path)[0].headers
        }


# ---- CORS


def _preflight(stack: Stack, path: str, origin: str, method: str = "GET") -> Answer:
    headers = [("Origin", origin), ("Access-Control-Request-Method", method)]
    return send(stack, "OPTIONS", path, headers=headers, roles=None)[0]


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
def test_a_preflight_names_the_methods_of_each_path(stack: Stack, path: str) -> None:
    concrete = path.replace("{", "").replace("}", "")
    answer = _preflight(stack, concrete, FRIEND)

    assert answer.status == 204
    assert answer.body == ""
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
    assert answer.headers["Access-Control-Allow-Methods"] == ", ".join(methods_of(concrete))
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    taken = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert taken == {
        "Authorization", "X-Api-Key", "Content-Type", "X-Tenant-ID", "Idempotency-Key", "If-Match",
        "Last-Event-ID", "traceparent", "X-User-Roles",
    }  # fmt: skip


def test_a_preflight_offers_the_development_header_in_development_mode_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config().model_copy(update={"auth_mode": "token"})
    monkeypatch.setattr(http, "config", lambda: settings)

    answer = _preflight(stack, "/events/recent", FRIEND)

    assert "X-User-Roles" not in answer.headers["Access-Control-Allow-Headers"]


FOREIGN = [
    STRANGER,
    "null",
    "",
    "https://console.example.evil.example",
    "https://console.example:8443",
    "http://console.example",
    "https://CONSOLE.example",
    "https://console.example/",
    " https://console.example",
    "https://console.example,https://evil.example",
    "*",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_preflight_of_a_foreign_page_is_403(stack: Stack, origin: str) -> None:
    answer = _preflight(stack, "/events/recent", origin)

    assert (answer.status, answer.headers["Vary"]) == (403, "Origin")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", ["/ping", "/events/recent", "/nowhere"])
def test_a_foreign_page_cannot_read_what_it_asked_for(stack: Stack, origin: str, path: str) -> None:
    answer, _ = send(stack, "GET", path, headers=[("Origin", origin)])

    assert answer.headers["Vary"] == "Origin"
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(("path", "status"), [("/ping", 200), ("/nowhere", 404)])
def test_a_page_of_ours_reads_answers_and_refusals(stack: Stack, path: str, status: int) -> None:
    answer, _ = send(stack, "GET", path, headers=[("origin", FRIEND)])

    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, FRIEND)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Trace-Id", "ETag", "Retry-After", "X-Next-Cursor", "WWW-Authenticate"} <= set(
        exposed
    )


def test_with_no_origins_configured_nobody_is_let_in(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named in ("", " ", "null", "null,*", "*"):
        settings = config().model_copy(update={"cors_origins": named})
        monkeypatch.setattr(http, "config", lambda settings=settings: settings)

        for origin in (FRIEND, "null", "*", ""):
            assert _preflight(stack, "/ping", origin).status == 403
            answer, _ = send(stack, "GET", "/ping", headers=[("Origin", origin)])
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_options_without_a_page_lists_the_methods(stack: Stack) -> None:
    answer, text = send(stack, "OPTIONS", "/alerts/rules", roles=None)

    assert (answer.status, answer.headers["Allow"], text) == (204, "GET, POST, OPTIONS", "")


def test_the_root_is_a_path_like_any_other(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    # The gateway has it as a resource of its own, which no {proxy+} stands for.
    monkeypatch.setattr(stack, "_resource", lambda *_: ("/", None))

    assert _preflight(stack, "/", FRIEND).headers["Access-Control-Allow-Methods"] == "GET"
    assert send(stack, "OPTIONS", "/", roles=None)[0].headers["Allow"] == "GET, OPTIONS"
    assert send(stack, "HEAD", "/", roles=None)[0].status == 405


@pytest.mark.parametrize("headers", [[], [("Origin", FRIEND)], [("Origin", STRANGER)]])
def test_options_of_an_unknown_path_is_404(stack: Stack, headers: Pairs) -> None:
    assert send(stack, "OPTIONS", "/nowhere", headers=headers, roles=None)[0].status == 404


def test_head_is_405_and_has_no_body(stack: Stack) -> None:
    answer, text = send(stack, "HEAD", "/ping", roles=None)

    assert (answer.status, answer.headers["Allow"], text) == (405, "GET", "")


# ---- what is sent twice, too long, or no text


@pytest.mark.parametrize("name", ["limit", "tenant_id", "cursor", "anything"])
def test_a_parameter_that_comes_twice_is_refused(stack: Stack, name: str) -> None:
    answer, _ = send(stack, "GET", "/events/recent", query=[(name, "1"), (name, "2")])

    assert (answer.status, answer.body["errors"]) == (
        422,
        [{"pointer": f"query/{name}", "detail": "was given 2 times; once is right"}],
    )


@pytest.mark.parametrize("name", ["X-Tenant-ID", "Authorization", "X-Api-Key", "X-User-Roles"])
def test_who_calls_may_be_said_once(stack: Stack, name: str) -> None:
    spellings = [(name, "operator"), (name.lower(), "admin")]

    answer, _ = send(stack, "GET", "/events/recent", headers=spellings, roles=None)

    assert (answer.status, answer.body["detail"]) == (
        400,
        f"The header {name.lower()} was sent 2 times; once is right",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for (method, path), roles in sorted(ROUTES.items()) if "{" in path and roles],
)
def test_a_name_that_nothing_can_have_is_404(stack: Stack, method: str, path: str) -> None:
    start, _, rest = path.partition("{")
    longest = start + "x" * 5_000 + rest.partition("}")[2]

    assert send(stack, method, longest, raw="{}")[0].status == 404


def test_a_parameter_that_nothing_fits_is_422(stack: Stack) -> None:
    answer, _ = send(stack, "GET", "/events/recent", query=[("source", "ü" * 501)])

    assert answer.body["errors"] == [
        {"pointer": "query/source", "detail": "may have 1,000 bytes at most"}
    ]


@pytest.mark.parametrize(
    "value", ["\x00", "a\x00b", "\r\nX-Evil: 1", "\u2028", "\ud800", "é", "%00", "%0d%0aX-Evil:1"]
)
def test_odd_characters_are_just_characters(stack: Stack, value: str) -> None:
    answer, text = send(
        stack,
        "GET",
        f"/events/{quote(value, errors='replace')}",
        query=[("source", value)],
        headers=[("traceparent", value), ("X-Other", value), ("Last-Event-ID", value)],
    )

    assert answer.status == 404
    assert not [v for v in answer.headers.values() if "\n" in v or "\r" in v or "Evil" in v]
    assert text.encode()


def test_half_a_character_in_a_path_is_answered(stack: Stack) -> None:
    answer, text = send(stack, "GET", "/events/\ud800")

    assert answer.status == 404
    assert text.encode()


def test_a_path_of_any_length_is_shown_cut(stack: Stack) -> None:
    answer, text = send(stack, "GET", "/" + "x" * 100_000, roles=None)

    assert answer.status == 404
    assert len(text) < 5_000


def test_the_path_that_was_asked_for_cannot_break_out_of_the_answer(stack: Stack) -> None:
    answer, _ = send(stack, "GET", '/"},{"x":"<script>', roles=None)

    assert answer.body["instance"] == '/local/"},{"x":"<script>'


def test_of_a_name_that_comes_twice_the_last_one_counts(stack: Stack) -> None:
    raw = '{"event_type":"lead.created","source":"a","source":"b","event_id":"e1","payload":{}}'

    assert send(stack, "POST", "/events/publish", raw=raw)[0].status == 200
    assert stack.call("GET", "/events/e1").body["source"] == "b"


@pytest.mark.parametrize("number", ["1" * 5_000, "1e999", "-1e999", "1" * 400 + ".0", "9" * 60])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/alerts/rules", '{"name":"r","window_seconds":60,"threshold":%s}'),
        ("/alerts/rules", '{"name":"r","window_seconds":%s,"threshold":1}'),
        ("/ops/register", '{"name":"a","url":"http://a.example","lease_seconds":%s}'),
    ],
)
def test_a_number_beyond_reason_is_422(stack: Stack, path: str, body: str, number: str) -> None:
    assert send(stack, "POST", path, raw=body % number)[0].status == 422


# ---- answers


def test_a_page_of_large_events_is_short_enough_to_be_sent(stack: Stack) -> None:
    # Each quote is two bytes in the answer, and four in what Lambda hands on.
    for number in range(20):
        body = {
            "event_type": "lead.created",
            "source": "crm",
            "event_id": f"e{number}",
            "payload": {"note": '"' * 130_000},
        }
        assert stack.call("POST", "/events/publish", body=body).status == 200

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = [("limit", "200"), *([("cursor", cursor)] if cursor else [])]
        answer, text = send(stack, "GET", "/events/recent", query=query)
        assert answer.status == 200
        assert len(text.encode()) <= 4 * 1024 * 1024
        assert len(json.dumps(text).encode()) < 6_000_000
        seen += [event["event_id"] for event in answer.body["events"]]
        cursor = answer.body["next_cursor"]
    assert sorted(seen) == sorted(f"e{number}" for number in range(20))


@pytest.mark.parametrize("character", ["x", '"', "ü"])
def test_an_answer_that_could_not_be_sent_says_so(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    registry = importlib.import_module("functions.registry.api").registry
    shown = {"status": "ok", "services": [character * 4_300_000]}
    monkeypatch.setattr(registry, "catalogue", lambda *_: shown)

    answer, _ = send(stack, "GET", "/ops/services")

    assert answer.status == 413
    assert "4 MB is what can be sent" in answer.body["detail"]


# ---- the fuzz

MEMBERS = {"type", "title", "status", "detail", "instance", "trace_id"}
EXTENSIONS = {
    "errors", "retry", "error", "attempts", "provider_order", "latency_ms", "intent",
}  # fmt: skip
LEAKS = (
    "Traceback", 'File "', "aetherlink.", "/work/", "site-packages", "botocore", "boto3", "pydantic",
    "ValidationException", "ClientError", "KeyError", "-test", "hunter2", "dynamodb",
)  # fmt: skip
words = st.sampled_from(
    ["acme", "system", "*", "-", "", "null", "NaN", "0", "1e400", "9" * 40, "\x00", "../..", "%2e%2e",
     "a#b", "{proxy+}", "é", "\ud800", "\r\nX: y", "e1", "x" * 1_001, "x" * 5_000, "ak_" + "0" * 29,
     "eyJhbGciOiJub25lIn0.e30.", "2026-11-23T08:30:00Z", "9999-12-31T23:59:59Z"]
)  # fmt: skip
text = words | st.text(max_size=10)
scalars = st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | text
fields = st.sampled_from(
    ["name", "url", "event_type", "source", "payload", "tenant_id", "window_seconds", "threshold",
     "roles", "tenant", "scopes", "expires_at", "limits", "requests_per_minute", "severity", "tags",
     "group_by", "since", "until", "lease_seconds", "heal", "job_id", "labels", "events"]
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | text, inner, max_size=5),
    max_leaves=10,
)
bodies = st.one_of(
    st.none(),
    values.map(lambda value: json.dumps(value)),
    text,
    st.sampled_from(["[" * 50_000, '{"a":' * 3_000, "{}", "[]", "null", "1" * 5_000, '"\ud800"']),
)
queries = st.lists(
    st.tuples(
        st.sampled_from(
            ["limit", "cursor", "tenant_id", "since", "until", "source", "severity", "event_type",
             "retention_days", "enabled", "ticket", "service", "compatibility", "x"]
        ),
        text,
    ),
    max_size=4,
)  # fmt: skip
sent_headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["Authorization", "X-Api-Key", "X-Tenant-ID", "Content-Type", "traceparent", "Origin",
             "Idempotency-Key", "If-Match", "Last-Event-ID", "ce-id", "ce-specversion", "X-Other",
             "Accept", "Access-Control-Request-Method"]
        ),
        text | text.map(lambda value: f"Bearer {value}"),
    ),
    max_size=4,
)  # fmt: skip
segments = st.sampled_from(
    ["e1", "lead.created", "acme", "x" * 2_000, "%ff", "%00", "a%2fb"]
) | st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    method, path = draw(st.sampled_from(sorted(ROUTES)))
    parts = [draw(segments) if part.startswith("{") else part for part in path.split("/")]
    if draw(st.integers(0, 9)) == 0:
        method = draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))
    raw = draw(bodies)
    is_base64 = draw(st.booleans()) if raw is not None else False
    if is_base64 and raw is not None and draw(st.booleans()):
        raw = base64.b64encode(raw.encode("utf-8", "surrogatepass")).decode()
    query = draw(queries)
    if path == "/events/stream":
        # A stream that is let in waits for events; here nobody has the time.
        query = [(name, value) for name, value in query if name != "wait"] + [("wait", "0")]
    return {
        "method": method,
        "path": "/".join(parts),
        "headers": draw(sent_headers),
        "query": query,
        "raw": raw,
        "is_base64": is_base64,
        "roles": draw(
            st.sampled_from([None, "viewer", "agent", "operator", "admin", "admin", "["])
        ),
    }


def test_no_request_that_anybody_can_think_of_breaks_a_route(stack: Stack) -> None:
    seen: dict[int, int] = {}

    @settings(
        max_examples=1_500,
        report_multiple_bugs=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests())
    def fuzz(request: dict[str, Any]) -> None:
        answer, body = send(stack, request.pop("method"), request.pop("path"), **request)
        seen[answer.status] = seen.get(answer.status, 0) + 1
        # Nobody plays the AI providers here, and rules hold no conversation.
        assert answer.status < 500 or "All AI providers" in body, body
        assert body.encode() is not None
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
        assert not [v for v in answer.headers.values() if "\r" in v or "\n" in v]
        if answer.status >= 400 and body:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert set(answer.body) - EXTENSIONS == MEMBERS
            assert (answer.body["status"], answer.body["type"]) == (answer.status, "about:blank")
            said = {**answer.body, "instance": ""}
            assert not [leak for leak in LEAKS if leak in json.dumps(said)], body

    fuzz()

    # It can only prove something if all of these happen.
    assert {200, 400, 401, 403, 404, 405, 422} <= seen.keys(), seen
