"""What an answer has to prove before it is believed. Pure.

An answer that does not stand up comes back with its flaws, which the model is told once; of what does
stand up, each value is given with the place in the text where it was found and with a confidence that is
drawn from what speaks for it. Nothing else of an answer is looked at: it names no tenant, starts nothing
and allows nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aetherlink.ai.descriptor import Check
from aetherlink.ai.grounding import EMAIL, Found, Haystack, unsupported
from aetherlink.ai.model import Judged
from aetherlink.ai.rules import intents, leads
from aetherlink.ai.rules.hit import Hit, How
from aetherlink.ai.rules.leads import FIELDS
from aetherlink.ai.rules.summary import flat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.events.schemas import Validator

MAX_FLAWS = 5
MAX_VALUE = {"name": 160, "email": 254, "company": 160, "phone": 40}
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


def parse(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer: alone, in a code fence, or with talk around it."""
    fenced = _FENCE.match(text)
    body = fenced.group(1) if fenced else text
    start, end = body.find("{"), body.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(body[start : end + 1])
        # Half a character cannot be answered, whatever is made of the rest.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def judge(
    check: Check, validator: Validator | None, payload: Mapping[str, Any], text: str
) -> Judged:
    """What is taken of a model's answer to `payload`."""
    if validator is None:
        return Judged(text) if text.strip() else Judged(flaws=("the answer is empty",))
    said = parse(text)
    if said is None:
        return Judged(flaws=("the answer is not one JSON object",))
    flaws = validator.flaws(said, at="")
    if flaws:
        return Judged(
            flaws=tuple(f"{f.pointer or 'answer'}: {f.detail}" for f in flaws[:MAX_FLAWS])
        )
    return _CHECKS[check](payload, said)


def ruled(check: Check, payload: Mapping[str, Any], said: Mapping[str, Any]) -> Any:
    """The same for what rules said; that stands in the text by its making."""
    if check is Check.LEAD:
        return _lead(str(payload["raw_text"]), said, is_model=False)
    return _CHECKS[check](payload, said).result


# ------------------------------------------------------------------ leads


def _judge_lead(payload: Mapping[str, Any], said: Mapping[str, Any]) -> Judged:
    return Judged(_lead(str(payload["raw_text"]), said, is_model=True))


def _lead(text: str, said: Mapping[str, Any], *, is_model: bool) -> dict[str, Any]:
    haystack = Haystack(text)
    by_rule = leads.find(text)
    evidence = {}
    for field in FIELDS:
        found = _place(field, said.get(field), haystack, by_rule.get(field))
        if found:
            evidence[field] = {
                "value": found.text,
                "start": found.start,
                "end": found.end,
                "confidence": confidence(field, found, by_rule.get(field), is_model=is_model),
            }
    tags = [
        tag.strip().casefold()
        for tag in said.get("tags") or ()
        if isinstance(tag, str) and haystack.find(tag)
    ]
    return {
        **{field: evidence.get(field, {}).get("value") for field in FIELDS},
        "status": "new",
        "tags": list(dict.fromkeys(tags))[: leads.MAX_TAGS],
        "raw": text,
        "evidence": evidence,
    }


def _place(field: str, value: Any, haystack: Haystack, hit: Hit | None) -> Found | None:
    """Where a value stands; None if it does not, or has not the shape of its field."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_VALUE[field]:
        return None
    if hit and hit.found.text == value:
        return hit.found
    found = haystack.find_phone(value) if field == "phone" else haystack.find(value)
    if found is None or (field == "email" and not EMAIL.fullmatch(found.text)):
        return None
    if field in ("name", "company") and (
        not re.search(r"[^\W\d_]", found.text) or "@" in found.text
    ):
        return None
    return found


def confidence(field: str, found: Found, hit: Hit | None, *, is_model: bool) -> float:
    """What speaks for a value, from 0 to 1: that it stands in the text, that its shape is that of the
    field, that the rules found the same by another way than its shape, that a model said so too. No
    sum of these is certainty; a person confirms.
    """
    score = 0.4
    if field == "email" or (
        field == "phone" and found.text.lstrip().startswith(("+", "00", "(", "0"))
    ):
        score += 0.2
    agrees = hit is not None and hit.found.text == found.text
    if agrees and hit:
        score += {How.LABEL: 0.25, How.PHRASE: 0.2, How.PLACE: 0.15, How.SHAPE: 0.05}[hit.how]
    if agrees and is_model:
        score += 0.1
    elif hit is not None and not agrees:
        # Model and rules point at different places.
        score -= 0.15
    return round(score, 2)


# ------------------------------------------------------------------ the others


def _judge_contacts(payload: Mapping[str, Any], said: Mapping[str, Any]) -> Judged:
    """Free text may say nothing of addresses, numbers and links that nobody gave it."""
    source = flat(dict(payload))
    invented = [
        piece
        for value in said.values()
        if isinstance(value, str)
        for piece in unsupported(value, source)
    ]
    if invented:
        listed = ", ".join(repr(piece) for piece in invented[:MAX_FLAWS])
        return Judged(flaws=(f"it names {listed}, which the data does not contain",))
    return Judged(dict(said))


def _judge_label(payload: Mapping[str, Any], said: Mapping[str, Any]) -> Judged:
    labels = list(payload.get("labels") or (*intents.WORDS, intents.OTHER))
    if said["intent"] not in {*labels, intents.OTHER}:
        return Judged(flaws=(f"intent must be one of {', '.join(labels)} or {intents.OTHER}",))
    quote = said.get("evidence")
    found = Haystack(str(payload["text"])).find(quote) if isinstance(quote, str) else None
    return Judged(
        {
            "intent": said["intent"],
            "evidence": found and {"text": found.text, "start": found.start, "end": found.end},
        }
    )


def _judge_entities(payload: Mapping[str, Any], said: Mapping[str, Any]) -> Judged:
    haystack = Haystack(str(payload["text"]))
    kept = []
    for entity in said["entities"]:
        is_phone = entity["type"] == "phone"
        found = (haystack.find_phone if is_phone else haystack.find)(entity["text"])
        if found:
            kept.append(
                {"type": entity["type"], "text": found.text, "start": found.start, "end": found.end}
            )
    return Judged({"entities": kept})


def _judge_nothing(_payload: Mapping[str, Any], said: Mapping[str, Any]) -> Judged:
    return Judged(dict(said))


_CHECKS: dict[Check, Callable[[Mapping[str, Any], Mapping[str, Any]], Judged]] = {
    Check.LEAD: _judge_lead,
    Check.CONTACTS: _judge_contacts,
    Check.LABEL: _judge_label,
    Check.ENTITIES: _judge_entities,
    Check.NONE: _judge_nothing,
}
