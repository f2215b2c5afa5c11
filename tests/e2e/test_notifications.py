"""A tenant's endpoints on the deployed stack: signed, filtered, replayed, digested, and its links."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from tests.e2e.deployed import Api, unique, wait_for

if TYPE_CHECKING:
    from tests.e2e.conftest import RuleMaker
    from tests.e2e.receiver import Receiver, Request


class Endpoint:
    """One of the tenant's, at a path of the receiver that is its own."""

    def __init__(self, api: Api, tenant: str, receiver: Receiver, **given: Any) -> None:
        self._api = api
        self._tenant = tenant
        self._receiver = receiver
        self.path = f"/{unique('own')}"
        url = f"http://127.0.0.1:{receiver.port}{self.path}"
        body = {"name": unique("endpoint"), "kind": "generic", "url": url, **given}
        made = api.call("POST", "/notifications/endpoints", body, tenant=tenant).ok()
        self.id, self.secret = made["endpoint_id"], made["secret"]

    def call(self, method: str, rest: str = "", body: Any = None) -> Any:
        path = f"/notifications/endpoints/{self.id}{rest}"
        return self._api.call(method, path, body, tenant=self._tenant)

    def got(self, event_type: str = "ops.alert.raised") -> list[Request]:
        """What arrived there and was taken."""
        return [
            r
            for r in self._receiver.delivered()
            if r.path == self.path and r.body["type"] == event_type
        ]


def deliveries(api: Api, tenant: str, **query: Any) -> list[dict[str, Any]]:
    page = api.call("GET", "/notifications/deliveries", tenant=tenant, query=query).ok()
    found: list[dict[str, Any]] = page["deliveries"]
    return found


