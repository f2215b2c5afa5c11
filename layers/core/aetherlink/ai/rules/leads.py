"""Name, e-mail, company and phone number of whoever wrote a text, by labels, phrases and shapes. Pure.

In the order of how much a way of finding says: a label ("Firma: …"), a phrase with which people introduce
themselves ("my name is …"), a header or a signature. Precision before recall: a field that nothing points
at stays empty, since a person fills it sooner than they notice a wrong one. `python -m tools.corpus` tells
how well it does (docs/ai.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aetherlink.ai.grounding import EMAIL, NUMBER, Found, digits

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = ("name", "email", "company", "phone")
MAX_TAGS = 5


class How(StrEnum):
    """What points at a value."""

    LABEL = "label"
    PHRASE = "phrase"
    PLACE = "place"
    SHAPE = "shape"


@dataclass(frozen=True)
class Hit:
    found: Found
    how: How


_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
_ENTITY = re.compile(r"&(?:nbsp|amp|quot|lt|gt|#\d+);")

# One word of a name: a capital, an initial with its dot; in between, particles.
_WORD = r"(?:[^\W\d_a-zß-öø-ÿ][^\W\d_]*(?:['’-][^\W\d_]+)*\.?)"
_PARTICLE = r"(?:van|von|de|der|den|del|da|di|la|le|el|al|bin|ter|zu)"
_NAME = rf"{_WORD}(?:[ \t]+(?:{_PARTICLE}[ \t]+)*{_WORD}){{0,3}}"
_TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Sr|Sra|M|Mme)\b\.?[ \t]+)*"
_FORM = (
    r"Inc|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Company|Co|PLC|LLP|GmbH(?: & Co\.? KG)?|AG|KG|OHG|UG|SE|"
    r"S\.?A\.?R\.?L|SARL|SAS|S\.L|S\.A|S\.r\.l|S\.p\.A|B\.V|BV|N\.V|AB|AS|ASA|Oy|A/S|ApS|Pte Ltd|Pty Ltd|Lda"
)
_TRADE = (
    r"Labs|Systems|Software|Group|Groupe|Partners|Industries|Technologies|Solutions|Logistics|Ventures|Bank|"
    r"Media|Insurance|Health|Clinics|Retail|Energy|Foods|Analytics|Freight|Security|Enterprises|Holdings|"
    r"Consulting|Studio|Studios|Hotels|Bakery|Print|Shipping|Logistik|Maschinenbau|Stadtwerke|Traders"
)
_PART = (
    r"(?:\d{0,2}[^\W\d_a-zß-öø-ÿ][\w'’&-]*(?:\.\w[\w'’&-]*)*|\d[\w-]*[^\W\d_]\w*|&|and|of|de|del|do|da|des|du|y|e|et|"
    r"und)"
)
_COMPANY = rf"(?:{_PART})(?:[ \t]+(?:{_PART})){{0,7}}"


def _label(words: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:^|[|;,\n>])[ \t]*(?:{words})[ \t]*(?:[:=]|[ \t]-[ \t])[ \t]*(?P<value>[^\n|<;]+)",
        re.IGNORECASE,
    )


_NAME_LABEL = _label(
    r"(?:full |your |contact |lead )?name(?: is)?|contact(?: person| name)?|ansprechpartner(?:in)?|nom(?: complet)?|"
    r"nombre|nome|naam|namn|imię i nazwisko|attention|attn|champion|reply from"
)
_COMPANY_LABEL = _label(
    r"company(?: name)?|organi[sz]ation|employer|firm|business|firma|unternehmen|entreprise|soci[ée]t[ée]|empresa|"
    r"azienda|bedrijf|företag|prospect|account|inbound"
)
_FIRST_LABEL = re.compile(
    r"\b(?:first|last|given|family|sur|vor|nach) ?name\b|prénom|apellido", re.IGNORECASE
)
_INTRODUCTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:my name is|name is|mein name ist|je m['’]appelle|mi nombre es|me llamo|mi chiamo|mijn naam is|"
        rf"(?:o )?meu nome é|nazywam się|attention|attn:?)) {_TITLE}(?P<name>{_NAME})",
        rf"(?i:\b(?:this is|i['’]m|i am|ich bin|je suis|soy|ben|lead is|contact is|contact =|buyer:?)) "
        rf"{_TITLE}(?P<name>{_NAME})",
        rf"(?i:\b(?:spoke w(?:/|ith)|call w(?:/|ith)?|met|submission from|telefonat mit)) {_TITLE}(?P<name>{_NAME})",
        rf"(?i:\basked me), (?P<name>{_NAME}),",
        rf"(?P<name>{_NAME}) (?i:here with|here from|from|of|at)\b",
        # Lower-case people are believed where the phrase leaves no doubt.
        r"(?i:\b(?:its|it['’]s|this is|hier ist (?:der|die))) (?P<name>[^\W\d_]+)(?= (?i:from|von|at)\b)",
    )
)
_COMPANIES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<company>{_COMPANY}[ \t](?:(?:{_FORM})\b(?:[ \t]&[ \t]Co\.[ \t]KG)?))(?P<dot>\.?)",
        rf"(?i:\b(?:work (?:at|for)|from|von der firma|von der|van|della|(?:de|chez) la société|de la société|"
        rf"trabajo en|chez|firma|our (?:company|startup)|company is|behalf of|procurement for|here with|"
        rf"calling from|founder of|[ck][eftio]o (?:of|@)|we are|we['’]re|we at)),? (?P<company>{_COMPANY})",
        rf"{_NAME},? (?i:of|at|@|from|with|de|da|della|von der|von|van|bei|chez|firma) (?P<company>{_COMPANY})",
        rf"(?i:\b(?:of|at|@)) (?P<company>{_COMPANY})",
        rf"\b(?P<company>{_COMPANY}[ \t](?:{_TRADE})\b)",
        rf"\b(?P<company>(?:{_TRADE})[ \t]{_COMPANY})",
        r"(?i:\b(?:its|it['’]s|this is) [^\W\d_]+ from )(?P<company>[^\W\d_]+(?: [^\W\d_]+)?)(?=[,.!\n]|$)",
        r"(?i:\bvon der firma )(?P<company>[^\W\d_]+)",
        rf"{_NAME} \((?P<company>{_COMPANY})\)",
    )
)
_CLOSING = re.compile(
    r"^\W*(?:(?:kind|best|warm|many)? ?regards|best|thanks|thank you|thx|cheers|yours (?:sincerely|faithfully|truly)|"
    r"sincerely|with kind regards|mit freundlichen grüßen|viele grüße|gruß|cordialement|un saludo|saludos|gracias|merci|"
    r"met vriendelijke groet|atentamente|--)[\s,.!]*",
    re.IGNORECASE,
)
_HEADER = re.compile(
    rf"^>? ?(?:From|On .{{0,40}}?):? ?\"?(?P<name>{_NAME})\"? (?:<|&lt;)(?P<email>[^>\s]+@[^>\s]+)>",
    re.MULTILINE,
)
# Words with a capital that are nobody's name.
_NO_NAME = frozenset(
    """hi hello hey dear good morning afternoon thanks thank regards best kind we i you the this please our my company
    sales support team order invoice ticket server subject from to re fw fwd date budget seats message sent new note
    meeting inbound referral contact email mail phone tel mobile name next monday tuesday wednesday thursday friday
    january february march april may june july august september october november december interested looking not
    writing calling head director manager vp ceo cto cfo lead senior procurement leiter geschäftsführer gerente
    directrice platform managing merhaba hallo hola bonjour guten tag olá buongiorno visitor bot cell card company
    discovery left try email mobile unsere rechnung kundennummer pedido commande""".split()
)
_BESIDE = (
    re.compile(rf"(?P<name>{_NAME}),? ?[,(:<] ?[\w.+-]+@"),
    re.compile(
        rf"(?i:\b(?:regards|thanks|cheers|best|gruß|grüße|merci|gracias|cordialement)),? (?P<name>{_NAME})\W*(?:\n|$)"
    ),
    re.compile(rf"(?P<name>{_NAME}), {_COMPANY}[ \t](?:{_FORM}|{_TRADE})\b"),
    re.compile(rf"(?P<name>{_NAME}), [^,\n]{{2,30}}, {_COMPANY}[ \t](?:{_FORM}|{_TRADE})\b"),
)
_ROLE = re.compile(
    r"\b(?:head|director|vp|ceo|cto|cfo|coo|lead|leiter|manager|engineer|developer|gerente|directrice|procurement|"
    r"founder|sre|sales|platform|managing|senior|officer|it)\b",
    re.IGNORECASE,
)
_PHONE_BEFORE = re.compile(
    r"(?:phone|tel(?:efon|éfono|efone|éphone)?|mobil\w*|cell|call|line|number|numéro|fon|durchwahl|zentrale|unter|rückruf|"
    r"rappeler au|reach me|ring|bel me op|[tm])\W*(?:is|at|on|me at|me on|back at|back|me)?\W*$",
    re.IGNORECASE,
)
_NO_PHONE_BEFORE = re.compile(
    r"\b(?:order|invoice|ticket|tracking|number is 1z|iban|po|ref|rechnung|kundennummer|pedido|commande|facture|order no|"
    r"street|springfield|account|customer|id|hrb|ust-idnr|no)\W*(?:no|nr|number|is|lautet|[a-z]{2}\d{2})?\W*$",
    re.IGNORECASE,
)
_NO_PHONE = re.compile(
    r"\d{1,3}(?:\.\d{1,3}){3}|(?:19|20)\d{2}-\d{2}-\d{2}.*|\d{1,2}[./]\d{1,2}[./](?:\d{2}|\d{4})\b.*|"
    r"\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{2})?|\d{8}-\d{4}|\d{5}-\d{4}"
)
# Two numbers of as many digits with a dash are rather from one to the other.
_RANGE = re.compile(r"\d{3,4}[-–]\d{3,4}")
_OLD = re.compile(r"\b(?:stop calling|old|former|wrong)\b", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?P<what>name|company)\?\s*\n[^:\n]*:[ \t]*(?P<value>[^\n]+)", re.IGNORECASE
)
# "Sanne de Vries van Tulp Software": what follows the last particle is more than a family name.
_BELONGING = re.compile(rf"[ \t]{_PARTICLE}(?:[ \t]{_PARTICLE})*[ \t]{_WORD}[ \t]{_WORD}$")
# Legal forms that are written with a full stop.
_DOTTED = re.compile(r"\b(?:Inc|Ltd|Corp|Co|S\.L|S\.A|B\.V|S\.r\.l|S\.p\.A|L\.L\.C)$")
# Where words in capitals are no end of a sentence.
_STOPS = re.compile(r"[ \t](?:FROM|OF|AT|CALL|AND|PLEASE|IS|WITH|FOR|MAIL|EMAIL)\b")


def find(text: str) -> dict[str, Hit]:
    """What is there of the four fields, and what points at it."""
    # Marks of a page are blanked, so that every place stays where it was.
    plain = _TAG.sub(lambda m: " " * (len(m.group()) - 1) + "\n", text)
    plain = _ENTITY.sub(lambda m: " " * len(m.group()), plain)
    hits: dict[str, Hit] = {}
    for name, hit in (
        ("email", _email(plain)),
        ("phone", _phone(plain)),
        ("name", _name(plain)),
    ):
        if hit:
            hits[name] = hit
    company = _company(plain, hits["name"].found.text if "name" in hits else "")
    if company:
        hits["company"] = company
    return hits


def fields(text: str) -> dict[str, Any]:
    """The same as a model would say it."""
    hits = find(text)
    return {**{f: hits[f].found.text if f in hits else None for f in FIELDS}, "tags": tags(text)}


def tags(text: str) -> list[str]:
    """Words of the text that say what the lead is about."""
    found = []
    for match in _TOPIC.finditer(text):
        word = match.group().casefold()
        if word not in found:
            found.append(word)
    return found[:MAX_TAGS]


_TOPIC = re.compile(
    r"\b(?:demo|pricing|quote|price|contract|trial|enterprise|integration|support|migration|renewal|partnership|"
    r"angebot|preis|devis|offerta|oferta|offerte|urgent|asap)\b",
    re.IGNORECASE,
)


# ------------------------------------------------------------------ e-mail


def _email(text: str) -> Hit | None:
    best: tuple[int, Hit] | None = None
    for match in EMAIL.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        line = before.rpartition("\n")[2]
        score = 0
        if re.search(
            r"(?:e-?mail|mail|correo|courriel|e-post|write to|reach me)\W*(?:is|me)?\W*$",
            line,
            re.I,
        ):
            score += 2
        if re.search(r"\b(?:to|cc|noreply)\b\W*$", line, re.I) and not re.search(
            r"write to\W*$|Reply-To", line, re.I
        ):
            score -= 3
        if re.search(r"\bnot my\b|told to write to", before.rpartition("@")[2], re.I):
            score -= 4
        if re.match(r"(?:no-?reply|sales|support|info)@|.*@aether\.", match.group(), re.I):
            score -= 2
        how = How.LABEL if score >= 2 else How.SHAPE
        if best is None or score > best[0]:
            best = (score, Hit(_found(text, match.start(), match.end()), how))
    return best[1] if best and best[0] > -2 else _lonely(text)


def _lonely(text: str) -> Hit | None:
    """A general address is better than none, if nobody else's stands there."""
    found = [
        m for m in EMAIL.finditer(text) if not re.match(r"no-?reply@|.*@aether\.", m.group(), re.I)
    ]
    return (
        Hit(_found(text, found[0].start(), found[0].end()), How.SHAPE) if len(found) == 1 else None
    )


