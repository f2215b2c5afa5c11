"""The orchestrator's routes on moto, with providers played on loopback."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from aetherlink import wiring
from aetherlink.platform import rates
from aetherlink.platform.config import ai_config, config
from tests.component.conftest import Answer, Stack
from tools.mock_ai.server import BAD_JSON, BAD_SHAPE, HANG, RESET, MockAi, Order

TEXT = (
    "Hi, I'm Anna Petrova from Globex Corporation. "
    "Call me on 212-555-0147 or anna.petrova@globex.example"
)


@pytest.fixture(scope="module")
def server() -> Iterator[MockAi]:
    mock = MockAi().start()
    yield mock
    mock.close()


@pytest.fixture
def ai(server: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MockAi:
    server.well()
    boto3.client("ssm").put_parameter(
        Name="/test/ai/claude", Value="key-claude", Type="SecureString", Overwrite=True
    )
    secrets = boto3.client("secretsmanager")
    if not secrets.list_secrets()["SecretList"]:
        secrets.create_secret(Name="test/ai/openai", SecretString="key-openai")
    settle(monkeypatch, server)
    return server


def settle(monkeypatch: pytest.MonkeyPatch, mock: MockAi, **environment: str) -> None:
    """The orchestrator as these variables tell it to be."""
    for name, value in {
        "OUTBOUND_ALLOW": "127.0.0.0/8",
        "PROVIDER_URLS": mock.urls(),
        **environment,
    }.items():
        monkeypatch.setenv(name, value)
    for cached in (config, ai_config, wiring.orchestrator):
        cached.cache_clear()
    monkeypatch.setattr("aetherlink.ai.adapters.wire.MAX_BYTES", 100_000)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    for cached in (config, ai_config, wiring.orchestrator):
        cached.cache_clear()


def orchestrate(
    stack: Stack, intent: str = "extract-lead", *, tenant: str = "acme", **payload: Any
) -> Answer:
    body = {"tenant_id": tenant, "intent": intent, "payload": payload or {"raw_text": TEXT}}
    return stack.call("POST", "/orchestrate", roles="agent", tenant=tenant, body=body)


def health(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.call("GET", "/providers/health", roles="viewer").body
    return found


def outcomes(answer: Answer) -> list[tuple[str, str | None]]:
    return [(a["provider"], a["error_class"]) for a in answer.body["attempts"]]


def test_the_open_routes(ai: MockAi, stack: Stack) -> None:
    ping = stack.call("GET", "/ai/ping", roles=None).body
    assert ping == {
        "status": "ok",
        "service": "ai-orchestrator-v2",
        "providers": ["claude", "openai", "ollama", "rules"],
    }
    assert stack.call("GET", "/ai/health", roles=None).body == {
        "status": "up",
        "service": "ai-orchestrator",
    }
    assert stack.call("GET", "/ping", roles=None).body["providers"] == ping["providers"]


def test_the_first_provider_answers_with_its_key(ai: MockAi, stack: Stack) -> None:
    answer = orchestrate(stack)
    assert answer.status == 200, answer.body
    body = answer.body
    assert (body["status"], body["provider"], body["used_provider"], body["degraded"]) == (
        "ok", "claude", "claude", False,
    )  # fmt: skip
    result = body["result"]
    assert {k: result[k] for k in ("name", "email", "company", "phone", "status", "raw")} == {
        "name": "Anna Petrova",
        "email": "anna.petrova@globex.example",
        "company": "Globex Corporation",
        "phone": "212-555-0147",
        "status": "new",
        "raw": TEXT,
    }
    place = result["evidence"]["phone"]
    assert TEXT[place["start"] : place["end"]] == place["value"] == "212-555-0147"
    assert outcomes(answer) == [("claude", None)]
    [call] = ai.calls
    assert (call.provider, call.headers["authorization"]) == ("claude", "Bearer key-claude")
    assert TEXT not in call.body["system"]
    shown = health(stack)
    assert list(shown) == ["claude", "openai", "ollama", "rules"]
    assert (shown["claude"]["healthy"], shown["claude"]["total_calls"]) == (True, 1)


@pytest.mark.parametrize(
    ("order", "trouble"),
    [
        (Order("429", retry_after="7"), "rate_limited"),
        (Order("500"), "server_error"),
        (Order("529"), "server_error"),
        (Order(RESET), "connect"),
        (Order(BAD_SHAPE), "bad_answer"),
        (Order("401"), "unauthorised"),
        (Order("404"), "misconfigured"),
        (Order("402"), "quota"),
        (Order("400"), "rejected"),
        (Order("400", body='{"error": {"message": "Your credit balance is too low"}}'), "quota"),
    ],
)
def test_the_next_one_answers_where_one_fails(
    ai: MockAi, stack: Stack, order: Order, trouble: str
) -> None:
    ai.next("claude", order)
    answer = orchestrate(stack)
    assert answer.body["used_provider"] == "openai"
    assert outcomes(answer) == [("claude", trouble), ("openai", None)]
    assert ai.asked("openai")[0].headers["authorization"] == "Bearer key-openai"
    types = [e["event_type"] for e in stack_events(stack)]
    assert sorted(types) == ["ai.fallback.used", "ai.provider.used"]


def stack_events(stack: Stack, tenant: str = "acme") -> list[dict[str, Any]]:
    stack.relay()
    return [e for e in stack.recent(tenant) if e["event_type"].startswith("ai.")]


def test_bad_json_is_mended_once_or_given_to_the_next(ai: MockAi, stack: Stack) -> None:
    ai.next("claude", Order(BAD_JSON))
    answer = orchestrate(stack)
    assert answer.body["used_provider"] == "claude"
    assert answer.body["attempts"][0]["repairs"] == 1
    assert len(ai.asked("claude")) == 2
    assert [m["role"] for m in ai.asked("claude")[1].body["messages"]] == [
        "user",
        "assistant",
        "user",
    ]

    ai.always("claude", Order(BAD_JSON))
    answer = orchestrate(stack)
    assert outcomes(answer) == [("claude", "bad_output"), ("openai", None)]
    # What it says is no matter of whether it is there.
    assert health(stack)["claude"]["failed_calls"] == 0


def test_a_provider_that_hangs_leaves_time_for_the_next(ai: MockAi, stack: Stack) -> None:
    ai.always("claude", Order(HANG))
    answer = orchestrate(stack)
    assert outcomes(answer) == [("claude", "timeout"), ("openai", None)]
    assert answer.body["latency_ms"] < 12_000


def test_all_down_rules_answer_degraded(ai: MockAi, stack: Stack) -> None:
    for name in ("claude", "openai", "ollama"):
        ai.always(name, Order("503"))
    answer = orchestrate(stack)
    assert (answer.status, answer.body["used_provider"], answer.body["degraded"]) == (
        200,
        "rules",
        True,
    )
    assert answer.body["result"]["name"] == "Anna Petrova"
    used = next(e for e in stack_events(stack) if e["event_type"] == "ai.fallback.used")
    assert used["payload"]["failed_providers"] == ["claude", "openai", "ollama"]
    extracted = stack.call(
        "POST",
        "/summaries/extract-lead",
        roles="agent",
        tenant="acme",
        body={"raw_text": "how much is it?"},
    ).body
    wanted = {"name": None, "email": None, "company": None, "phone": None, "status": "new"}
    assert {k: extracted[k] for k in wanted} == wanted
    assert (extracted["tags"], extracted["raw"], extracted["degraded"]) == (
        [],
        "how much is it?",
        True,
    )


def test_all_down_without_rules_is_502_with_every_attempt_then_503(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, ai, PROVIDER_ORDER="claude,openai")
    for name in ("claude", "openai"):
        ai.always(name, Order("529"))
    for _ in range(5):
        answer = orchestrate(stack)
        assert answer.status == 502
    body = answer.body
    assert body["title"] == "All AI providers failed"
    assert body["provider_order"] == ["claude", "openai"]
    assert [e["provider"] for e in body["errors"]] == ["claude", "openai"]
    assert all("529" in e["error"] for e in body["errors"])
    assert (body["intent"], body["latency_ms"] >= 0) == ("extract-lead", True)

    before = len(ai.calls)
    answer = orchestrate(stack)
    assert (answer.status, answer.headers["Retry-After"] in ("1", "2")) == (503, True)
    assert len(ai.calls) == before
    shown = health(stack)["claude"]
    assert (shown["healthy"], shown["state"], shown["failed_calls"]) == (False, "open", 5)
    assert shown["retry_at"] > datetime.now(UTC).isoformat()[:19]
    failed = [e for e in stack_events(stack) if e["event_type"] == "ai.fallback.failed"]
    assert len(failed) == 6
    assert failed[0]["severity"] == "error"

    # By hand, and well again.
    ai.well()
    again = stack.call("POST", "/providers/claude/reset", body=None)
    assert (again.status, again.body["state"]) == (200, "closed")
    assert orchestrate(stack).body["used_provider"] == "claude"
    assert stack.call("POST", "/providers/nobody/reset").status == 404


def test_input_that_makes_no_sense_is_said_to(ai: MockAi, stack: Stack) -> None:
    answer = orchestrate(stack, "sing", text="la")
    assert (answer.status, answer.body["detail"].startswith("Unknown intent: sing")) == (400, True)
    assert orchestrate(stack, "chat", text="la").status == 400
    answer = orchestrate(stack, "extract-lead", text="la")
    assert answer.status == 422
    assert {e["pointer"] for e in answer.body["errors"]} == {"/payload"}
    answer = orchestrate(stack, "extract_lead", raw_text="")
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/payload/raw_text")
    answer = orchestrate(stack, "summarize-activity", activity=["x" * 70_000])
    assert (answer.status, "60,000 bytes" in answer.body["detail"]) == (422, True)
    foreign = stack.call(
        "POST",
        "/orchestrate",
        roles="agent",
        tenant="acme",
        body={"tenant_id": "globex", "intent": "extract-lead", "payload": {"raw_text": "x"}},
    )
    assert foreign.status == 403
    assert ai.calls == []


def test_the_other_intents(ai: MockAi, stack: Stack) -> None:
    summary = orchestrate(
        stack, "summarize-activity", activity=[{"note": "Called. She wants a quote."}]
    )
    assert "quote" in summary.body["result"]["summary"]
    assert "ai.summary.created" in [e["event_type"] for e in stack_events(stack)]
    intent = orchestrate(stack, "classify_intent", text="How much does it cost?").body["result"]
    assert (intent["intent"], intent["evidence"]["text"]) == ("pricing", "How much")
    entities = orchestrate(stack, "extract_entities", text="Mail a@b.example by 2026-12-01").body[
        "result"
    ]
    assert [e["type"] for e in entities["entities"]] == ["email", "date"]
    reply = orchestrate(stack, "generate_response", text="hi", facts=["We open at nine."])
    assert reply.body["result"] == {"reply": "Thank you for your message."}


def test_an_answer_that_invents_a_number_is_not_believed(ai: MockAi, stack: Stack) -> None:
    invented = {
        "name": "Anna Petrova",
        "email": "boss@evil.example",
        "company": None,
        "phone": "+1 900 555 0100",
    }
    extra = {"tenant_id": "globex", "action": "heal", "tags": ["vip", "globex"]}
    ai.always("claude", Order(text=json.dumps({**invented, **extra})))
    result = orchestrate(stack).body["result"]
    assert (result["email"], result["phone"], result["tags"]) == (None, None, ["globex"])
    assert set(result) == {"name", "email", "company", "phone", "status", "tags", "raw", "evidence"}

    ai.always("claude", Order(text=json.dumps({"summary": "Call +1 900 555 0100 now."})))
    answer = orchestrate(stack, "summarize-activity", activity="She called about the offer.")
    assert outcomes(answer)[0] == ("claude", "bad_output")
    assert answer.body["used_provider"] == "openai"


def test_a_budget_holds_and_rules_cost_nothing(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stack.call(
        "PUT",
        "/tenants/acme",
        roles="admin",
        body={"name": "Acme", "limits": {"ai_usd_per_day": 0.005}},
    )
    assert made.status == 200, made.body
    rates.forget()
    used = [orchestrate(stack).body["used_provider"] for _ in range(30)]
    assert used[0] == "claude"
    # Ollama and the rules are free.
    assert used[-1] == "ollama"
    usage = stack.call("GET", "/ai/usage", tenant="acme").body
    assert usage["budget"]["limit_usd"] == 0.005
    assert 0 < usage["total"]["cost_usd"] <= 0.005
    assert usage["total"]["calls"] == 30
    assert usage["by_day"][0]["by_intent"] == {"extract-lead": 30}
    settle(monkeypatch, ai, PROVIDER_ORDER="claude")
    answer = orchestrate(stack)
    assert (answer.status, "0.005 USD a day" in answer.body["detail"]) == (429, True)
    assert 0 < int(answer.headers["Retry-After"]) <= 86_401
    # Another tenant's day is its own.
    assert orchestrate(stack, tenant="globex").status == 200


def test_a_budget_that_cannot_be_read_is_none(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aetherlink.platform.standing import Standing

    monkeypatch.setattr(rates, "standing_of", lambda _: Standing(is_known=False))
    wiring.orchestrator.cache_clear()
    assert orchestrate(stack).status == 503
    assert ai.calls == []


def test_the_same_question_is_answered_from_the_cache_where_a_tenant_wants_that(
    ai: MockAi, stack: Stack
) -> None:
    limits = {"ai_cache_seconds": 60}
    stack.call("PUT", "/tenants/acme", roles="admin", body={"name": "Acme", "limits": limits})
    rates.forget()
    first, second = orchestrate(stack), orchestrate(stack)
    assert (first.body["cached"], second.body["cached"]) == (False, True)
    assert second.body["result"] == first.body["result"]
    assert len(ai.calls) == 1
    # Nobody else's, and no other question's.
    assert orchestrate(stack, tenant="globex").body["cached"] is False
    assert orchestrate(stack, raw_text=TEXT + " ").body["cached"] is False
    assert stack.call("GET", "/ai/usage", tenant="acme").body["total"]["cached"] == 1


def test_a_key_that_is_missing_is_said_where_to_put(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, ai, PROVIDER_ORDER="claude,openai", AI_SECRETS="elsewhere")
    answer = orchestrate(stack)
    assert answer.status == 502
    said = [error["error"] for error in answer.body["errors"]]
    assert "SSM parameter /elsewhere/ai/claude" in said[0]
    assert "secret elsewhere/ai/openai" in said[1]
    assert "key-claude" not in json.dumps(answer.body)


def test_an_order_that_names_nobody_is_said_to(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, ai, PROVIDER_ORDER="claud")
    answer = orchestrate(stack)
    assert (answer.status, "ProviderOrder names 'claud'" in answer.body["detail"]) == (503, True)
    settle(monkeypatch, ai, PROVIDER_ORDER="")
    answer = orchestrate(stack)
    assert (answer.status, "ProviderOrder" in answer.body["detail"]) == (503, True)


class TestChat:
    def chat(self, stack: Stack, **body: Any) -> Answer:
        given = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **body}
        return stack.call("POST", "/v1/chat/completions", roles="agent", tenant="acme", body=given)

    def test_a_turn(self, ai: MockAi, stack: Stack) -> None:
        answer = self.chat(stack)
        assert answer.status == 200, answer.body
        assert answer.body["choices"][0]["message"]["content"] == "You said: hello"
        assert answer.body["object"] == "chat.completion"
        assert answer.body["usage"]["total_tokens"] > 0

    def test_a_model_that_is_named_is_asked_first(self, ai: MockAi, stack: Stack) -> None:
        assert self.chat(stack, model="openai").body["provider"] == "openai"
        ai.always("openai", Order("500"))
        assert self.chat(stack, model="gpt-4.1-mini").body["provider"] == "claude"

    def test_rules_hold_no_conversation(
        self, ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle(monkeypatch, ai, PROVIDER_ORDER="rules")
        assert self.chat(stack).status == 503

    @pytest.mark.parametrize(
        ("given", "pointer"),
        [
            ({"stream": True}, "/stream"),
            ({"n": 2}, "/n"),
            ({"tools": []}, "/tools"),
            ({"messages": []}, "/messages"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "/messages/0/role"),
            ({"messages": [{"role": "system", "content": "x"}]}, ""),
        ],
    )
    def test_what_cannot_be_done_is_refused(
        self, ai: MockAi, stack: Stack, given: dict[str, Any], pointer: str
    ) -> None:
        answer = self.chat(stack, **given)
        assert answer.status == 422
        assert answer.body["errors"][0]["pointer"] == pointer
        # What OpenAI's client shows.
        assert answer.body["error"]["message"] == answer.body["detail"]

    def test_models(self, ai: MockAi, stack: Stack) -> None:
        found = stack.call("GET", "/v1/models", roles="agent").body["data"]
        assert [model["id"] for model in found] == ["claude", "openai", "ollama"]


def test_a_breaker_recovers_by_itself_and_is_the_same_for_two_instances(
    ai: MockAi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of both is the test's: nothing waits."""
    now = [datetime.now(UTC)]
    from aetherlink.ai.breakers import Breakers
    from aetherlink.ai.descriptor import BreakerPolicy
    from aetherlink.ai.model import ProviderError, Trouble

    policy = BreakerPolicy(open_seconds=30, max_open_seconds=300)
    one, two = (Breakers(wiring.control_table(), policy, lambda: now[0]) for _ in range(2))
    boom = ProviderError("claude answered 500", Trouble.SERVER_ERROR, status=500)
    for n in range(5):
        side = (one, two)[n % 2]
        assert side.read(["claude"])["claude"].state(now[0]) == "closed"
        side.failed(side.read(["claude"])["claude"], boom, was_probe=False)
    assert [b.read(["claude"])["claude"].state(now[0]) for b in (one, two)] == ["open", "open"]

    now[0] += timedelta(seconds=31)
    seen = [b.read(["claude"])["claude"] for b in (one, two)]
    assert [b.state(now[0]) for b in seen] == ["half_open", "half_open"]
    # One of them tries it; the other leaves it alone meanwhile.
    assert (one.claim_probe(seen[0], 5), two.claim_probe(seen[1], 5)) == (True, False)
    one.failed(seen[0], boom, was_probe=True)
    assert two.read(["claude"])["claude"].retry_at(now[0]) == now[0] + timedelta(seconds=60)

    now[0] += timedelta(seconds=61)
    seen = [b.read(["claude"])["claude"] for b in (one, two)]
    assert two.claim_probe(seen[1], 5)
    two.succeeded(seen[1], was_probe=True)
    well = one.read(["claude"])["claude"]
    assert (well.state(now[0]), well.in_a_row, well.openings) == ("closed", 0, 0)
    assert (well.total_calls, well.failed_calls) == (7, 6)
    # What was counted before it was well again opens nothing.
    one.failed(well, boom, was_probe=False)
    assert one.read(["claude"])["claude"].state(now[0]) == "closed"


