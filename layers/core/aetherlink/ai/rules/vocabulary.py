"""The words and shapes by which leads are found, in the languages that people write to us in."""

from __future__ import annotations

import re

TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
ENTITY = re.compile(r"&(?:nbsp|amp|quot|lt|gt|#\d+);")

# One word of a name: a capital, an initial with its dot; in between, particles.
WORD = r"(?:[^\W\d_a-zß-öø-ÿ][^\W\d_]*(?:['’-][^\W\d_]+)*\.?)"
PARTICLE = r"(?:van|von|de|der|den|del|da|di|la|le|el|al|bin|ter|zu)"
NAME = rf"{WORD}(?:[ \t]+(?:{PARTICLE}[ \t]+)*{WORD}){{0,3}}"
TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Sr|Sra|M|Mme)\b\.?[ \t]+)*"
FORM = (
    r"Inc|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Company|Co|PLC|LLP|GmbH(?: & Co\.? KG)?|AG|KG|OHG|UG|SE|"
    r"S\.?A\.?R\.?L|SARL|SAS|S\.L|S\.A|S\.r\.l|S\.p\.A|B\.V|BV|N\.V|AB|AS|ASA|Oy|A/S|ApS|Pte Ltd|Pty Ltd|Lda"
)
TRADE = (
    r"Labs|Systems|Software|Group|Groupe|Partners|Industries|Technologies|Solutions|Logistics|Ventures|Bank|"
    r"Media|Insurance|Health|Clinics|Retail|Energy|Foods|Analytics|Freight|Security|Enterprises|Holdings|"
    r"Consulting|Studio|Studios|Hotels|Bakery|Print|Shipping|Logistik|Maschinenbau|Stadtwerke|Traders"
)
PART = (
    r"(?:\d{0,2}[^\W\d_a-zß-öø-ÿ][\w'’&-]*(?:\.\w[\w'’&-]*)*|\d[\w-]*[^\W\d_]\w*|&|and|of|de|del|do|da|des|du|y|e|et|"
    r"und)"
)
COMPANY = rf"(?:{PART})(?:[ \t]+(?:{PART})){{0,7}}"


def _label(words: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:^|[|;,\n>])[ \t]*(?:{words})[ \t]*(?:[:=]|[ \t]-[ \t])[ \t]*(?P<value>[^\n|<;]+)",
        re.IGNORECASE,
    )