# ------------------------------------------------------------------ phone


def _phone(text: str) -> Hit | None:
    without = EMAIL.sub(lambda m: "@" * len(m.group()), text)
    best: tuple[int, Hit] | None = None
    for match in NUMBER.finditer(without):
        value = match.group().rstrip(" .-/(")
        start, end = match.start(), match.start() + len(value)
        count = len(digits(value))
        line = without[max(0, start - 40) : start].rpartition("\n")[2]
        is_called = bool(_PHONE_BEFORE.search(line))
        if not 7 <= count <= 15 or _NO_PHONE.fullmatch(value) or _NO_PHONE_BEFORE.search(line):
            continue
        if _RANGE.fullmatch(value) and not is_called:
            continue
        has_shape = value.startswith(("+", "(", "0")) or re.search(r"\d[ .\-/]\d", value)
        if not (is_called or has_shape) or (not is_called and re.search(r"[€$£]\s?$", line)):
            continue
        score = 2 * is_called + value.startswith(("+", "0", "("))
        if _OLD.search(line) or _OLD.search(without[end : end + 25].partition(".")[0]):
            score -= 4
        if best is None or score > best[0]:
            how = How.LABEL if is_called else How.SHAPE
            best = (score, Hit(_found(text, start, end), how))
    return best[1] if best else None


