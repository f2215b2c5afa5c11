"""The orchestrator on the deployed stack, with providers played on loopback that answer well and badly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from aetherlink.ai.descriptor import parse_urls
from tests.e2e.deployed import Answer, Api, wait_for
from tools.mock_ai import PORT
from tools.mock_ai.server import BAD_JSON, HANG, RESET, MockAi, Order

TEXT = (
    "Hi, I'm Anna Petrova from Globex Corporation. "
    "Call me on 212-555-0147 or anna.petrova@globex.example"
)
MODELS = ("claude", "ollama", "openai")


@pytest.fixture(scope="module")
def server(stack: dict[str, Any]) -> Iterator[MockAi]:
    given = parse_urls(stack["provider_urls"]).get("claude", "")
    port = urlsplit(given).port or PORT
    try:
        mock = MockAi(port).start()
    except OSError as error:
        pytest.fail(f"The mock providers cannot listen on port {port}: {error.strerror}")
    yield mock
    mock.close()


@pytest.fixture
def ai(server: MockAi, api: Api) -> Iterator[MockAi]:
    """Everybody is well, and known to be."""
    server.well()
    for name in MODELS:
        api.call("POST", f"/providers/{name}/reset").ok()
    yield server
    server.well()
    for name in MODELS:
        api.call("POST", f"/providers/{name}/reset").ok()


def orchestrate(api: Api, tenant: str, intent: str = "extract-lead", **payload: Any) -> Answer:
    body = {"tenant_id": tenant, "intent": intent, "payload": payload or {"raw_text": TEXT}}
    return api.call("POST", "/orchestrate", body, tenant=tenant, roles="agent")


def outcomes(answer: Answer) -> list[tuple[str, str | None]]:
    return [(a["provider"], a["error_class"]) for a in answer.body["attempts"]]


def test_the_open_routes(api: Api) -> None:
    ping = api.call("GET", "/ai/ping", roles=None).ok()
    assert (ping["service"], ping["providers"]) == ("ai-orchestrator-v2", [*MODELS, "rules"])
    assert api.call("GET", "/ai/health", roles=None).ok()["status"] == "up"
    assert api.call("GET", "/ping", roles=None).ok()["providers"] == ping["providers"]
    api.call("GET", "/providers/health", roles=None).problem(401)
    api.call("POST", "/orchestrate", {}, roles="viewer").problem(403)


def test_a_lead_is_extracted_and_the_story_is_told(api: Api, ai: MockAi, tenant: str) -> None:
    body = orchestrate(api, tenant).ok()
    assert (body["used_provider"], body["degraded"]) == ("claude", False)
    assert body["result"]["phone"] == "212-555-0147"
    assert ai.asked("claude")[0].headers["authorization"] == "Bearer local-claude"

    flat = api.call(
        "POST", "/summaries/extract-lead", {"raw_text": TEXT}, tenant=tenant, roles="agent"
    ).ok()
    assert {k: flat[k] for k in ("name", "email", "company", "status")} == {
        "name": "Anna Petrova",
        "email": "anna.petrova@globex.example",
        "company": "Globex Corporation",
        "status": "new",
    }

    def told() -> list[dict[str, Any]]:
        return [e for e in api.recent(tenant) if e["event_type"] == "ai.provider.used"]

    wait_for(lambda: len(told()) == 2, 10, "both are in the timeline")
    assert told()[0]["payload"]["attempts"][0]["provider"] == "claude"
    usage = api.call("GET", "/ai/usage", tenant=tenant).ok()
    assert usage["total"]["calls"] == 2
    assert usage["total"]["cost_usd"] > 0
    health = api.call("GET", "/providers/health", roles="viewer").ok()
    assert health["claude"]["healthy"] is True


@pytest.mark.parametrize(
    ("order", "trouble"),
    [
        (Order("429", retry_after="1"), "rate_limited"),
        (Order("500"), "server_error"),
        (Order("529"), "server_error"),
        (Order(RESET), "connect"),
        (Order(HANG), "timeout"),
    ],
    ids=lambda value: getattr(value, "does", value),
)
def test_the_next_one_answers_where_one_fails(
    api: Api, ai: MockAi, tenant: str, order: Order, trouble: str
) -> None:
    ai.next("claude", order)
    answer = orchestrate(api, tenant)
    assert outcomes(answer) == [("claude", trouble), ("ollama", None)]
    assert answer.body["latency_ms"] < 12_000


def test_bad_json_is_mended_or_given_to_the_next(api: Api, ai: MockAi, tenant: str) -> None:
    ai.next("claude", Order(BAD_JSON))
    assert orchestrate(api, tenant).ok()["attempts"][0]["repairs"] == 1
    ai.always("claude", Order(BAD_JSON))
    assert outcomes(orchestrate(api, tenant))[0] == ("claude", "bad_output")


def test_a_breaker_opens_within_five_and_recovers_by_itself(
    api: Api, ai: MockAi, tenant: str
) -> None:
    ai.always("claude", Order("500"))
    for _ in range(5):
        orchestrate(api, tenant).ok()
    shown = api.call("GET", "/providers/health").ok()["claude"]
    assert (shown["state"], shown["healthy"]) == ("open", False)
    assert outcomes(orchestrate(api, tenant))[0] == ("claude", "open")
    ai.well()
    wait_for(
        lambda: orchestrate(api, tenant).body["used_provider"] == "claude", 15, "it is asked again"
    )
    assert api.call("GET", "/providers/health").ok()["claude"]["state"] == "closed"


def test_all_down_the_rules_answer_and_a_chat_says_who_failed(
    api: Api, ai: MockAi, tenant: str
) -> None:
    for name in MODELS:
        ai.always(name, Order("503"))
    body = orchestrate(api, tenant).ok()
    assert (body["used_provider"], body["degraded"]) == ("rules", True)
    assert body["result"]["email"] == "anna.petrova@globex.example"

    chat = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    failed = api.call("POST", "/v1/chat/completions", chat, tenant=tenant).problem(502)
    assert failed["title"] == "All AI providers failed"
    assert [e["provider"] for e in failed["errors"]] == list(MODELS)

    def chatted() -> Answer:
        return api.call("POST", "/v1/chat/completions", chat, tenant=tenant)

    wait_for(lambda: chatted().status == 503, 10, "all are left alone")
    for name in MODELS:
        ai.always(name, Order("503"))
    resting = chatted()
    assert resting.status == 502 or int(resting.header("Retry-After")) >= 1


def test_input_that_makes_no_sense(api: Api, ai: MockAi, tenant: str) -> None:
    said = orchestrate(api, tenant, "sing", text="la").problem(400)
    assert said["detail"].startswith("Unknown intent: sing")
    flaws = orchestrate(api, tenant, raw_text="").problem(422)["errors"]
    assert flaws[0]["pointer"] == "/payload/raw_text"
    api.call("POST", "/providers/nobody/reset").problem(404)


def test_the_openai_client_completes_a_chat(
    api: Api, ai: MockAi, tenant: str, admin_key: str
) -> None:
    with openai.OpenAI(
        api_key=admin_key, base_url=f"{api.url}/v1", default_headers={"X-Tenant-ID": tenant}
    ) as client:
        made = client.chat.completions.create(
            model="openai", messages=[{"role": "user", "content": "hello"}], max_tokens=50
        )
        assert made.choices[0].message.content == "You said: hello"
        assert made.usage
        assert made.usage.total_tokens > 0
        assert [model.id for model in client.models.list()] == list(MODELS)
        with pytest.raises(openai.UnprocessableEntityError, match="stream"):
            client.chat.completions.create(
                model="openai", messages=[{"role": "user", "content": "hello"}], stream=True
            )
