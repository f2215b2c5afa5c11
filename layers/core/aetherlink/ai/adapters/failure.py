"""What a provider's refusal means. Pure.

Sources: docs.anthropic.com "Errors" (429 rate_limit_error, 529 overloaded_error; a used-up account is a
400 that says so), platform.openai.com "Error codes" (429 also for insufficient_quota), RFC 9110 10.2.3
(Retry-After). LiteLLM's issue 37592 tells what becomes of a router that takes a used-up account for a
bad request.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aetherlink.ai.model import ProviderError, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATUS = {
    401: Trouble.UNAUTHORISED,
    402: Trouble.QUOTA,
    403: Trouble.UNAUTHORISED,
    # No such URL, method or model: what we were told of the provider is wrong.
    404: Trouble.MISCONFIGURED,
    405: Trouble.MISCONFIGURED,
    408: Trouble.TIMEOUT,
    425: Trouble.SERVER_ERROR,
    429: Trouble.RATE_LIMITED,
}
_SPENT = re.compile(
    r"insufficient[_ ](quota|credit|funds)|credit balance is too low|usage limits?|billing",
    re.IGNORECASE,
)
_OK, _REDIRECT, _CLIENT, _SERVER = 200, 300, 400, 500
_QUOTA_SAYS_SO = (400, 403, 429)
_MOST_SECONDS = 86_400


def failure(
    name: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> ProviderError:
    """The error for an answer whose status is not 2xx."""
    text = _message(body)
    trouble = _BY_STATUS.get(status)
    if trouble is None:
        if status >= _SERVER:
            trouble = Trouble.SERVER_ERROR
        elif status >= _CLIENT:
            trouble = Trouble.REJECTED
        else:
            trouble = Trouble.MISCONFIGURED
    if status in _QUOTA_SAYS_SO and _SPENT.search(text):
        trouble = Trouble.QUOTA
    return ProviderError(
        f"{name} answered {status}{_MEANS.get(trouble, '')}",
        trouble,
        status=status,
        retry_after_seconds=retry_after(headers, now),
    )


_MEANS = {
    Trouble.UNAUTHORISED: ": it does not take our key; put a good one where the descriptor's key says",
    Trouble.QUOTA: ": the account's credit or quota is used up",
    Trouble.MISCONFIGURED: ": the URL or the model's name in the descriptor is wrong",
    Trouble.RATE_LIMITED: ": too many requests",
    Trouble.REJECTED: ": it does not take this request",
}


def retry_after(headers: Mapping[str, str], now: datetime) -> int | None:
    """Seconds, from a number of them or a date; OpenAI's own header has milliseconds."""
    millis = headers.get("retry-after-ms", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", millis):
        return min(-(-int(float(millis)) // 1000), _MOST_SECONDS)
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return min(-int(-float(text) // 1), _MOST_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0, int((at - now).total_seconds()) + 1), _MOST_SECONDS)


def _message(body: bytes) -> str:
    """What the provider says is wrong; looked at, never handed on: it may quote the prompt or the key."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    error = found.get("error", found) if isinstance(found, dict) else ""
    return json.dumps(error)[:2_000]