# ------------------------------------------------------------------ name


def _name(text: str) -> Hit | None:
    for match in _NAME_LABEL.finditer(text):
        if _FIRST_LABEL.search(text[max(0, match.start() - 8) : match.start("value")]):
            continue
        value = re.sub(rf"^{_TITLE}", "", match.group("value")).split(",")[0].strip(" .-")
        if value and re.fullmatch(r"[^\W\d_][\w .'’-]{0,79}", value) and not EMAIL.search(value):
            start = text.index(value, match.start("value"))
            return Hit(_found(text, start, start + len(value)), How.LABEL)
    for match in _ASKED.finditer(text):
        if match.group("what").casefold() == "name":
            hit = _as_name(text, match.start("value"), match.end("value"), How.LABEL)
            if hit:
                return hit
    for pattern in _INTRODUCTIONS[:4]:
        for match in pattern.finditer(text):
            hit = _as_name(text, match.start("name"), match.end("name"), How.PHRASE)
            if hit:
                return hit
    for match in _HEADER.finditer(text):
        hit = _as_name(text, match.start("name"), match.end("name"), How.PLACE)
        if hit:
            return hit
    return _signed(text) or _beside(text) or _introduced(text)


def _beside(text: str) -> Hit | None:
    """A whole name just before an address or a company's legal form, or after a closing within a line."""
    for pattern in _BESIDE:
        match = pattern.search(text)
        hit = _as_name(text, match.start("name"), match.end("name"), How.PLACE) if match else None
        if hit and " " in hit.found.text:
            return hit
    return None


