"""What the answers about silences say of them at that very moment."""

from __future__ import annotations

from tests.component.conftest import Stack
from tests.component.test_alert_people import silence


def test_a_silence_from_now_on_is_active_in_the_answer_that_makes_it(stack: Stack) -> None:
    made = silence(stack)
    body = {name: made[name] for name in ("matchers", "ends_at")} | {"reason": "longer"}
    path = f"/alerts/silences/{made['id']}"

    assert made["state"] == "active"
    changed = stack.call("PUT", path, tenant="acme", body=body).body["silence"]
    assert changed["state"] == "active"
