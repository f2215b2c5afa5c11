"""The descriptor: what ships is sound, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherlink.ai.descriptor import DescriptorError, Kind, load, parse_order, parse_urls
from aetherlink.ai.rules import RULES
from aetherlink.events.schemas import Validator

GOOD = """
version: 1
providers:
  a: {type: openai, model: m, url: "https://a.example/v1", price: {input: 1}}
  b: {type: ollama, model: m}
  rules: {type: rules, capabilities: [sing]}
capabilities:
  sing: {input: {type: object}, system: Sing.}
"""


def write(folder: Path, text: str, stage: str = "") -> Path:
    name = f"ai-providers.{stage}.yaml" if stage else "ai-providers.yaml"
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_what_ships_is_sound(stage: str) -> None:
    found = load(stage)
    assert {"extract-lead", "summarize-activity", "classify_intent", "generate_response",
            "extract_entities", "chat"} == set(found.capabilities)  # fmt: skip
    for capability in found.capabilities.values():
        for schema in (capability.input, capability.output):
            if schema:
                Validator(dict(schema))
    rules = next(p for p in found.providers.values() if p.type is Kind.RULES)
    assert set(rules.capabilities) == set(RULES)
    parse_order("claude,ollama,openai,bedrock,rules", found)


def test_underscores_and_dashes_are_one() -> None:
    found = load("local")
    assert found.intent("extract_lead") is found.capabilities["extract-lead"]
    assert found.intent("classify-intent") is found.capabilities["classify_intent"]
    assert found.intent("sing") is None


def test_a_stage_lies_over_it(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, "providers: {a: {url: 'http://x.example', price: {input: 2}}, b: null}", "dev")
    found = load("dev", folder=tmp_path)
    assert found.providers["a"].url == "http://x.example"
    assert found.providers["a"].price.input == 2
    assert "b" not in found.providers
    assert load("prod", folder=tmp_path).providers["a"].url == "https://a.example/v1"
    given = load("prod", folder=tmp_path, urls="b=http://10.0.0.7:11434/")
    assert given.providers["b"].url == "http://10.0.0.7:11434"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("type: ollama", "type: sorcery"), "providers.b.type"),
        (("type: ollama, model: m", "type: ollama"), "providers.b needs a model"),
        (("[sing]", "[dance]"), "no such capability"),
        (("price: {input: 1}", "price: {input: -1}"), "providers.a.price.input"),
        (("price", "prize"), "providers.a.prize"),
        (("version: 1", "version: 2"), "version"),
        (("providers:", "providers: ["), "ai-providers.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    write(tmp_path, GOOD.replace(*change))
    with pytest.raises(DescriptorError, match=said.replace(".", r"\.")):
        load("prod", folder=tmp_path)


def test_an_order_has_ranks(tmp_path: Path) -> None:
    found = load("prod", folder=write(tmp_path, GOOD))
    assert [[p.name for p in rank] for rank in parse_order("a|b, rules", found)] == [
        ["a", "b"],
        ["rules"],
    ]
    for text, said in (("c", "names 'c'; the descriptor has a, b, rules"), ("a,a", "twice")):
        with pytest.raises(DescriptorError, match=said):
            parse_order(text, found)
    with pytest.raises(DescriptorError, match="ProviderUrls"):
        parse_urls("a")
    with pytest.raises(DescriptorError, match="does not have"):
        load("prod", folder=tmp_path, urls="zz=http://x.example")
