"""Links in messages: take an alert in hand, or silence it, without signing in.

A link is signed, good for one alert, one deed and a day. Following it shows a page; only the page's
button acts, since mail gateways and chat clients follow links too. Who has the message has the link:
that is what the message is for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from aetherlink.alerts.people import AckDraft
from aetherlink.alerts.silence import Matcher, SilenceDraft
from aetherlink.kernel.errors import UnauthenticatedError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.notify.model import RAISED
from aetherlink.notify.notice import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aetherlink.notify.model import Delivery

Deed = Literal["ack", "silence"]
GOOD_FOR = timedelta(hours=24)
# Long enough to mend something in peace, short enough to be forgotten without harm.
SILENCED_FOR = timedelta(hours=1)
PATH = "/alerts/act"
_WORDS: Mapping[Deed, str] = {"ack": "Acknowledge", "silence": "Silence for an hour"}
_REFUSED = "This link was changed or cut; open the alert in the console instead"


@dataclass(frozen=True)
class Claim:
    """What a link is good for. `endpoint_id` is where it was sent."""

    tenant_id: TenantId
    episode_id: str
    deed: Deed
    endpoint_id: str
    until: datetime


class Acting(Protocol):
    """What people do with alerts."""

    def alert(self, caller: Caller, alert_id: str) -> dict[str, Any]: ...
    def acknowledge(self, caller: Caller, alert_id: str, draft: AckDraft) -> dict[str, Any]: ...
    def silence(self, caller: Caller, draft: SilenceDraft) -> dict[str, Any]: ...


class Signer:
    """`key` is asked for when it is first needed."""

    def __init__(self, key: Callable[[], bytes], now: Callable[[], datetime]) -> None:
        self._key = key
        self._now = now

    def token(self, claim: Claim) -> str:
        body = _encoded(
            json.dumps(
                [
                    claim.tenant_id,
                    claim.episode_id,
                    claim.deed,
                    claim.endpoint_id,
                    int(claim.until.timestamp()),
                ],
                separators=(",", ":"),
            ).encode()
        )
        return f"{body}.{self._signature(body)}"

    def read(self, token: str) -> Claim:
        """Raises UnauthenticatedError for what was not signed here, or has run out."""
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise UnauthenticatedError(_REFUSED)
        try:
            padded = body + "=" * (-len(body) % 4)
            tenant, episode, deed, endpoint, until = json.loads(base64.urlsafe_b64decode(padded))
        except (ValueError, TypeError, binascii.Error) as error:
            raise UnauthenticatedError(_REFUSED) from error
        claim = Claim(tenant, episode, deed, endpoint, datetime.fromtimestamp(until, UTC))
        if claim.until <= self._now():
            raise UnauthenticatedError(
                "This link has run out; open the alert in the console instead"
            )
        return claim

    def _signature(self, body: str) -> str:
        return _encoded(hmac.new(self._key(), body.encode(), hashlib.sha256).digest())


class OneClick:
    """`base_url` is the API's own, None where it is not known: then there are no links."""

    def __init__(
        self, signer: Signer, base_url: Callable[[], str | None], now: Callable[[], datetime]
    ) -> None:
        self._signer = signer
        self._base_url = base_url
        self._now = now

    def links(self, delivery: Delivery) -> tuple[Link, ...]:
        """Of an alert's beginning, what can be done about it; of anything else, nothing."""
        base = self._base_url() if delivery.transition == RAISED else None
        if base is None:
            return ()
        return tuple(Link(word, self._url(base, delivery, deed)) for deed, word in _WORDS.items())

    def _url(self, base: str, delivery: Delivery, deed: Deed) -> str:
        claim = Claim(
            tenant_id=TenantId(str(delivery.event["tenant_id"])),
            episode_id=delivery.episode_id,
            deed=deed,
            endpoint_id=delivery.endpoint_id,
            # From when it was made, so that each attempt sends the same.
            until=delivery.created_at + GOOD_FOR,
        )
        return f"{base}{PATH}?ticket={self._signer.token(claim)}"

    def caller(self, token: str, _headers: Mapping[str, str]) -> Caller:
        """Who follows a link: nobody in particular, from the endpoint that it was sent to."""
        claim = self._signer.read(token)
        return Caller(
            subject=f"link:{claim.endpoint_id}",
            roles=frozenset({Role.OPERATOR}),
            tenant_id=claim.tenant_id,
        )

    def page(self, acting: Acting, caller: Caller, token: str) -> str:
        claim = self._signer.read(token)
        alert = acting.alert(caller, claim.episode_id)
        word = _WORDS[claim.deed]
        form = (
            f'<form method="post" action="?ticket={escape(token)}"><button>{word}</button></form>'
        )
        held = alert.get("acknowledged")
        note = f"<p>{escape(str(held['by']))} has it in hand.</p>" if held else ""
        return _page(alert, note + form)

    def act(self, acting: Acting, caller: Caller, token: str) -> str:
        """Do what the link is for. What is over is left as it is, and the page says so."""
        claim = self._signer.read(token)
        alert = acting.alert(caller, claim.episode_id)
        if alert["state"] == "resolved":
            return _page(alert, "<p>It is over already; nothing was changed.</p>")
        if claim.deed == "ack":
            acting.acknowledge(
                caller, claim.episode_id, AckDraft(note="by the link in its message")
            )
            return _page(alert, "<p>Acknowledged.</p>")
        acting.silence(caller, self._silence(alert))
        return _page(alert, "<p>Silenced for an hour.</p>")

    def _silence(self, alert: Mapping[str, Any]) -> SilenceDraft:
        named = {"rule_id": alert["rule_id"], **alert["group"]}
        return SilenceDraft(
            matchers=[Matcher(name=name, value=str(value)) for name, value in named.items()],
            reason="by the link in its message",
            ends_at=self._now() + SILENCED_FOR,
        )


def _page(alert: Mapping[str, Any], rest: str) -> str:
    group = ", ".join(
        f"{name} = {value}" for name, value in cast("dict[str, Any]", alert["group"]).items()
    )
    facts = (
        alert["severity"],
        alert["state"],
        f"since {alert['raised_at'] or alert['started_at']}",
        group,
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>AetherLink</title>'
        "<style>body{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}"
        "button{font:inherit;padding:.6rem 1.2rem}</style>"
        f"<h1>{escape(str(alert['rule_name']))}</h1>"
        f"<p>{escape(' · '.join(str(fact) for fact in facts if fact))}</p>{rest}</html>"
    )


def _encoded(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).decode().rstrip("=")
