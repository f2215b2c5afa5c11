"""Tickets for who cannot send headers: a browser's EventSource.

control    pk  <tenant>#tickets    sk  <SHA-256 of the ticket>
               subject, roles, tenant_id, cross_tenant       the caller's rights as they were
               redeem_until                                  the ticket's own 30 seconds
               resume, resume_until, session_until           once redeemed; `resume` is a hash too

A ticket is redeemed once, when the stream starts: a call that is refused for anything else leaves it
good. EventSource then comes back by itself with the same URL and the last id it
saw: each id carries a secret of the session, without which the used ticket is worth nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from aetherlink.events.sse import secret_in
from aetherlink.kernel.errors import UnauthenticatedError, UnavailableError
from aetherlink.kernel.ids import tenant_bound, tenant_of
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.tenancy import SYSTEM, Caller, Role, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Table
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VALID = timedelta(seconds=30)
PAUSE = timedelta(seconds=60)
SESSION = timedelta(hours=1)
_SECRET_BYTES = 32
_MAX_TICKET = 512


class Issued(Shape):
    """The answer to who asks for a ticket."""

    status: Literal["ok"] = "ok"
    ticket: str
    expires_in: int
    expires_at: str


@dataclass(frozen=True)
class Session:
    """What a ticket opens: for whom, and the secret that goes onto the ids ("" until the ticket is
    redeemed)."""

    caller: Caller
    secret: str
    kept: Mapping[str, Any] = field(repr=False)


class Tickets:
    def __init__(
        self,
        table: Table,
        now: Callable[[], datetime],
        secret: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self._table = table
        self._now = now
        self._secret = secret

    def issue(self, caller: Caller) -> Issued:
        """A ticket with the caller's rights as they are now."""
        ticket = tenant_bound(caller.tenant_id or SYSTEM, self._secret(_SECRET_BYTES))
        until = self._now() + VALID
        pk, sk = _key(ticket)
        self._table.put(
            {
                "pk": pk,
                "sk": sk,
                "subject": caller.subject,
                "roles": sorted(caller.roles),
                "tenant_id": caller.tenant_id,
                "cross_tenant": caller.cross_tenant,
                "redeem_until": to_text(until),
                "expires_at": int(until.timestamp()),
            }
        )
        return Issued(
            ticket=ticket, expires_in=int(VALID.total_seconds()), expires_at=to_text(until)
        )

    def present(self, ticket: str, last_event_id: str) -> Session:
        """Who holds a fresh ticket, or goes on with a used one. Raises UnauthenticatedError."""
        key = _key(ticket)
        kept = self._table.get(*key)
        if kept is None:
            raise UnauthenticatedError(_REFUSED)
        if "resume" in kept:
            return self._resumed(kept, secret_in(last_event_id))
        if kept["redeem_until"] <= to_text(self._now()):
            raise UnauthenticatedError(_REFUSED)
        return _session(kept, "")

    def redeemed(self, session: Session) -> Session:
        """The session, its ticket used up from here on. Raises UnauthenticatedError if somebody else
        was faster, or the ticket lapsed meanwhile."""
        return session if session.secret else self._redeemed(session.kept)

    def answered(self, session: Session) -> None:
        """Whoever has this session may come back for a minute from now."""
        try:
            self._table.put({**session.kept, "resume_until": to_text(self._now() + PAUSE)})
        except UnavailableError:
            # The answer matters more: if it stays so, a new ticket will be needed.
            logger.warning("stream session not extended")

    def _redeemed(self, kept: Mapping[str, Any]) -> Session:
        now = self._now()
        secret = self._secret(_SECRET_BYTES)
        session_until = now + SESSION
        redeemed = {
            **kept,
            "resume": _hash(secret),
            "resume_until": to_text(now + PAUSE),
            "session_until": to_text(session_until),
            "expires_at": int(session_until.timestamp()),
        }
        try:
            # Once: of two who present it at the same moment, one is refused.
            self._table.put(
                redeemed,
                only_if="attribute_not_exists(#resume) AND redeem_until > :now",
                now=to_text(now),
            )
        except ConditionFailedError as error:
            raise UnauthenticatedError(_REFUSED) from error
        return _session(redeemed, secret)

    def _resumed(self, kept: dict[str, Any], secret: str) -> Session:
        now = self._now()
        is_same = secrets.compare_digest(_hash(secret), kept["resume"])
        ends = min(from_text(kept["resume_until"]), from_text(kept["session_until"]))
        if not is_same or now >= ends:
            raise UnauthenticatedError(_REFUSED)
        return _session(kept, secret)


def _session(kept: dict[str, Any], secret: str) -> Session:
    tenant = kept.get("tenant_id")
    caller = Caller(
        subject=kept["subject"],
        roles=frozenset(Role(role) for role in kept["roles"]),
        tenant_id=TenantId(tenant) if tenant else None,
        cross_tenant=kept["cross_tenant"],
    )
    return Session(caller, secret, kept)


def _key(ticket: str) -> tuple[str, str]:
    tenant = tenant_of(ticket) if len(ticket) <= _MAX_TICKET else None
    if tenant is None:
        raise UnauthenticatedError(_REFUSED)
    return f"{tenant}#tickets", _hash(ticket)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_REFUSED = (
    "This ticket is unknown, used or expired; POST /events/stream/ticket gives a new one, good once "
    "within 30 seconds"
)