NAME_LABEL = _label(
    r"(?:full |your |contact |lead )?name(?: is)?|contact(?: person| name)?|ansprechpartner(?:in)?|nom(?: complet)?|"
    r"nombre|nome|naam|namn|imię i nazwisko|attention|attn|champion|reply from"
)
COMPANY_LABEL = _label(
    r"company(?: name)?|organi[sz]ation|employer|firm|business|firma|unternehmen|entreprise|soci[ée]t[ée]|empresa|"
    r"azienda|bedrijf|företag|prospect|account|inbound"
)
FIRST_LABEL = re.compile(
    r"\b(?:first|last|given|family|sur|vor|nach) ?name\b|prénom|apellido", re.IGNORECASE
)
INTRODUCTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:my name is|name is|mein name ist|je m['’]appelle|mi nombre es|me llamo|mi chiamo|mijn naam is|"
        rf"(?:o )?meu nome é|nazywam się|attention|attn:?)) {TITLE}(?P<name>{NAME})",
        rf"(?i:\b(?:this is|i['’]m|i am|ich bin|je suis|soy|ben|lead is|contact is|contact =|buyer:?)) "
        rf"{TITLE}(?P<name>{NAME})",
        rf"(?i:\b(?:spoke w(?:/|ith)|call w(?:/|ith)?|met|submission from|telefonat mit)) {TITLE}(?P<name>{NAME})",
        rf"(?i:\basked me), (?P<name>{NAME}),",
        rf"(?P<name>{NAME}) (?i:here with|here from|from|of|at)\b",
        # Lower-case people are believed where the phrase leaves no doubt.
        r"(?i:\b(?:its|it['’]s|this is|hier ist (?:der|die))) (?P<name>[^\W\d_]+)(?= (?i:from|von|at)\b)",
    )
)
COMPANIES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<company>{COMPANY}[ \t](?:(?:{FORM})\b(?:[ \t]&[ \t]Co\.[ \t]KG)?))(?P<dot>\.?)",
        rf"(?i:\b(?:work (?:at|for)|from|von der firma|von der|van|della|(?:de|chez) la société|de la société|"
        rf"trabajo en|chez|firma|our (?:company|startup)|company is|behalf of|procurement for|here with|"
        rf"calling from|founder of|[ck][eftio]o (?:of|@)|we are|we['’]re|we at)),? (?P<company>{COMPANY})",
        rf"{NAME},? (?i:of|at|@|from|with|de|da|della|von der|von|van|bei|chez|firma) (?P<company>{COMPANY})",
        rf"(?i:\b(?:of|at|@)) (?P<company>{COMPANY})",
        rf"\b(?P<company>{COMPANY}[ \t](?:{TRADE})\b)",
        rf"\b(?P<company>(?:{TRADE})[ \t]{COMPANY})",
        r"(?i:\b(?:its|it['’]s|this is) [^\W\d_]+ from )(?P<company>[^\W\d_]+(?: [^\W\d_]+)?)(?=[,.!\n]|$)",
        r"(?i:\bvon der firma )(?P<company>[^\W\d_]+)",
        rf"{NAME} \((?P<company>{COMPANY})\)",
    )
)
CLOSING = re.compile(
    r"^\W*(?:(?:kind|best|warm|many)? ?regards|best|thanks|thank you|thx|cheers|yours (?:sincerely|faithfully|truly)|"
    r"sincerely|with kind regards|mit freundlichen grüßen|viele grüße|gruß|cordialement|un saludo|saludos|gracias|merci|"
    r"met vriendelijke groet|atentamente|--)[\s,.!]*",
    re.IGNORECASE,
)
HEADER = re.compile(
    rf"^>? ?(?:From|On .{{0,40}}?):? ?\"?(?P<name>{NAME})\"? (?:<|&lt;)(?P<email>[^>\s]+@[^>\s]+)>",
    re.MULTILINE,
)
# Words with a capital that are nobody's name.
NO_NAME = frozenset(
    """hi hello hey dear good morning afternoon thanks thank regards best kind we i you the this please our my company
    sales support team order invoice ticket server subject from to re fw fwd date budget seats message sent new note
    meeting inbound referral contact email mail phone tel mobile name next monday tuesday wednesday thursday friday
    january february march april may june july august september october november december interested looking not
    writing calling head director manager vp ceo cto cfo lead senior procurement leiter geschäftsführer gerente
    directrice platform managing merhaba hallo hola bonjour guten tag olá buongiorno visitor bot cell card company
    discovery left try email mobile unsere rechnung kundennummer pedido commande""".split()
)
BESIDE = (
    re.compile(rf"(?P<name>{NAME}),? ?[,(:<] ?[\w.+-]+@"),
    re.compile(
        rf"(?i:\b(?:regards|thanks|cheers|best|gruß|grüße|merci|gracias|cordialement)),? (?P<name>{NAME})\W*(?:\n|$)"
    ),
    re.compile(rf"(?P<name>{NAME}), {COMPANY}[ \t](?:{FORM}|{TRADE})\b"),
    re.compile(rf"(?P<name>{NAME}), [^,\n]{{2,30}}, {COMPANY}[ \t](?:{FORM}|{TRADE})\b"),
)
ROLE = re.compile(
    r"\b(?:head|director|vp|ceo|cto|cfo|coo|lead|leiter|manager|engineer|developer|gerente|directrice|procurement|"
    r"founder|sre|sales|platform|managing|senior|officer|it)\b",
    re.IGNORECASE,
)
PHONE_BEFORE = re.compile(
    r"(?:phone|tel(?:efon|éfono|efone|éphone)?|mobil\w*|cell|call|line|number|numéro|fon|durchwahl|zentrale|unter|rückruf|"
    r"rappeler au|reach me|ring|bel me op|[tm])\W*(?:is|at|on|me at|me on|back at|back|me)?\W*$",
    re.IGNORECASE,
)
NO_PHONE_BEFORE = re.compile(
    r"\b(?:order|invoice|ticket|tracking|number is 1z|iban|po|ref|rechnung|kundennummer|pedido|commande|facture|order no|"
    r"street|springfield|account|customer|id|hrb|ust-idnr|no)\W*(?:no|nr|number|is|lautet|[a-z]{2}\d{2})?\W*$",
    re.IGNORECASE,
)
NO_PHONE = re.compile(
    r"\d{1,3}(?:\.\d{1,3}){3}|(?:19|20)\d{2}-\d{2}-\d{2}.*|\d{1,2}[./]\d{1,2}[./](?:\d{2}|\d{4})\b.*|"
    r"\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{2})?|\d{8}-\d{4}|\d{5}-\d{4}"
)
# Two numbers of as many digits with a dash are rather from one to the other.
RANGE = re.compile(r"\d{3,4}[-–]\d{3,4}")
OLD = re.compile(r"\b(?:stop calling|old|former|wrong)\b", re.IGNORECASE)
ASKED = re.compile(r"\b(?P<what>name|company)\?\s*\n[^:\n]*:[ \t]*(?P<value>[^\n]+)", re.IGNORECASE)
# "Sanne de Vries van Tulp Software": what follows the last particle is more than a family name.
BELONGING = re.compile(rf"[ \t]{PARTICLE}(?:[ \t]{PARTICLE})*[ \t]{WORD}[ \t]{WORD}$")
# Legal forms that are written with a full stop.
DOTTED = re.compile(r"\b(?:Inc|Ltd|Corp|Co|S\.L|S\.A|B\.V|S\.r\.l|S\.p\.A|L\.L\.C)$")
# Where words in capitals are no end of a sentence.
STOPS = re.compile(r"[ \t](?:FROM|OF|AT|CALL|AND|PLEASE|IS|WITH|FOR|MAIL|EMAIL)\b")


TOPIC = re.compile(
    r"\b(?:demo|pricing|quote|price|contract|trial|enterprise|integration|support|migration|renewal|partnership|"
    r"angebot|preis|devis|offerta|oferta|offerte|urgent|asap)\b",
    re.IGNORECASE,
)
