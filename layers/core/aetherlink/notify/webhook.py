"""Posting a message to an endpoint through the guarded client; every failure becomes an outcome."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aetherlink.kernel.time import utc_now
from aetherlink.notify.kinds import Kind, render
from aetherlink.notify.outcome import Outcome
from aetherlink.notify.signing import sign
from aetherlink.platform.outbound import OutboundError

if TYPE_CHECKING:
    from aetherlink.notify.endpoint import Endpoint
    from aetherlink.notify.notice import Notice
    from aetherlink.platform.outbound import Outbound


class Webhook:
    def __init__(self, outbound: Outbound, timeout_seconds: float) -> None:
        self._outbound = outbound
        self._timeout_seconds = timeout_seconds

    def __call__(self, endpoint: Endpoint, notice: Notice) -> Outcome:
        settings = {"routing_key": endpoint.routing_key or ""}
        body = render(endpoint.kind, notice, settings).encode()
        now = utc_now()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if endpoint.kind is Kind.GENERIC:
            # Signed anew each time: receivers refuse what was signed long ago.
            headers |= sign(endpoint.signing(now), notice.message_id, now, body)
        url = endpoint.url
        if endpoint.kind is Kind.GRAFANA:
            from aetherlink.notify.kinds.grafana.message import url_of  # noqa: PLC0415 - few have one

            url = url_of(endpoint.url)
            headers["Authorization"] = f"Bearer {endpoint.token or ''}"
        started = time.perf_counter()
        try:
            answer = self._outbound.send(
                "POST",
                url,
                headers=headers,
                body=body,
                timeout_seconds=self._timeout_seconds,
            )
        except OutboundError as error:
            return Outcome(_ms_since(started), error=str(error), permanent=error.permanent)
        error_text = None if answer.status < 300 else f"answered {answer.status}"  # noqa: PLR2004
        return Outcome(
            _ms_since(started),
            status=answer.status,
            error=error_text,
            retry_after=retry_after(answer.headers.get("retry-after", ""), now),
        )


def retry_after(given: str, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for (RFC 9110 §10.2.3: seconds, or a date); None if nothing that
    can be read. Discord's has decimals."""
    try:
        return timedelta(seconds=max(float(given), 0))
    except (ValueError, OverflowError):
        pass
    try:
        at = parsedate_to_datetime(given)
    except (ValueError, TypeError, IndexError):
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, timedelta(0))


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
