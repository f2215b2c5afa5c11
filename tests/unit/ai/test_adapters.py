"""Our adapters and the vendors' own clients against the same mock: it has to satisfy both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import ollama
import openai
import pytest

from aetherlink.ai.adapters.anthropic import Anthropic
from aetherlink.ai.adapters.bedrock import Bedrock
from aetherlink.ai.adapters.ollama import Ollama
from aetherlink.ai.adapters.openai import OpenAi
from aetherlink.ai.adapters.wire import Wire
from aetherlink.ai.descriptor import Kind, Provider
from aetherlink.ai.model import Completion, Prompt, ProviderError, Said, Speaker, Trouble
from aetherlink.platform.outbound import Outbound, parse_allow_list
from tools.mock_ai.server import BAD_SHAPE, HANG, RESET, MockAi, Order

PROMPT = Prompt(
    system="Be brief.",
    turns=(
        Said(Speaker.USER, "hi"),
        Said(Speaker.ASSISTANT, "hello"),
        Said(Speaker.USER, "how are you?"),
    ),
    max_tokens=64,
    temperature=0.5,
    stop=("END",),
)
KEY = "key-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[MockAi]:
    mock = MockAi().start()
    yield mock
    mock.close()


@pytest.fixture
def mock(server: MockAi) -> MockAi:
    server.well()
    return server


KINDS = {
    "claude": Kind.ANTHROPIC,
    "openai": Kind.OPENAI,
    "ollama": Kind.OLLAMA,
    "bedrock": Kind.BEDROCK,
}


class Asking:
    def __init__(self, mock: MockAi, name: str) -> None:
        self.mock = mock
        self.provider = Provider(
            name=name,
            type=KINDS[name],
            model="model-1",
            url=mock.url(name),
            key="ssm:k",
            region="us-east-1",
        )
        self.forgotten: list[str] = []
        form: Any = {"claude": Anthropic(), "openai": OpenAi(), "ollama": Ollama()}.get(name)
        self.adapter: Any = Bedrock()
        if form:
            outbound = Outbound(parse_allow_list("127.0.0.0/8"))
            now = lambda: datetime.now(UTC)  # noqa: E731
            self.adapter = Wire(outbound, form, lambda _: KEY, self.forgotten.append, now)

    def __call__(self, prompt: Prompt = PROMPT, seconds: float = 5) -> Completion:
        found: Completion = self.adapter.complete(self.provider, prompt, seconds=seconds)
        return found


@pytest.fixture(params=list(KINDS))
def asking(request: pytest.FixtureRequest, mock: MockAi) -> Asking:
    return Asking(mock, request.param)


def test_an_answer_is_understood(asking: Asking) -> None:
    found = asking()
    assert found.text == "You said: how are you?"
    assert found.input_tokens > 0
    assert found.output_tokens > 0
    assert not found.is_cut


@pytest.mark.parametrize(
    ("order", "trouble"),
    [
        (Order("400"), Trouble.REJECTED),
        (Order("403"), Trouble.UNAUTHORISED),
        (Order("404"), Trouble.MISCONFIGURED),
        (Order("429", retry_after="3"), Trouble.RATE_LIMITED),
        (Order("500"), Trouble.SERVER_ERROR),
        (Order("503"), Trouble.SERVER_ERROR),
        (Order(RESET), Trouble.CONNECT),
        (Order(BAD_SHAPE), Trouble.BAD_ANSWER),
    ],
)
def test_each_failure_has_its_class(asking: Asking, order: Order, trouble: Trouble) -> None:
    asking.mock.next(asking.provider.name, order)
    with pytest.raises(ProviderError) as caught:
        asking()
    assert caught.value.trouble is trouble
    assert KEY not in str(caught.value)
    if order.retry_after and asking.provider.type is not Kind.BEDROCK:
        assert caught.value.retry_after_seconds == 3


def test_one_that_hangs_is_left_in_time(asking: Asking) -> None:
    asking.mock.next(asking.provider.name, Order(HANG))
    with pytest.raises(ProviderError) as caught:
        asking(seconds=1)
    assert caught.value.trouble is Trouble.TIMEOUT


def test_a_key_that_is_refused_is_read_again(asking: Asking) -> None:
    asking.mock.next(asking.provider.name, Order("401"))
    with pytest.raises(ProviderError):
        asking()
    if asking.provider.type is not Kind.BEDROCK:
        assert asking.forgotten == ["ssm:k"]


# ------------------------------------------------------------------ the vendors' clients

TURNS: Any = [{"role": str(turn.by), "content": turn.text} for turn in PROMPT.turns]


def _sdk_claude(mock: MockAi) -> str:
    with anthropic.Anthropic(api_key=KEY, base_url=mock.url("claude"), max_retries=0) as client:
        message = client.messages.create(
            model="model-1",
            max_tokens=64,
            system="Be brief.",
            messages=TURNS,
            stop_sequences=["END"],
        )
    block: Any = message.content[0]
    assert message.usage.input_tokens > 0
    return str(block.text)


def _sdk_openai(mock: MockAi) -> str:
    with openai.OpenAI(api_key=KEY, base_url=mock.url("openai"), max_retries=0) as client:
        made = client.chat.completions.create(
            model="model-1",
            messages=[{"role": "system", "content": "Be brief."}, *TURNS],
            max_tokens=64,
            temperature=0.5,
            stop=["END"],
        )
    assert made.usage
    return str(made.choices[0].message.content)


def _sdk_ollama(mock: MockAi) -> str:
    client = ollama.Client(host=mock.url("ollama"), headers={"authorization": f"Bearer {KEY}"})
    try:
        found = client.chat(
            model="model-1",
            messages=[{"role": "system", "content": "Be brief."}, *TURNS],
            options={"num_predict": 64, "temperature": 0.5, "stop": ["END"]},
        )
    finally:
        client._client.close()
    assert found.eval_count
    return str(found.message.content)


@pytest.mark.parametrize(
    ("name", "sdk"), [("claude", _sdk_claude), ("openai", _sdk_openai), ("ollama", _sdk_ollama)]
)
def test_the_vendors_client_is_satisfied_and_sends_what_we_send(
    mock: MockAi, name: str, sdk: Any
) -> None:
    assert sdk(mock) == "You said: how are you?"
    Asking(mock, name)()
    theirs, ours = mock.calls
    assert {k: v for k, v in ours.body.items() if v} == {k: v for k, v in theirs.body.items() if v}
    for header in ("authorization", "x-api-key", "anthropic-version", "content-type"):
        assert ours.headers.get(header) == theirs.headers.get(header), header


@pytest.mark.parametrize(
    ("status", "error"), [(401, "AuthenticationError"), (429, "RateLimitError")]
)
def test_the_vendors_clients_take_the_mocks_errors_for_their_own(
    mock: MockAi, status: int, error: str
) -> None:
    for name, sdk, package in (("claude", _sdk_claude, anthropic), ("openai", _sdk_openai, openai)):
        mock.next(name, Order(str(status)))
        with pytest.raises(getattr(package, error)):
            sdk(mock)


def test_a_key_with_a_line_in_it_is_sent_to_nobody(mock: MockAi) -> None:
    asking = Asking(mock, "claude")
    outbound = Outbound(parse_allow_list("127.0.0.0/8"))
    asking.adapter = Wire(
        outbound, Anthropic(), lambda _: "a\r\nb: c", lambda _: None, lambda: datetime.now(UTC)
    )
    with pytest.raises(ProviderError, match="control characters"):
        asking()
    assert mock.calls == []