def test_an_alert_arrives_signed_and_is_in_the_log(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    endpoint = Endpoint(api, tenant, receiver)
    rotated = endpoint.call("POST", "/rotate-secret").ok()
    make_rule(tenant, source)
    api.publish(tenant, source)
    [request] = wait_for(endpoint.got, 20, "the alert arrived")

    for secret in (endpoint.secret, rotated["secret"]):
        Webhook(secret).verify(request.raw, dict(request.headers))
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(endpoint.secret).verify(request.raw + b" ", dict(request.headers))
    [brief] = wait_for(lambda: deliveries(api, tenant, state="delivered"), 10, "it is in the log")
    assert brief["webhook_id"] == request.headers["webhook-id"]
    shown = api.call("GET", f"/notifications/deliveries/{brief['id']}", tenant=tenant).ok()
    assert [a["status"] for a in shown["delivery"]["attempts"]] == [200]
    stats = api.call("GET", "/notifications/deliveries/stats", tenant=tenant).ok()
    assert (stats["total"], stats["delivered"]) == (1, 1)


def test_a_test_send_tells_what_came_of_it(api: Api, tenant: str, receiver: Receiver) -> None:
    endpoint = Endpoint(api, tenant, receiver)
    sent = endpoint.call("POST", "/test")
    assert sent.status == 202
    wait_for(lambda: endpoint.got("ops.endpoint.test"), 20, "the test message arrived")
    path = f"/notifications/deliveries/{sent.body['delivery_id']}"
    wait_for(
        lambda: api.call("GET", path, tenant=tenant).ok()["delivery"]["state"] == "delivered", 10
    )


def test_what_was_refused_is_replayed(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    endpoint = Endpoint(api, tenant, receiver)
    receiver.answer_always(source, 404)
    make_rule(tenant, source)
    api.publish(tenant, source)
    [failed] = wait_for(lambda: deliveries(api, tenant, state="failed"), 20, "it was given up")
    assert (failed["last_status"], failed["error_class"]) == (404, "permanent")

    receiver.reset()
    path = f"/notifications/deliveries/{failed['id']}/replay"
    assert api.call("POST", path, tenant=tenant).status == 202
    [request] = wait_for(endpoint.got, 20, "the replayed one")
    assert request.headers["webhook-id"] == failed["webhook_id"]


def test_forty_alerts_at_once_are_forty_messages_or_a_digest_and_none_is_lost(
    api: Api, tenant: str, receiver: Receiver
) -> None:
    plain = Endpoint(api, tenant, receiver)
    calm = Endpoint(api, tenant, receiver, digest={"after": 5, "window_seconds": 10})
    sources = [unique("storm") for _ in range(40)]
    rule = {"name": "storm", "group_by": ["source"], "window_seconds": 600, "threshold": 1}
    rule_id = api.call("POST", "/alerts/rules", rule, tenant=tenant).ok()["rule_id"]
    batch = [
        {
            "event_type": "service.health.failed",
            "source": s,
            "severity": "error",
            "payload": {"service": s},
        }
        for s in sources
    ]
    api.call("POST", "/events/batch", {"events": batch}, tenant=tenant).ok()
    wait_for(lambda: len(api.alerts(tenant, rule_id)) == 40, 30, "forty alerts")

    wait_for(lambda: len(plain.got()) == 40, 60, "each arrived where no digest is configured")
    told = wait_for(lambda: _told(calm) >= set(sources) and _told(calm), 60, "all are told of")
    assert told == set(sources)
    assert len(plain.got()) == len({r.headers["webhook-id"] for r in plain.got()}) == 40
    # At most five alone in each window of the clock that the storm fell into.
    assert len(calm.got()) <= 10
    counted = sum(r.body["data"]["digest"]["count"] for r in calm.got("ops.alert.digest"))
    assert counted + len(calm.got()) == 40


def _told(endpoint: Endpoint) -> set[str]:
    """The sources that somebody at the endpoint knows of, alone or in a digest."""
    alone = [request.body["data"] for request in endpoint.got()]
    digests = [request.body["data"]["digest"] for request in endpoint.got("ops.alert.digest")]
    together = [event for digest in digests for event in digest["events"]]
    return {event["payload"]["group"]["source"] for event in (*alone, *together)}


def test_a_link_shows_a_page_and_its_button_acknowledges(
    api: Api, tenant: str, source: str, receiver: Receiver, make_rule: RuleMaker
) -> None:
    endpoint = Endpoint(api, tenant, receiver)
    make_rule(tenant, source)
    api.publish(tenant, source)
    [request] = wait_for(endpoint.got, 20, "the alert arrived")
    links = {link["text"]: link["url"] for link in request.body["data"]["links"]}

    # A scanner of mail follows it, more than once.
    pages = [follow(links["Acknowledge"]) for _ in range(2)]
    assert [status for status, _ in pages] == [200, 200]
    assert 'method="post"' in pages[0][1]
    assert acknowledged(api, tenant) == [None]
    status, page = follow(links["Acknowledge"], b"")
    assert (status, "Acknowledged." in page) == (200, True)
    [given] = acknowledged(api, tenant)
    assert given["by"] == f"link:{endpoint.id}"
    assert follow(links["Acknowledge"][:-3] + "AAA")[0] == 401


def acknowledged(api: Api, tenant: str) -> list[Any]:
    return [a["acknowledged"] for a in api.call("GET", "/alerts", tenant=tenant).ok()["alerts"]]


def follow(url: str, body: bytes | None = None) -> tuple[int, str]:
    """As a browser does: GET, or with a body the form's POST."""
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_leads_event_is_told_in_its_rules_words(
    api: Api, tenant: str, receiver: Receiver
) -> None:
    endpoint = Endpoint(api, tenant, receiver, event_types=["lead.*"])
    lead = unique("lead")
    tried = {
        "event_type": "lead.status_changed",
        "lead_id": lead,
        "new_status": "qualified",
        "actor": "bob",
    }
    said = api.call("POST", "/notifications/test", tried, tenant=tenant).ok()["message"]
    assert said == f"Lead #{lead} moved to QUALIFIED by bob"
    payload = {name: value for name, value in tried.items() if name != "event_type"}

    def publish(event_type: str) -> None:
        api.publish(tenant, "crm", event_type=event_type, severity="info", payload=payload)

    # The relay knows of a new subscription after half a minute at the latest.
    def arrives() -> bool:
        publish("lead.status_changed")
        return bool(endpoint.got("lead.status_changed"))

    wait_for(arrives, 60, "the lead's event")
    assert said in endpoint.got("lead.status_changed")[0].text
    publish("lead.note_added")
    publish("lead.status_changed")
    count = len(endpoint.got("lead.status_changed"))
    wait_for(lambda: len(endpoint.got("lead.status_changed")) > count, 20, "a later one")
    assert endpoint.got("lead.note_added") == []
