"""How often an issuer is asked for its keys, and what is believed while it does not answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.kernel.errors import UnavailableError
from aetherlink.platform.jwks import Jwk, KeySet
from aetherlink.platform.outbound import Answer, Kind, OutboundError

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ISSUER = "https://id.example/realms/ops"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
JWKS = "https://id.example/keys"


class Issuer:
    """The outside world: documents by URL. One that is not there does not answer."""

    def __init__(self, **keys: str) -> None:
        self.now = NOW
        self.asked: list[str] = []
        self.documents: dict[str, Any] = {DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS}}
        self.shows("a")

    def shows(self, *kids: str) -> None:
        self.documents[JWKS] = {"keys": [{"kid": kid} for kid in kids]}

    def send(self, method: str, url: str, **_: Any) -> Answer:
        self.asked.append(url)
        if url not in self.documents:
            raise OutboundError("no answer", Kind.TIMEOUT)
        given = self.documents[url]
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        return Answer(200, {}, body, 1)

    def after(self, **time: float) -> None:
        self.now = NOW + timedelta(**time)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def keys(issuer: Issuer) -> KeySet:
    return KeySet(issuer, issuer=ISSUER, jwks_url="", now=lambda: issuer.now)


def pick(keys: KeySet, kid: str) -> Jwk | None:
    return keys.pick(lambda found: next((key for key in found if key["kid"] == kid), None))


def test_keys_are_found_by_the_discovery_document(keys: KeySet, issuer: Issuer) -> None:
    assert pick(keys, "a") == {"kid": "a"}
    assert issuer.asked == [DISCOVERY, JWKS]


def test_a_configured_address_needs_no_discovery(issuer: Issuer) -> None:
    keys = KeySet(issuer, issuer=ISSUER, jwks_url=JWKS, now=lambda: issuer.now)

    assert pick(keys, "a")
    assert issuer.asked == [JWKS]


def test_keys_are_believed_for_ten_minutes_without_asking(keys: KeySet, issuer: Issuer) -> None:
    pick(keys, "a")
    issuer.asked.clear()

    issuer.after(minutes=9.9)
    assert pick(keys, "a")
    assert issuer.asked == []
    issuer.after(minutes=10)
    assert pick(keys, "a")
    assert issuer.asked == [DISCOVERY, JWKS]


def test_a_key_that_the_issuer_took_back_is_gone_after_ten_minutes(
    keys: KeySet, issuer: Issuer
) -> None:
    pick(keys, "a")
    issuer.shows("b")

    issuer.after(minutes=10)
    assert pick(keys, "a") is None


def test_a_new_key_is_found_at_once_if_nobody_asked_just_before(
    keys: KeySet, issuer: Issuer
) -> None:
    pick(keys, "a")
    issuer.shows("a", "b")

    issuer.after(seconds=29)
    assert pick(keys, "b") is None
    issuer.after(seconds=30)
    assert pick(keys, "b")


def test_a_flood_of_made_up_key_ids_is_no_flood_of_fetches(keys: KeySet, issuer: Issuer) -> None:
    for number in range(300):
        issuer.after(seconds=number / 10)
        assert pick(keys, f"made-up-{number}") is None

    assert issuer.asked == [DISCOVERY, JWKS]


def test_while_the_issuer_is_away_its_keys_are_believed_for_an_hour(
    keys: KeySet, issuer: Issuer
) -> None:
    pick(keys, "a")
    issuer.documents.clear()

    issuer.after(minutes=59)
    assert pick(keys, "a")
    issuer.after(minutes=60)
    with pytest.raises(UnavailableError):
        pick(keys, "a")


def test_while_it_is_away_it_is_not_asked_for_every_request(keys: KeySet, issuer: Issuer) -> None:
    issuer.documents.clear()
    for number in range(100):
        issuer.after(seconds=number / 10.1)
        with pytest.raises(UnavailableError) as refused:
            pick(keys, "a")
        assert refused.value.retry_after_seconds == 10

    assert issuer.asked == [DISCOVERY]
    issuer.documents = Issuer().documents
    issuer.after(seconds=10)
    assert pick(keys, "a")


@pytest.mark.parametrize(
    "documents",
    [
        {DISCOVERY: {"issuer": "https://evil.example", "jwks_uri": JWKS}},
        {DISCOVERY: {"issuer": ISSUER + "/", "jwks_uri": JWKS}},
        {DISCOVERY: {"jwks_uri": JWKS}},
        {DISCOVERY: {"issuer": ISSUER}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": 7}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": "http://id.example/keys"}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": "http://[::1"}},
        {DISCOVERY: []},
        {DISCOVERY: b"<html>"},
        {DISCOVERY: b"[" * 100_000},
        {JWKS: {"keys": []}},
        {JWKS: {"keys": ["x", 1]}},
        {JWKS: {"keys": {"a": 1}}},
        {JWKS: {}},
    ],
)
def test_a_document_that_is_none_gives_no_keys(
    keys: KeySet, issuer: Issuer, documents: dict[str, Any]
) -> None:
    issuer.documents |= documents

    with pytest.raises(UnavailableError):
        pick(keys, "a")
    assert "http://id.example/keys" not in issuer.asked


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_plain_http_will_do_on_loopback(host: str) -> None:
    issuer = Issuer()
    url = f"http://{host}:8080/keys"
    issuer.documents[url] = {"keys": [{"kid": "a"}]}

    assert pick(KeySet(issuer, issuer=ISSUER, jwks_url=url, now=lambda: NOW), "a")
