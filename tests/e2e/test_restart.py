"""What the stack holds survives `make down` and `make up`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.deployed import Api, make, wait_for
from tools.local.cloud import running
from tools.local.place import STACK_FILE

if TYPE_CHECKING:
    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver

pytestmark = [pytest.mark.embedded, pytest.mark.alone]


def test_what_is_stored_survives_a_restart(
    api: Api,
    stack: dict[str, Any],
    tenant: str,
    source: str,
    receiver: Receiver,
    make_rule: RuleMaker,
) -> None:
    api.call("POST", "/ops/register", {"name": source, "url": "http://a.example"}, tenant=tenant)
    rule = make_rule(tenant, source, threshold=2)
    kept = api.publish(tenant, source, event_id="before")
    ours = running()
    assert ours is not None

    down = make("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert not STACK_FILE.exists()
    with pytest.raises(OSError, match="refused"):
        api.call("GET", "/ping")
    up = make(
        "up",
        AUTH="true" if ours.auth else "",
        AUTH_MODE=stack["auth_mode"],
        PORT=str(ours.port),
        ALERT_WEBHOOKS=",".join(stack["alert_webhooks"]),
        PROVIDER_URLS=stack["provider_urls"],
    )
    assert up.returncode == 0, up.stdout + up.stderr
    after = json.loads(STACK_FILE.read_text())
    assert after["api_url"] == stack["api_url"]
    assert after["pid"] != ours.pid

    [service] = api.call("GET", "/ops/services", tenant=tenant).ok()["services"]
    assert service["name"] == source
    assert api.call("GET", f"/alerts/rules/{rule['id']}", tenant=tenant).ok()["rule"] == rule
    event = api.event(tenant, "before").ok()["event"]
    assert event["received_at"] == kept["received_at"]
    assert api.publish(tenant, source, event_id="before")["duplicate"] is True

    # The second of two: the first was counted before the restart.
    api.publish(tenant, source, event_id="after")
    wait_for(lambda: receiver.with_text(source), 20, "a further event raises the alert")
    assert len(api.alerts(tenant, rule["id"])) == 1