def _introduced(text: str) -> Hit | None:
    for pattern in _INTRODUCTIONS[4:]:
        for match in pattern.finditer(text):
            hit = _as_name(text, match.start("name"), match.end("name"), How.PHRASE, least=1)
            if hit and (pattern is _INTRODUCTIONS[-1] or " " in hit.found.text):
                return hit
    return None


def _signed(text: str) -> Hit | None:
    """The line after a closing, or a last line that is a name and little else."""
    for start, line in _lines(text):
        closing = _CLOSING.match(line)
        if closing is None:
            continue
        rest = line[closing.end() :]
        places = [(start + closing.end(), rest), *list(_lines(text, start + len(line) + 1))[:4]]
        best = None
        for at, following in places:
            hit = _whole_name(text, at, following)
            if hit and (best is None or " " in hit.found.text > " " in best.found.text):
                best = hit
            if hit and " " in hit.found.text:
                return hit
        if best:
            return best
    for start, line in reversed(list(_lines(text))):
        hit = _whole_name(text, start, line)
        if hit and (" " in hit.found.text or line.strip() == hit.found.text):
            return hit
    # "…, Olivia" at the very end.
    last = re.search(rf"[,.!?][ \t]+(?:- )?(?P<name>{_WORD})\W*(?:\(|$)", text)
    return _as_name(text, last.start("name"), last.end("name"), How.PLACE) if last else None


