"""Name, e-mail, company and phone number of whoever wrote a text, by labels, phrases and shapes. Pure.

In the order of how much a way of finding says: a label ("Firma: …"), a phrase with which people introduce
themselves ("my name is …"), a header or a signature. Precision before recall: a field that nothing points
at stays empty, since a person fills it sooner than they notice a wrong one. `python -m tools.corpus` tells
how well it does (docs/ai.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.rules.company import company as company_of
from aetherlink.ai.rules.contact import email, phone
from aetherlink.ai.rules.person import name as name_of
from aetherlink.ai.rules.vocabulary import ENTITY, TAG, TOPIC

if TYPE_CHECKING:
    from aetherlink.ai.rules.hit import Hit

FIELDS = ("name", "email", "company", "phone")
MAX_TAGS = 5


def find(text: str) -> dict[str, Hit]:
    """What is there of the four fields, and what points at it."""
    # Marks of a page are blanked, so that every place stays where it was.
    plain = TAG.sub(lambda m: " " * (len(m.group()) - 1) + "\n", text)
    plain = ENTITY.sub(lambda m: " " * len(m.group()), plain)
    tried = {"email": email(plain), "phone": phone(plain), "name": name_of(plain)}
    hits = {field: hit for field, hit in tried.items() if hit}
    found = company_of(plain, hits["name"].found.text if "name" in hits else "")
    if found:
        hits["company"] = found
    return hits


def fields(text: str) -> dict[str, Any]:
    """The same as a model would say it."""
    hits = find(text)
    return {**{f: hits[f].found.text if f in hits else None for f in FIELDS}, "tags": tags(text)}


def tags(text: str) -> list[str]:
    """Words of the text that say what the lead is about."""
    found = []
    for match in TOPIC.finditer(text):
        word = match.group().casefold()
        if word not in found:
            found.append(word)
    return found[:MAX_TAGS]
