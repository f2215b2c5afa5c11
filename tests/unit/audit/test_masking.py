"""No secret gets into a record, wherever it stands; and a record stays a record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.platform.masking import MAX_DEPTH, mask, mask_text

KEY = "ak_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O"
REGISTRATION = "rt_" + "Z9y8X7w6V5u4T3s2R1q0P9o8N7m6L"
JWT = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhbm4iLCJhdWQiOiJ4In0."
    "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
)


@pytest.mark.parametrize(
    "name",
    [
        "secret", "client_secret", "clientSecret", "token", "accessToken", "refresh-token",
        "password", "PASSWORD", "db_password", "passphrase", "Authorization", "api_key", "apiKey",
        "X-Api-Key", "private_key", "credentials", "signature", "webhook", "webhook_url",
        "Set-Cookie", "routing_key",
    ],
)  # fmt: skip
def test_what_is_called_a_secret_is_masked(name: str) -> None:
    assert mask({name: "hunter2"}) == {name: "***"}
    assert mask({name: {"value": "hunter2"}}) == {name: "***"}
    assert mask({name: ["hunter2"]}) == {name: "***"}


@pytest.mark.parametrize(
    "name", ["key_id", "name", "url", "requests_per_minute", "author", "tags", "keys"]
)
def test_what_is_called_otherwise_stays(name: str) -> None:
    assert mask({name: "hunter2"}) == {name: "hunter2"}


def test_that_a_secret_was_absent_is_no_secret() -> None:
    assert mask({"token": None}) == {"token": None}


def test_the_value_of_a_named_pair_is_masked_by_the_name() -> None:
    headers = [{"name": "Authorization", "value": "hunter2"}, {"name": "Accept", "value": "text"}]

    assert mask(headers) == [
        {"name": "Authorization", "value": "***"},
        {"name": "Accept", "value": "text"},
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key {KEY} leaked", "the key *** leaked"),
        (f"x{KEY}", "x***"),
        (f"rt={REGISTRATION}", "rt=***"),
        (f"got {JWT}.", "got ***"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "***"),
        ("Bearer abcdefgh12345678", "Bearer ***"),
        ("password=hunter2 and more", "password=*** and more"),
        ('{"password": "hunter 2", "a": 1}', '{"password": ***, "a": 1}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "***"),
        ("https://ann:hunter2@db.example/x", "https://***@db.example/x"),
        ("postgres://ann:hunter2@db.example/x", "postgres://***@db.example/x"),
        ("//ann:hunter2@db.example/x", "//***@db.example/x"),
        ("https://a.example/x?sig=hunter2#there", "https://a.example/x?***#***"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/***"),
        ("https://discord.com/api/webhooks/1/hunter2", "https://discord.com/***"),
        ("https://acme.webhook.office.com/webhookb2/hunter2", "https://acme.webhook.office.com/***"),
        ("https://prod-1.westeurope.logic.azure.com/w/hunter2", "https://prod-1.westeurope.logic.azure.com/***"),
        ("https://ops.example/hooks/hunter2", "https://ops.example/***"),
        ("https://api.telegram.org/bot1:hunter2/x", "https://api.telegram.org/***"),
        ("https://billing.example:8443/health", "https://billing.example:8443/health"),
        ("a plain sentence: with, some = signs", "a plain sentence: with, some = signs"),
    ],
)  # fmt: skip
def test_a_text_loses_its_secrets_and_nothing_else(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_a_secret_that_the_cut_would_halve_goes_whole() -> None:
    text = "x" * 50 + " " + KEY

    assert mask_text(text, limit=70) == "x" * 50 + " …[cut: 83 characters]"


def test_what_is_too_deep_or_too_many_is_cut_and_says_so() -> None:
    deep: Any = "bottom"
    for _ in range(50):
        deep = {"in": deep}

    shown = json.dumps(mask({"deep": deep, "many": list(range(10_000))}))

    assert "bottom" not in shown
    assert f"{MAX_DEPTH} levels deep" in shown
    assert "9,800 more" in shown


def test_a_body_of_4_megabytes_is_not_looked_at_whole() -> None:
    body = {f"field-{n}": "eyJ" * 1_300 for n in range(1_000)}

    assert len(json.dumps(mask(body))) < 100_000


PLAIN = st.text(st.characters(codec="utf-8"), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)
SECRETS = st.sampled_from((KEY, REGISTRATION, JWT))


@st.composite
def values_with_a_secret(draw: st.DrawFn) -> tuple[Any, str]:
    """A JSON value somewhere in which there is a secret: in a text, as a name, or under a name."""
    secret = draw(SECRETS)
    glue = st.text("abc =:/,.\"'{}[]?&#@ \n", max_size=12)
    planted: Any = draw(glue) + secret + draw(glue)
    match draw(st.integers(0, 2)):
        case 0:
            planted = {"token": draw(VALUES), "given": planted}
        case 1:
            planted = {planted: draw(VALUES)}
        case _:
            secret = "hunter2"
            planted = {draw(st.sampled_from(("password", "x-api-key", "Webhook"))): [secret]}
    for _ in range(draw(st.integers(0, 4))):
        planted = [draw(VALUES), planted] if draw(st.booleans()) else {"in": planted}
    return planted, secret


@given(values_with_a_secret())
def test_no_secret_is_left_wherever_it_stands(planted: tuple[Any, str]) -> None:
    value, secret = planted

    assert secret not in json.dumps(mask(value))


@given(VALUES)
def test_whatever_is_masked_is_still_json(value: Any) -> None:
    assert json.loads(json.dumps(mask(value))) is not ...