def _whole_name(text: str, at: int, line: str) -> Hit | None:
    match = re.match(rf"[\W_]*{_TITLE}(?P<name>{_NAME})[ \t]*(?=$|[,|/()–-]| [-@])", line)
    if match is None:
        return None
    if _ROLE.search(match.group("name")) or re.search(
        rf"\b(?:{_FORM}|{_TRADE})\b", match.group("name")
    ):
        return None
    return _as_name(text, at + match.start("name"), at + match.end("name"), How.PLACE)


def _as_name(text: str, start: int, end: int, how: How, *, least: int = 0) -> Hit | None:
    value = text[start:end]
    for pattern in (_STOPS, _BELONGING):
        cut = pattern.search(value)
        if cut:
            value = value[: cut.start()]
            end = start + len(value)
    words = value.split()
    while words and words[-1].casefold().strip(".,") in _NO_NAME:
        words.pop()
    while words and words[0].casefold().strip(".,") in _NO_NAME:
        start += value.index(words[0]) + len(words[0])
        while start < end and text[start].isspace():
            start += 1
        value = text[start:end]
        words.pop(0)
    if not words or len(words) < least:
        return None
    end = start + value.index(words[-1], value.rfind(words[-1])) + len(words[-1])
    value = text[start:end]
    # A full stop ends a sentence unless it follows an initial.
    if value.endswith(".") and len(words[-1]) > 2:
        end -= 1
    if len(words) == 1 and len(words[0].strip(".")) < 2:
        return None
    return Hit(_found(text, start, end), how)


