"""What other systems say, on the deployed stack: Alertmanager itself, PagerDuty's own client, pings."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pagerduty
import pytest

from tests.e2e import alertmanager
from tests.e2e.deployed import Api, make_key, unique, wait_for

if TYPE_CHECKING:
    from tests.e2e.receiver import Receiver


@pytest.fixture
def key(api: Api, admin_key: str, tenant: str) -> str:
    """A sender's: of the test's tenant alone."""
    return make_key(api.url, admin_key, {"name": "sender", "roles": ["agent"], "tenant_id": tenant})


def alerts(api: Api, tenant: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.call("GET", "/alerts", tenant=tenant).ok()["alerts"]
    return found


def states(api: Api, tenant: str) -> list[str]:
    return [alert["state"] for alert in alerts(api, tenant)]


def heads(receiver: Receiver, name: str) -> list[str]:
    return [request.text.partition("\n")[0] for request in receiver.delivered(name)]


TRIGGERED = ":rotating_light: *AetherLink Alert Triggered*"
RESOLVED = ":white_check_mark: *AetherLink Alert Resolved*"


def test_an_alertmanager_fires_and_resolves_one_episode(
    api: Api, tenant: str, key: str, receiver: Receiver, tmp_path: Path
) -> None:
    program = alertmanager.binary()
    if program is None:
        pytest.skip("no Alertmanager here: apt-get install prometheus-alertmanager")
    name = unique("HighLatency")
    start = datetime.now(UTC) - timedelta(minutes=1)
    alert = {
        "labels": {"alertname": name, "severity": "critical", "service": "checkout"},
        "annotations": {"summary": "p99 is 4 s"},
        "startsAt": start.isoformat(),
    }
    url = f"{api.url}/ingest/alertmanager"
    with alertmanager.running(program, tmp_path, url=url, key=key) as manager:
        manager.send(alert)
        wait_for(lambda: states(api, tenant) == ["firing"], 20, "the episode opened")
        # It repeats itself every two seconds; people hear of it once.
        wait_for(lambda: heads(receiver, name) == [TRIGGERED], 20, "people know")
        manager.send({**alert, "endsAt": datetime.now(UTC).isoformat()})
        wait_for(lambda: states(api, tenant) == ["resolved"], 20, "the episode closed")
    wait_for(lambda: heads(receiver, name) == [TRIGGERED, RESOLVED], 20, "people know the end")
    [episode] = alerts(api, tenant)
    assert (episode["rule_name"], episode["severity"]) == (name, "critical")
    assert episode["annotations"]["summary"] == "p99 is 4 s"
    types = sorted(event["event_type"] for event in api.own(tenant))
    assert types == [
        "ingest.alert.firing", "ingest.alert.resolved", "ops.alert.raised", "ops.alert.resolved",
    ]  # fmt: skip


class ByHttp(httpx2.HTTPTransport):
    """The client insists on https, which the local cloud does not speak."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http")
        return super().handle_request(request)


def a_client(api: Api, key: str) -> pagerduty.EventsApiV2Client:
    url = api.url.replace("http://", "https://")
    return pagerduty.EventsApiV2Client(key, base_url=f"{url}/ingest/pagerduty", transport=ByHttp())


def test_pagerdutys_own_client_triggers_acknowledges_and_resolves(
    api: Api, tenant: str, key: str, receiver: Receiver
) -> None:
    summary = unique("disk full on db")
    with a_client(api, key) as client:
        dedup = client.trigger(summary, "db-1", severity="error", custom_details={"free": "1 %"})
        wait_for(lambda: heads(receiver, summary) == [TRIGGERED], 20, "people know")
        client.acknowledge(dedup)
        [episode] = alerts(api, tenant)
        assert episode["acknowledged"]["by"] == "pagerduty"
        client.resolve(dedup)

    wait_for(lambda: heads(receiver, summary) == [TRIGGERED, RESOLVED], 20, "people know the end")
    assert states(api, tenant) == ["resolved"]


def test_pagerdutys_client_without_a_key_of_ours_is_refused(api: Api) -> None:
    with a_client(api, "0" * 32) as client, pytest.raises(pagerduty.HttpError) as refused:
        client.trigger("x", "y")
    assert refused.value.response is not None
    assert refused.value.response.status_code == 401


def test_a_heartbeat_that_stops_alerts_and_its_return_ends_the_alert(
    api: Api, tenant: str, receiver: Receiver
) -> None:
    name = unique("backup")
    monitor = {"name": name, "period_seconds": 2, "grace_seconds": 1}
    made = api.call("POST", "/ingest/monitors", monitor, tenant=tenant).ok()
    url = api.url + made["ping_path"]
    assert ping(url) == (200, "OK")

    wait_for(lambda: heads(receiver, name) == [TRIGGERED], 30, "its silence was told")
    # A longer period, so that it is not missed again while the test looks.
    path = f"/ingest/monitors/{made['monitor_id']}"
    api.call("PUT", path, {**monitor, "period_seconds": 3_600}, tenant=tenant).ok()
    assert ping(url) == (200, "OK")
    wait_for(lambda: heads(receiver, name) == [TRIGGERED, RESOLVED], 30, "its return was told")
    assert ping(f"{url}/7", b"no space left") == (200, "OK")
    wait_for(lambda: receiver.delivered(name, "exit code 7: no space left"), 30, "its failure")
    assert api.call("DELETE", path, tenant=tenant).status == 200
    assert ping(url)[0] == 404


def ping(url: str, body: bytes | None = None) -> tuple[int, str]:
    """As curl does, without any header of ours."""
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