def test_retry_after_is_obeyed_at_once(ai: MockAi, stack: Stack) -> None:
    ai.next("claude", Order("429", retry_after="60"))
    orchestrate(stack)
    shown = health(stack)["claude"]
    until = datetime.fromisoformat(shown["retry_at"])
    assert timedelta(seconds=50) < until - datetime.now(UTC) <= timedelta(seconds=60)
    assert outcomes(orchestrate(stack))[0] == ("claude", "open")


def test_a_budget_is_held_by_the_table_whatever_order_calls_come_in(stack: Stack) -> None:
    """Each reserves, asks and settles; the real conditional writes, in shuffled order."""
    from aetherlink.ai.budget import Budget
    from aetherlink.ai.model import Attempt, Routed
    from aetherlink.ai.purse import Purse
    from aetherlink.kernel.tenancy import TenantId

    source = random.Random(8)
    purses = [Purse(wiring.control_table(), lambda: datetime.now(UTC)) for _ in range(2)]
    for number in range(12):
        tenant, limit = TenantId(f"t{number}"), source.randrange(0, 3_000)
        day, spent = purses[0].day(), 0
        running: list[int] = []
        for _ in range(25):
            purse = source.choice(purses)
            if running and source.random() < 0.45:
                held = running.pop(source.randrange(len(running)))
                used = source.randrange(held + 1)
                spent += used
                attempt = Attempt("claude", cost_micros=used)
                routed = Routed((attempt,), provider="claude")
                purse.settle(tenant, day, "chat", routed, committed=used - held)
            else:
                held = source.randrange(1, 900)
                if purse.reserve(tenant, day, held, Budget(limit)):
                    running.append(held)
            committed = purse.usage(tenant, 1, Budget(limit))["budget"]["committed_usd"]
            assert round(committed * 1_000_000) <= limit
        total = purses[0].usage(tenant, 1, Budget(limit))["total"]
        assert round(total["cost_usd"] * 1_000_000) == spent <= limit