# ------------------------------------------------------------------ company


def _company(text: str, name: str) -> Hit | None:
    for match in _COMPANY_LABEL.finditer(text):
        value = re.split(r"[,(]", match.group("value"))[0].strip(" .-") + (
            "."
            if re.search(r"(?:Inc|S\.L|S\.A|B\.V|Co|S\.r\.l)\.\s*$", match.group("value"))
            else ""
        )
        value = value if value in text else value.rstrip(".")
        if value and value.casefold() not in ("n/a", "none", "na", "-") and not EMAIL.search(value):
            start = text.index(value, match.start("value"))
            return Hit(_found(text, start, start + len(value)), How.LABEL)
    without = EMAIL.sub(lambda m: "@" * len(m.group()), text)
    for match in _ASKED.finditer(without):
        if match.group("what").casefold() == "company":
            hit = _as_company(text, without, match.start("value"), match.group("value").strip())
            if hit:
                return hit
    for pattern in _COMPANIES:
        for match in pattern.finditer(without):
            value = match.group("company").strip(" ,-")
            cut = _STOPS.search(value)
            value = value[: cut.start()] if cut else value
            if "dot" in pattern.groupindex and match.group("dot") and _DOTTED.search(value):
                value += "."
            if re.search(
                r"\b(?:referral|number|message|sent) from $",
                without[: match.start("company")][-20:],
                re.I,
            ):
                continue
            hit = _as_company(text, without, match.start("company"), value)
            if hit and hit.found.text != name:
                return hit
    return _below_the_name(text, name)


def _as_company(text: str, without: str, start: int, value: str) -> Hit | None:
    words = value.split()
    while words and words[0].casefold().strip(".,") in (
        _NO_NAME | {"and", "und", "de", "e", "y", "of"}
    ):
        start += value.index(words[0]) + len(words[0])
        while start < len(without) and without[start].isspace():
            start += 1
        words.pop(0)
        value = " ".join(words)
    while words and words[-1].casefold() in {"and", "und", "de", "of", "e", "y", "&", "da", "do"}:
        words.pop()
    value = " ".join(words)
    value = value.removesuffix("'s").removesuffix("’s")
    if len(value.strip(".")) < 2 or not without.startswith(value, start):
        return None
    if value.endswith(".") and not _DOTTED.search(value[:-1]):
        value = value[:-1]
    if not re.search(r"[^\W\d_]", value) or re.fullmatch(
        r"(?:Berlin|London|Paris|Monday|Friday)", value
    ):
        return None
    return Hit(_found(text, start, start + len(value)), How.PHRASE)


def _below_the_name(text: str, name: str) -> Hit | None:
    """In a signature: beside the role, or the line after the name and the role."""
    lines = list(_lines(text))
    at_name = next((n for n, (_, line) in enumerate(lines) if name and name in line), None)
    if at_name is None or not _whole_name(text, *lines[at_name]):
        return None
    for start, line in lines[at_name : at_name + 4]:
        for part in re.finditer(r"[^,|/–]+|(?<= )-(?= )", line):
            piece = part.group().strip(" -")
            if not piece or piece == name or name in piece or _CLOSING.match(piece):
                continue
            if _ROLE.search(piece) or EMAIL.search(piece) or NUMBER.search(piece) or ":" in piece:
                continue
            if re.fullmatch(rf"{_COMPANY}\.?", piece) and piece.casefold() not in _NO_NAME:
                found = text.index(piece, start + part.start())
                return Hit(_found(text, found, found + len(piece)), How.PLACE)
    return None


# ------------------------------------------------------------------ places


def _lines(text: str, begin: int = 0) -> Iterator[tuple[int, str]]:
    start = begin
    for line in text[begin:].split("\n"):
        if line.strip():
            yield start, line
        start += len(line) + 1


def _found(text: str, start: int, end: int) -> Found:
    return Found(text[start:end], start, end)
