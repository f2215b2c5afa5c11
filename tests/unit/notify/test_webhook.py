"""How long a receiver asks to wait, and what a signature is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aetherlink.notify.endpoint import Endpoint, rotated
from aetherlink.notify.signing import new_secret, sign
from aetherlink.notify.webhook import retry_after

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("120", 120),
        ("0.5", 0.5),
        ("-3", 0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("1e400", None),
    ],
)
def test_what_a_receiver_asks_for(given: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert retry_after(given, NOON) == expected


def test_a_signature_is_the_specifications_own_example() -> None:
    """From the specification's libraries: the secret, id, time and body that all of them test with."""
    headers = sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_secrets_sign_during_a_rotation() -> None:
    first, second, third = (new_secret() for _ in range(3))
    blank = Endpoint("e", "https://a.example/")
    once = rotated(blank, first, NOON, timedelta(0))
    twice = rotated(once, second, NOON)

    assert twice.signing(NOON + timedelta(hours=23)) == (second, first)
    assert twice.signing(NOON + timedelta(hours=24)) == (second,)
    assert rotated(twice, third, NOON).signing(NOON) == (third, second)
    assert rotated(once, second, NOON, timedelta(0)).signing(NOON) == (second,)
    assert len(sign(twice.signing(NOON), "m", NOON, b"").get("webhook-signature", "").split()) == 2
