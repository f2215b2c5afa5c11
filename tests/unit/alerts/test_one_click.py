"""Links in messages (alerts/one_click.py): who may follow them, and that a page alone does nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.alerts.one_click import Claim, Deed, OneClick, Signer
from aetherlink.alerts.people import AckDraft
from aetherlink.alerts.silence import SilenceDraft
from aetherlink.kernel.errors import UnauthenticatedError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.notify.endpoint import Endpoint
from aetherlink.notify.model import draft

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
SCRIPT = "<script>alert('x')</script>"
HOUR = timedelta(hours=1)


def a_claim(deed: Deed = "ack", until: datetime = NOON + HOUR) -> Claim:
    return Claim(ACME, "e1", deed, "ep1", until)


def a_signer(key: bytes = b"k" * 32, now: datetime = NOON) -> Signer:
    return Signer(lambda: key, lambda: now)


def one_click(base_url: str | None = "https://api.example/prod", now: datetime = NOON) -> OneClick:
    return OneClick(a_signer(now=now), lambda: base_url, lambda: now)


class Desk:
    """Alerts as people have them in hand; remembers what was done."""

    def __init__(self, **given: Any) -> None:
        self.done: list[tuple[str, Any]] = []
        self._alert = {
            "rule_id": "r1",
            "rule_name": "errors",
            "severity": "critical",
            "state": "firing",
            "raised_at": "2026-11-23T11:59:00Z",
            "started_at": "2026-11-23T11:58:00Z",
            "group": {"source": "crm"},
            "acknowledged": None,
            **given,
        }

    def alert(self, caller: Caller, alert_id: str) -> dict[str, Any]:
        assert (caller.tenant_id, alert_id) == ("acme", "e1")
        return self._alert

    def acknowledge(self, caller: Caller, alert_id: str, draft: AckDraft) -> dict[str, Any]:
        self.done.append(("ack", (caller.subject, alert_id)))
        return {}

    def silence(self, caller: Caller, draft: SilenceDraft) -> dict[str, Any]:
        self.done.append(("silence", draft))
        return {}


def followed(desk: Desk, deed: Deed, *, pressed: bool, now: datetime = NOON) -> str:
    links, token = one_click(now=now), a_signer().token(a_claim(deed))
    caller = links.caller(token, {})
    return (links.act if pressed else links.page)(desk, caller, token)


@given(
    st.text(min_size=1, max_size=60),
    st.text(max_size=60),
    st.sampled_from(["ack", "silence"]),
    st.text(max_size=60),
    st.integers(1, 10**9),
)
def test_a_token_says_what_was_signed_and_needs_no_escaping(
    tenant: str, episode: str, deed: Deed, endpoint: str, seconds: int
) -> None:
    claim = Claim(TenantId(tenant), episode, deed, endpoint, NOON + timedelta(seconds=seconds))
    token = a_signer().token(claim)

    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert a_signer().read(token) == claim


def test_no_character_of_a_token_can_be_changed() -> None:
    token = a_signer().token(a_claim())

    for place, char in enumerate(token):
        other = "A" if char != "A" else "B"
        with pytest.raises(UnauthenticatedError, match="was changed or cut"):
            a_signer().read(token[:place] + other + token[place + 1 :])
    for length in range(len(token)):
        with pytest.raises(UnauthenticatedError, match="was changed or cut"):
            a_signer().read(token[:length])


def test_a_signature_is_for_its_own_claim_and_key() -> None:
    body, _, _ = a_signer().token(a_claim("silence")).partition(".")
    _, _, signature = a_signer().token(a_claim("ack")).partition(".")

    for forged in (f"{body}.{signature}", a_signer(b"x" * 32).token(a_claim())):
        with pytest.raises(UnauthenticatedError, match="was changed or cut"):
            a_signer().read(forged)


@given(st.text())
def test_anything_else_is_refused_and_no_fault_of_ours(junk: str) -> None:
    with pytest.raises(UnauthenticatedError):
        a_signer().read(junk)


def test_a_link_runs_out_and_says_so() -> None:
    token = a_signer().token(a_claim())

    assert a_signer(now=NOON + HOUR - timedelta(seconds=1)).read(token) == a_claim()
    with pytest.raises(UnauthenticatedError, match="has run out"):
        a_signer(now=NOON + HOUR).read(token)


def test_who_follows_a_link_is_nobody_but_an_operator_of_its_tenant() -> None:
    caller = one_click().caller(a_signer().token(a_claim()), {})

    assert caller == Caller("link:ep1", frozenset({Role.OPERATOR}), ACME)


def a_delivery(event_type: str = "ops.alert.raised") -> Any:
    event = {
        "event_id": "ev1",
        "event_type": event_type,
        "tenant_id": "acme",
        "payload": {"episode_id": "e1"},
    }
    return draft(event, Endpoint("ep1", "https://a.example/"), NOON)


def test_an_alerts_beginning_has_links_for_a_day_that_each_attempt_repeats() -> None:
    links = one_click().links(a_delivery())

    assert links == one_click(now=NOON + HOUR).links(a_delivery())
    assert [link.text for link in links] == ["Acknowledge", "Silence for an hour"]
    for link, deed in zip(links, ("ack", "silence"), strict=True):
        assert link.url.startswith("https://api.example/prod/alerts/act?ticket=")
        (token,) = parse_qs(urlsplit(link.url).query)["ticket"]
        claim = Claim(ACME, "e1", "ack" if deed == "ack" else "silence", "ep1", NOON + 24 * HOUR)
        assert a_signer().read(token) == claim


def test_nothing_else_has_links_nor_has_anything_where_our_url_is_unknown() -> None:
    assert one_click().links(a_delivery("ops.alert.resolved")) == ()
    assert one_click().links(a_delivery("lead.created")) == ()
    assert one_click(base_url=None).links(a_delivery()) == ()


@pytest.mark.parametrize("deed", ["ack", "silence"])
def test_following_a_link_shows_a_button_and_does_nothing(deed: Deed) -> None:
    desk = Desk()
    html = followed(desk, deed, pressed=False)

    assert desk.done == []
    token = a_signer().token(a_claim(deed))
    assert f'<form method="post" action="?ticket={token}">' in html


def test_a_page_shows_what_others_wrote_as_text() -> None:
    desk = Desk(
        rule_name=SCRIPT,
        severity=SCRIPT,
        state=SCRIPT,
        raised_at=SCRIPT,
        group={SCRIPT: SCRIPT, "\"'": "&"},
        acknowledged={"by": SCRIPT},
    )

    for pressed in (False, True):
        html = followed(desk, "ack", pressed=pressed)
        assert "<script" not in html
        tags = set(re.findall(r"<([a-z0-9]+)", html))
        assert tags <= {"html", "meta", "title", "style", "h1", "p", "form", "button"}


def test_the_button_takes_the_alert_in_hand() -> None:
    desk = Desk()

    assert "Acknowledged." in followed(desk, "ack", pressed=True)
    assert desk.done == [("ack", ("link:ep1", "e1"))]


def test_the_button_silences_the_rule_for_that_group_and_an_hour() -> None:
    desk = Desk()

    assert "Silenced for an hour." in followed(desk, "silence", pressed=True)
    ((deed, drafted),) = desk.done
    assert deed == "silence"
    assert [(m.name, m.op, m.value) for m in drafted.matchers] == [
        ("rule_id", "=", "r1"),
        ("source", "=", "crm"),
    ]
    assert drafted.ends_at == NOON + HOUR


@pytest.mark.parametrize("deed", ["ack", "silence"])
def test_what_is_over_is_left_as_it_is(deed: Deed) -> None:
    desk = Desk(state="resolved")

    assert "nothing was changed" in followed(desk, deed, pressed=True)
    assert desk.done == []


@pytest.mark.parametrize("pressed", [False, True])
def test_a_link_that_ran_out_neither_shows_nor_does_anything(pressed: bool) -> None:
    desk = Desk()

    with pytest.raises(UnauthenticatedError, match="has run out"):
        followed(desk, "ack", pressed=pressed, now=NOON + HOUR)
    assert desk.done == []
