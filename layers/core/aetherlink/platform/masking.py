"""What may stand in a record that is kept for years: secrets out, and no more than a record holds.

Pure. What is masked is gone: nothing here can be undone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MASK = "***"
MAX_TEXT = 4_096
MAX_NAME = 128
MAX_MEMBERS = 200
MAX_DEPTH = 12
# Characters that one value is looked at for. A record holds less, and a body may have 4 MB.
_BUDGET = 64_000

# As they stand in a name once case and punctuation are gone: `X-Api-Key` is `xapikey`.
_SECRET_NAMES = (
    "secret", "token", "password", "passphrase", "passwd", "pwd", "authorization", "apikey",
    "privatekey", "accesskey", "routingkey", "integrationkey", "signingkey", "encryptionkey",
    "credential", "signature", "webhook", "cookie", "bearer", "jwt", "connectionstring",
)  # fmt: skip
# Members of a pair that hold a name, and those that hold its value: {"name": "Cookie", "value": …}.
_NAMING = ("name", "key", "header", "field")
_VALUES = ("value", "values")

_PLAIN = re.compile(r"[^a-z0-9]")
_OUR_KEY = re.compile(r"(?:ak|rt)_[0-9A-Za-z]{20,}")
_SIGNING_SECRET = re.compile(r"whsec_[0-9A-Za-z+/=_-]{8,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.ASCII)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# Found as a run and looked into, since a pattern for a JWT proper takes quadratic time.
_RUN = re.compile(r"[\w.\-]{20,}", re.ASCII)
_JWT_START = "eyJ"
# `password=…`, `"token": "…"` inside a text.
_ASSIGNED = re.compile(
    r"(?i)((?:secret|token|password|passphrase|passwd|api[_-]?key|private[_-]?key|access[_-]?key"
    r"|credential|signature|authorization)[\w-]{0,32}\\?[\"']?\s{0,8}[=:]\s{0,8})"
    r"(\\?\"[^\"]*\"?|'[^']*'?|[^\s,;&}]+)",
    re.ASCII,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s\"'<>]+")
_USER_INFO = re.compile(r"//[^\s/?#\"'<>]*@")
# Of these the path is the credential: Teams' workflows, Telegram's bots, Zapier and the like.
_SECRET_PATHS = (
    "discord.com", "discordapp.com", "office.com", "office365.com", "logic.azure.com",
    "powerplatform.com", "powerautomate.com", "api.telegram.org", "chat.googleapis.com",
    "events.pagerduty.com", "opsgenie.com",
)  # fmt: skip
_TAIL = re.compile(r"[^\s\"',;]*\Z")


def is_secret(name: str) -> bool:
    """Whether what is called so is to be masked, whatever it is."""
    plain = _PLAIN.sub("", name.lower())
    return any(word in plain for word in _SECRET_NAMES)


def mask_text(text: str, limit: int = MAX_TEXT) -> str:
    """The text without the secrets in it, cut to `limit` characters and a mark that says so."""
    shown = text
    if len(text) > limit:
        # A secret that the cut would halve is not recognised any more: it goes whole.
        shown = _TAIL.sub("", text[:limit])
    shown = _PRIVATE_KEY.sub(MASK, shown)
    shown = _URL.sub(lambda found: _url(found[0]), shown)
    shown = _USER_INFO.sub(f"//{MASK}@", shown)
    shown = _OUR_KEY.sub(MASK, shown)
    shown = _SIGNING_SECRET.sub(MASK, shown)
    shown = _BEARER.sub(rf"\1 {MASK}", shown)
    shown = _RUN.sub(lambda found: _without_jwt(found[0]), shown)
    shown = _ASSIGNED.sub(rf"\1{MASK}", shown)
    if len(text) > limit:
        shown += f"…[cut: {len(text):,} characters]"
    return shown


def mask(value: Any) -> Any:
    """A JSON value without the secrets in it, and no larger or deeper than a record takes."""
    return _Masking(_BUDGET).value(value, 0)


@dataclass
class _Masking:
    left: int

    def value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            self.left -= 8
            return value
        if isinstance(value, str):
            text = mask_text(value)
            self.left -= len(text)
            return text
        if isinstance(value, dict):
            return self._members(value, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._elements(list(value), depth)
        return self.value(str(value), depth)

    def _members(self, given: dict[Any, Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"…[cut: an object with {len(given):,} members, {depth} levels deep]"
        is_pair = any(isinstance(v, str) and is_secret(v) for n, v in given.items() if n in _NAMING)
        shown: dict[str, Any] = {}
        for name, value in given.items():
            if len(shown) >= MAX_MEMBERS or self.left <= 0:
                shown["…"] = f"[cut: {len(given) - len(shown):,} more members]"
                break
            self.left -= len(str(name)[:MAX_NAME]) + 4
            is_hidden = is_secret(str(name)) or (is_pair and name in _VALUES)
            text = mask_text(str(name), MAX_NAME)
            shown[text] = MASK if is_hidden and value is not None else self.value(value, depth + 1)
        return shown

    def _elements(self, given: list[Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"…[cut: a list of {len(given):,}, {depth} levels deep]"
        shown: list[Any] = []
        for value in given:
            if len(shown) >= MAX_MEMBERS or self.left <= 0:
                shown.append(f"…[cut: {len(given) - len(shown):,} more]")
                break
            shown.append(self.value(value, depth + 1))
        return shown


def _without_jwt(run: str) -> str:
    """The run up to where a JWT begins in it. A JWT's header is an object in base64url (`eyJ`), and
    two dots part it."""
    start = run.find(_JWT_START)
    is_jwt = start >= 0 and "." in run[start:]
    return run[:start] + MASK if is_jwt else run


def _url(url: str) -> str:
    """The URL without user info and query; of a webhook, without its path, which is its password."""
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
        host, port, path = parts.hostname or "", parts.port, parts.path
    except ValueError:
        return f"{scheme}://{MASK}"
    at = f"{host}:{port}" if port else host
    user = f"{MASK}@" if "@" in parts.netloc else ""
    is_secret_path = (
        "hook" in host
        or "hook" in path.lower()
        or "@" in path
        or any(host == known or host.endswith(f".{known}") for known in _SECRET_PATHS)
    )
    if is_secret_path and path not in ("", "/"):
        return f"{scheme}://{user}{at}/{MASK}"
    query = f"?{MASK}" if "?" in rest else ""
    fragment = f"#{MASK}" if "#" in rest else ""
    return f"{scheme}://{user}{at}{path}{query}{fragment}"
