"""Running a request once for its Idempotency-Key, and giving its answer again.

What is kept is the answer of what was carried out (2xx). A refusal (4xx) changed nothing: the same
key runs again, so that a corrected request, or one that is allowed by now, needs no new key. After a
failure of ours (5xx) it runs again too: nobody knows how far it came, and the client asked to be sure.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    StillRunningError,
    UnavailableError,
    UnprocessableError,
)
from aetherlink.kernel.time import utc_now
from aetherlink.platform.answers import AnswerStore, Claim, Kept
from aetherlink.platform.body import to_json
from aetherlink.platform.config import config
from aetherlink.platform.dynamo import Table
from aetherlink.platform.idempotency import REPLAYED
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.kernel.tenancy import Caller
    from aetherlink.platform.body import Proxy

KEPT_FOR: Final = timedelta(hours=24)
# Longer than any function that answers requests may run (28 s), so that a run is never overtaken;
# a run that crashed frees its key after so long.
LOCKED_FOR: Final = timedelta(seconds=60)
# Of an item's 400 KB.
MAX_KEPT_BYTES: Final = 300_000
# Most requests are through in well under a second.
_ASK_AGAIN_SECONDS: Final = 2
_FIRST_ERROR = 300

_SECRET_NAMES = frozenset(
    {"secret", "registration_token", "token", "ticket", "ping_key", "ping_path"}
)
# What we make ourselves, wherever it stands: keys, registration tokens, signing secrets.
_CREDENTIAL = re.compile(r"(?:ak|rt)_[0-9A-Za-z]{29}|whsec_[0-9A-Za-z+/=_-]{8,}", re.ASCII)
NOTE = "This answer is a repetition. Secrets are shown once, and are left out of it"
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")


class Answers(Protocol):
    """What replaying needs of its storage."""

    def take(self, claim: Claim, now: datetime) -> Kept | None: ...
    def keep(self, claim: Claim, answer: str | None) -> None: ...
    def free(self, claim: Claim) -> None: ...


def replay(event: Proxy, caller: Caller, key: str, run: Callable[[], Proxy]) -> Proxy:
    """`run` once for `key`; see `idempotency.once`."""
    now = utc_now()
    pk, sk = _place(event, caller, key)
    claim = Claim(
        pk=pk,
        sk=sk,
        owner=secrets.token_hex(8),
        fingerprint=fingerprint(event, key),
        locked_until=now + LOCKED_FOR,
        expires_at=now + KEPT_FOR,
    )
    return protected(_store(), claim, now, run)


def protected(store: Answers, claim: Claim, now: datetime, run: Callable[[], Proxy]) -> Proxy:
    """The answer of `run`, which `claim` stands for, or the one that its key has already."""
    earlier = store.take(claim, now)
    if earlier:
        return _again(earlier, claim.fingerprint, now.timestamp())
    try:
        answer = run()
    except Exception:
        _free(store, claim)
        raise
    if answer["statusCode"] >= _FIRST_ERROR:
        _free(store, claim)
        return answer
    try:
        store.keep(claim, masked(answer))
    except UnavailableError:
        # What is done is done, and saying otherwise would have it done twice. Until the lock ends
        # the key answers 409.
        logger.exception("the answer of an idempotent request could not be kept")
    return answer


def _again(earlier: Kept, fingerprint: str, now: float) -> Proxy:
    if earlier.fingerprint != fingerprint:
        raise UnprocessableError(
            (
                Flaw(
                    "header/Idempotency-Key",
                    "this key came with another request before; a new request needs a new key, and "
                    "the same one must be repeated with the same path, query and body",
                ),
            )
        )
    if not earlier.is_done:
        left = max(1, min(_ASK_AGAIN_SECONDS, math.ceil(earlier.locked_until - now)))
        raise StillRunningError(
            "A request with this Idempotency-Key is still being carried out; ask again in a moment",
            left,
        )
    if earlier.answer is None:
        raise ConflictError(
            "A request with this Idempotency-Key was carried out; its answer was too large to be "
            "kept, so look at what it made instead"
        )
    answer: Proxy = json.loads(earlier.answer)
    answer["multiValueHeaders"][REPLAYED] = ["true"]
    return answer


def _free(store: Answers, claim: Claim) -> None:
    try:
        store.free(claim)
    except UnavailableError:
        logger.exception("an idempotency key could not be freed; its lock ends by itself")


def masked(answer: Proxy) -> str | None:
    """The answer as it may be kept: without secrets. None if it is too large."""
    body = answer.get("body") or ""
    try:
        parsed = json.loads(body)
    except ValueError:
        shown = _CREDENTIAL.sub("…", body)
    else:
        clean = _without_secrets(parsed)
        if clean != parsed and isinstance(clean, dict):
            clean["note"] = NOTE
        shown = to_json(clean) if clean != parsed else body
    given = answer.get("multiValueHeaders") or {}
    kept = {
        "statusCode": answer["statusCode"],
        "multiValueHeaders": {name: given[name] for name in _KEPT_HEADERS if name in given},
        "body": shown,
        "isBase64Encoded": bool(answer.get("isBase64Encoded")),
    }
    text = to_json(kept)
    return text if len(text.encode("utf-8", "replace")) <= MAX_KEPT_BYTES else None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None
            if name in _SECRET_NAMES and isinstance(inner, str)
            else _without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return None if isinstance(value, str) and _CREDENTIAL.search(value) else value


def _place(event: Proxy, caller: Caller, key: str) -> tuple[str, str]:
    """Where the key's answer is kept: one place per tenant, route, caller and key. Who sees every
    tenant and named none has a partition that is no tenant's."""
    tenant = caller.tenant_id or "*"
    name = _digest(caller.subject, event["httpMethod"], event["resource"], key)
    return f"{tenant}#idempotency", name


def fingerprint(event: Proxy, key: str) -> str:
    """What makes a request the same: method, path, query and body, however its JSON is spelt.

    The key goes into it, which is not stored: whoever reads the table cannot try out bodies.
    """
    query = event.get("multiValueQueryStringParameters") or {}
    parameters = sorted((str(name), str(v)) for name, values in query.items() for v in values or ())
    try:
        body = json.dumps(json.loads(event["body"]), sort_keys=True)
    except (ValueError, RecursionError):
        body = event["body"]
    return _digest(key, event["httpMethod"], event["path"], json.dumps(parameters), body)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _store() -> AnswerStore:
    return AnswerStore(Table(config().control_table))
