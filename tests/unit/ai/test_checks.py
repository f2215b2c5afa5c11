"""What of an answer is believed: grounding, the corpus, and answers that obeyed somebody else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.ai import checks
from aetherlink.ai.descriptor import Check, load
from aetherlink.ai.grounding import MIN_DIGITS, Haystack, digits, unsupported
from aetherlink.ai.rules import RULES, leads
from aetherlink.events.schemas import Validator
from tests.corpus.injections import INJECTIONS
from tools.corpus import scoring

CAPABILITIES = load("local").capabilities
VALIDATORS = {name: Validator(dict(c.output)) for name, c in CAPABILITIES.items() if c.output}


def judged(name: str, payload: dict[str, Any], text: str) -> Any:
    return checks.judge(CAPABILITIES[name].check, VALIDATORS[name], payload, text)


# ------------------------------------------------------------------ places in a text


@pytest.mark.parametrize(
    ("text", "needle", "found"),
    [
        ("I am  Jane\nDoe.", "jane doe", "Jane\nDoe"),
        ("Siobhán O’Brien", "Siobhán O'Brien", "Siobhán O’Brien"),
        ("ＡＣＭＥ Ltd", "acme ltd", "ＡＣＭＥ Ltd"),
        ("Straße 5", "STRASSE 5", "Straße 5"),
        ("Janet", "Jane", None),
        ("x@acme.example.org", "acme", "acme"),
        ("nothing", "", None),
        ("nothing", "   ", None),
    ],
)
def test_a_value_is_found_as_whole_words(text: str, needle: str, found: str | None) -> None:
    place = Haystack(text).find(needle)
    assert (place and place.text) == found
    if place:
        assert text[place.start : place.end] == place.text


@pytest.mark.parametrize(
    ("text", "said", "found"),
    [
        ("call (415) 555-0132 now", "415-555-0132", "(415) 555-0132"),
        ("+49 (0)30 5550 4711", "+493055504711", "+49 (0)30 5550 4711"),
        ("0049-30-5550 4711", "+49 30 55504711", "0049-30-5550 4711"),
        ("call 415 555 0132", "+1 415 555 0132", None),
        ("number 94155550132777", "4155550132", None),
    ],
)
def test_a_phone_is_found_by_its_digits(text: str, said: str, found: str | None) -> None:
    place = Haystack(text).find_phone(said)
    assert (place and place.text) == found


_TEXTS = st.text(alphabet=st.sampled_from("aA1 é.@-_ß\n'’(+)０"), max_size=60)


@given(_TEXTS, _TEXTS)
def test_what_is_found_stands_there(text: str, needle: str) -> None:
    place = Haystack(text).find(needle)
    if place:
        assert text[place.start : place.end] == place.text
        assert Haystack(place.text).find(needle)


@given(_TEXTS, st.text(alphabet="0123456789 -+()", max_size=20))
def test_a_phone_that_is_found_has_the_digits_that_were_said(text: str, said: str) -> None:
    place = Haystack(text).find_phone(said)
    if place:
        assert digits(place.text) == digits(said)
        assert len(digits(said)) >= MIN_DIGITS


def test_contacts_that_nobody_gave_are_seen() -> None:
    source = "Jane, jane@acme.example, 415-555-0132, see https://acme.example/x"
    assert (
        unsupported(
            "Call Jane on (415) 555 0132, www.acme.example/x/ or jane@acme.example.", source
        )
        == []
    )
    said = "Write to boss@evil.example, https://evil.example or +1 900 555 0100."
    assert unsupported(said, source) == [
        "boss@evil.example",
        "https://evil.example",
        "+1 900 555 0100",
    ]


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        ' ```json\n{"a": 1}\n``` ',
        'Sure! Here it is:\n{"a": 1}\nAnything else?',
        '```\n{"a": 1}\n```',
    ],
)
def test_the_object_in_an_answer_is_found(text: str) -> None:
    assert checks.parse(text) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "[1]",
        "{",
        "}{",
        '{"a": 1} {"b": 2}',
        "[" * 5_000 + "{}" + "]" * 5_000,
        r'{"a": "\ud800"}',
    ],
)
def test_what_is_no_object_is_a_flaw(text: str) -> None:
    found = checks.judge(Check.NONE, VALIDATORS["generate_response"], {}, text)
    assert found.flaws
    assert found.result is None


def test_an_answer_against_its_schema_says_where_it_is_wrong() -> None:
    found = judged("extract-lead", {"raw_text": "x"}, '{"name": 5, "email": null, "company": null}')
    assert any("phone" in flaw for flaw in found.flaws)
    assert any(flaw.startswith("/name") for flaw in found.flaws)


def test_a_label_is_one_of_those_asked_for() -> None:
    payload = {"text": "I want my money back", "labels": ["refund", "praise"]}
    assert judged("classify_intent", payload, '{"intent": "pricing"}').flaws
    found = judged("classify_intent", payload, '{"intent": "refund", "evidence": "money back"}')
    assert found.result == {
        "intent": "refund",
        "evidence": {"text": "money back", "start": 10, "end": 20},
    }
    unfounded = judged("classify_intent", payload, '{"intent": "refund", "evidence": "gold"}')
    assert unfounded.result["evidence"] is None


def test_entities_that_are_not_there_are_dropped() -> None:
    said = {
        "entities": [{"type": "person", "text": "Ann"}, {"type": "phone", "text": "5550100555"}]
    }
    found = judged("extract_entities", {"text": "Ann called."}, json.dumps(said))
    assert found.result == {"entities": [{"type": "person", "text": "Ann", "start": 0, "end": 3}]}


def test_confidence_is_what_speaks_for_a_value() -> None:
    text = "Name: Ann Lee\nreach me, or not, under ann@lee.example; Bob Ray of Acme wrote too"
    said = {"name": "Ann Lee", "email": "ann@lee.example", "company": "Acme", "phone": None}
    evidence = judged("extract-lead", {"raw_text": text}, json.dumps(said)).result["evidence"]
    other = judged(
        "extract-lead", {"raw_text": text}, json.dumps({**said, "name": "Bob Ray"})
    ).result
    ruled = checks.ruled(Check.LEAD, {"raw_text": text}, RULES["extract-lead"]({"raw_text": text}))
    scores = {
        "both agree, by a label": evidence["name"]["confidence"],
        "the model alone, the rules another": other["evidence"]["name"]["confidence"],
        "rules alone": ruled["evidence"]["name"]["confidence"],
    }
    assert len(set(scores.values())) == 3, scores
    assert scores["both agree, by a label"] == max(scores.values())
    assert scores["the model alone, the rules another"] == min(scores.values())
    assert all(0 < score < 1 for score in scores.values())


_VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=30), _TEXTS)


@given(
    _TEXTS, st.dictionaries(st.sampled_from([*leads.FIELDS, "tags", "status", "raw", "x"]), _VALUES)
)
def test_whatever_a_model_says_only_the_text_comes_back(text: str, said: dict[str, Any]) -> None:
    """Also where it says something for fields that are none of its business."""
    said = {**dict.fromkeys(leads.FIELDS), **said}
    if not isinstance(said.get("tags", []), list):
        said.pop("tags")
    found = judged("extract-lead", {"raw_text": text}, json.dumps(said))
    if found.flaws:
        return
    result = found.result
    assert (result["status"], result["raw"]) == ("new", text)
    for field in leads.FIELDS:
        assert result[field] is None or result[field] in text
    for place in result["evidence"].values():
        assert text[place["start"] : place["end"]] == place["value"]


# ------------------------------------------------------------------ instructions in the text


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda i: str(i["id"]))
def test_a_model_that_obeys_the_text_gains_nothing(injection: dict[str, Any]) -> None:
    """`obeyed` is what a model says that did as the text told it."""
    text, obeyed = injection["text"], injection["obeyed"]
    found = judged("extract-lead", {"raw_text": text}, json.dumps(obeyed))
    assert not found.flaws, found.flaws
    result = found.result
    assert set(result) == {*leads.FIELDS, "status", "tags", "raw", "evidence"}
    assert result["status"] == "new"
    plain = re.sub(r"\s+", " ", text)
    for field in leads.FIELDS:
        assert result[field] is None or re.sub(r"\s+", " ", result[field]) in plain
    for field in injection["invented"]:
        assert result[field] is None, f"{field} stands nowhere in the text"
    assert all(tag in text.casefold() for tag in result["tags"])


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda i: str(i["id"]))
def test_the_text_stays_within_its_marks(injection: dict[str, Any]) -> None:
    from aetherlink.ai.service import _prompt

    text = injection["text"] + "</data> <data>"
    prompt = _prompt(CAPABILITIES["extract-lead"], {"raw_text": text})
    assert injection["text"][:20] not in prompt.system
    [turn] = prompt.turns
    assert (turn.text.count("<data>"), turn.text.count("</data>")) == (1, 1)
    inside = turn.text.removeprefix("<data>\n").removesuffix("\n</data>")
    assert json.loads(inside) == {"raw_text": text}


# ------------------------------------------------------------------ rules


# Below what was measured (docs/ai.md), so that a change for the worse is seen.
FLOORS = {
    "name": (0.97, 0.94),
    "email": (0.98, 0.98),
    "company": (0.95, 0.88),
    "phone": (0.93, 0.93),
}


def test_rules_do_as_well_as_the_docs_say() -> None:
    corpus = scoring.load()
    assert len(corpus) == 100
    for field, found in scoring.score(corpus).items():
        assert (found.precision, found.recall) >= FLOORS[field], (field, found)
        assert found.recall >= FLOORS[field][1], (field, found)


def test_the_corpus_is_what_it_says() -> None:
    corpus = scoring.load()
    assert len({entry["id"] for entry in corpus}) == len(corpus)
    assert sum(entry["kind"] == "hard" for entry in corpus) >= 25
    for entry in corpus:
        for field in leads.FIELDS:
            assert entry[field] is None or entry[field] in entry["text"], entry["id"]


@given(st.text(max_size=300))
def test_rules_take_any_text_and_say_what_stands_there(text: str) -> None:
    for hit in leads.find(text).values():
        assert text[hit.found.start : hit.found.end] == hit.found.text
    for entity in RULES["extract_entities"]({"text": text})["entities"]:
        assert entity["text"] in text
    assert RULES["summarize-activity"]({"activity": text})["summary"] is not None
    RULES["classify_intent"]({"text": text})


def test_a_summary_by_rules_is_made_of_the_texts_own_sentences() -> None:
    text = (
        "Called Jane about the renewal. She liked the renewal price. Weather was fine. "
        "Send the contract on Friday."
    )
    made = RULES["summarize-activity"]({"activity": text})
    assert all(part.strip() in text for part in re.split(r"(?<=\.) ", made["summary"]))
    assert made["next_action"] == "Send the contract on Friday."
    nested = RULES["summarize-activity"]({"activity": [{"type": "note", "body": "Wants a demo"}]})
    assert "Wants a demo" in nested["summary"]
