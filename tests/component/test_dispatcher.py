"""The dispatcher against a real receiver: each alert arrives, is tried again, or is given up aloud."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from aetherlink.notify.endpoint import Endpoint
from aetherlink.notify.endpoint_store import EndpointStore
from aetherlink.notify.model import Delivery
from aetherlink.wiring import control_table, event_store
from tests.component.conftest import Stack


@dataclass
class Receiver:
    """A webhook receiver that answers as it is told; 200 when it has run out of orders.

    An order of 0 hangs longer than the dispatcher waits.
    """

    url: str = ""
    orders: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.got.append((headers, json.loads(body)))
            told.raw.append(body)
            status = told.orders.pop(0) if told.orders else 200
            if status == 0:
                time.sleep(1.5)
                status = 200
            try:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                pass  # the dispatcher has hung up

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_port}/hook/secret-token"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Dispatch:
    """The real handler, with a clock and endpoints of the test's own."""

    monkeypatch: pytest.MonkeyPatch
    module: Any
    now: datetime

    def to(self, *urls: str) -> None:
        configured = [Endpoint(f"wh_{n}", url) for n, url in enumerate(urls)]
        endpoints = EndpointStore(control_table(), event_store(), configured)
        self.monkeypatch.setattr(self.module.dispatcher, "_endpoints", endpoints)

    def take(self, *messages: Any) -> list[str]:
        """Deliver queue messages; the ids of those that have to come again."""
        records = [
            {"messageId": f"m{n}", "body": m if isinstance(m, str) else json.dumps(m)}
            for n, m in enumerate(messages)
        ]
        answer = self.module.lambda_handler({"Records": records}, None)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def kept(self) -> list[Delivery]:
        store = self.module.dispatcher._deliveries
        items = store._table.query_all("pk = :pk", pk="system#deliveries")
        return [store.get(item["sk"]) for item in items]

    def again(self, *, seconds: float, of: list[str] | None = None) -> list[str]:
        """Time passes, and each delivery's own message comes."""
        self.now += timedelta(seconds=seconds)
        ids = of or [delivery.id for delivery in self.kept()]
        return self.take(*({"delivery_id": delivery_id} for delivery_id in ids))


@pytest.fixture
def dispatch(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Dispatch:
    module = importlib.import_module("functions.notify.dispatcher")
    made = Dispatch(monkeypatch, module, datetime.now(UTC))
    monkeypatch.setattr(module.dispatcher, "_now", lambda: made.now)
    return made


def an_alert(stack: Stack, name: str = "heal-failures") -> dict[str, Any]:
    """The queue message of an alert that the whole chain made."""
    rule = {"name": name, "window_seconds": 300, "threshold": 1, "event_type": "autoheal.failed"}
    assert stack.call("POST", "/alerts/rules", body=rule, tenant="acme").status == 200
    stack.publish(tenant="acme")
    stack.relay()
    (message,) = stack.queue("notifications-test")
    return message


def waiting(stack: Stack) -> int:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="notifications-test")["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    given: dict[Any, str] = {**answer["Attributes"]}
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
    return sum(int(given[name]) for name in counts)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_alert_arrives(stack: Stack, dispatch: Dispatch, receiver: Receiver) -> None:
    dispatch.to(receiver.url)

    assert dispatch.take(an_alert(stack)) == []
    ((headers, body),) = receiver.got
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["webhook-id"].startswith("msg_")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    lines = body["text"].split("\n")
    assert lines[:6] == [
        ":rotating_light: *AetherLink Alert Triggered*",
        "",
        "*Rule:* `heal-failures`",
        "*Severity:* `CRITICAL`",
        "*Source:* `aether-command-center`",
        "*Tenant:* `acme`",
    ]
    assert [(d.state, d.tries) for d in dispatch.kept()] == [("delivered", 1)]


def test_the_same_message_twice_arrives_once(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    alert = an_alert(stack)

    assert dispatch.take(alert) == []
    assert dispatch.take(alert) == []
    assert len(receiver.got) == 1


def test_an_alert_arrives_at_every_endpoint(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url, receiver.url + "-2", f"http://127.0.0.1:{closed_port()}/")

    assert dispatch.take(an_alert(stack)) == []
    assert len(receiver.got) == 2
    states = sorted(str(delivery.state) for delivery in dispatch.kept())
    assert states == ["delivered", "delivered", "pending"]


def test_a_receiver_that_fails_is_tried_again_when_it_is_time(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [500]
    dispatch.take(an_alert(stack))

    assert waiting(stack) == 1
    dispatch.again(seconds=4)
    assert len(receiver.got) == 1
    dispatch.again(seconds=1.5)
    (delivery,) = dispatch.kept()
    assert (delivery.state, [a.status for a in delivery.attempts]) == ("delivered", [500, 200])
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]


def test_a_receiver_that_is_down_is_tried_again(stack: Stack, dispatch: Dispatch) -> None:
    dispatch.to(f"http://127.0.0.1:{closed_port()}/hook")
    dispatch.take(an_alert(stack))

    (delivery,) = dispatch.kept()
    assert (delivery.state, delivery.tries, delivery.attempts[0].status) == ("pending", 1, None)
    assert timedelta(seconds=5) <= delivery.due_at - dispatch.now <= timedelta(seconds=5.5)


def test_a_receiver_that_hangs_is_tried_again_later(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url, receiver.url + "-2")
    receiver.orders = [0, 0]
    dispatch.take(an_alert(stack))

    assert [(d.state, d.tries) for d in dispatch.kept()] == [("pending", 1), ("pending", 1)]


def test_a_delivery_that_failed_every_time_is_given_up_aloud(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [500, 503, 502]
    dispatch.take(an_alert(stack))
    dispatch.again(seconds=5.5)
    dispatch.again(seconds=66)

    (delivery,) = dispatch.kept()
    assert (delivery.state, delivery.tries) == ("dead_letter", 3)
    assert stack.queue("dead-test") == [{"delivery_id": delivery.id, "revive": True}]
    (event,) = stack.recent(tenant="acme", event_type="ops.alert.delivery.failed")
    assert event["severity"] == "error"
    kept = ("delivery_id", "endpoint", "attempts", "transition", "last_status", "last_error")
    assert {name: event["payload"][name] for name in kept} == {
        "delivery_id": delivery.id,
        "endpoint": "127.0.0.1",
        "attempts": 3,
        "transition": "raised",
        "last_status": 502,
        "last_error": "answered 502",
    }
    assert "secret-token" not in json.dumps(event)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_receiver_that_refuses_for_good_is_not_asked_again(
    stack: Stack, dispatch: Dispatch, receiver: Receiver, status: int
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [status]
    dispatch.take(an_alert(stack))

    assert [(d.state, d.tries) for d in dispatch.kept()] == [("failed", 1)]


@pytest.mark.parametrize("status", [408, 425, 429])
def test_a_receiver_that_says_not_now_is_asked_again(
    stack: Stack, dispatch: Dispatch, receiver: Receiver, status: int
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [status]
    dispatch.take(an_alert(stack))

    assert [d.state for d in dispatch.kept()] == ["pending"]


def test_an_endpoint_inside_the_network_is_refused_for_good(
    stack: Stack, dispatch: Dispatch
) -> None:
    dispatch.to("http://169.254.169.254/latest/meta-data/")
    dispatch.take(an_alert(stack))

    (delivery,) = dispatch.kept()
    assert (delivery.state, delivery.tries, delivery.attempts[0].status) == ("failed", 1, None)


def test_a_redirect_is_an_answer_and_is_not_followed(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [302]
    dispatch.take(an_alert(stack))

    assert (len(receiver.got), [d.state for d in dispatch.kept()]) == (1, ["pending"])


def test_a_dead_letter_that_is_sent_again_arrives(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [404]
    dispatch.take(an_alert(stack))
    (letter,) = stack.queue("dead-test")

    assert dispatch.take(letter) == []
    (delivery,) = dispatch.kept()
    assert (delivery.state, [a.status for a in delivery.attempts]) == ("delivered", [404, 200])
    assert dispatch.take(letter) == []
    assert len(receiver.got) == 2


def test_an_endpoint_that_is_gone_from_the_configuration_is_given_up(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    receiver.orders = [500]
    dispatch.take(an_alert(stack))
    dispatch.to()
    dispatch.again(seconds=5.5)

    (delivery,) = dispatch.kept()
    assert (delivery.state, delivery.attempts[-1].error) == (
        "failed",
        "the endpoint is no longer configured",
    )


@pytest.mark.parametrize("poison", ["", "nonsense", "{}", "[]", '{"event": {}}', '{"event": 1}'])
def test_a_message_that_cannot_be_read_fails_alone(
    stack: Stack, dispatch: Dispatch, receiver: Receiver, poison: str
) -> None:
    dispatch.to(receiver.url)

    assert dispatch.take(poison, an_alert(stack)) == ["m0"]
    assert len(receiver.got) == 1


def test_a_message_about_a_delivery_that_is_no_more_is_done(
    stack: Stack, dispatch: Dispatch
) -> None:
    assert dispatch.take({"delivery_id": "nope"}, {"delivery_id": "nope", "revive": True}) == []


def test_a_delivery_that_somebody_else_is_sending_is_left_alone(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    alert = an_alert(stack)
    (delivery_id,) = dispatch.module.dispatcher.open(json.dumps(alert))
    store = dispatch.module.dispatcher._deliveries
    opened = store.get(delivery_id)
    busy = opened.__class__(
        **{**opened.__dict__, "leased_until": dispatch.now + timedelta(seconds=30)}
    )
    store.save(opened, busy)

    assert dispatch.take(alert) == []
    assert receiver.got == []
    dispatch.now += timedelta(seconds=31)
    assert dispatch.take(alert) == []
    assert len(receiver.got) == 1


def test_a_dispatcher_that_dies_after_sending_repeats_that_one_with_the_same_id(
    stack: Stack, dispatch: Dispatch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch.to(receiver.url)
    first, second = an_alert(stack, "first"), an_alert(stack, "second")
    store = dispatch.module.dispatcher._deliveries
    save = store.save

    def dying(earlier: Delivery, changed: Delivery, event: Any = None) -> Delivery | None:
        if changed.attempts:
            raise SystemExit("killed before it was noted")
        stored: Delivery | None = save(earlier, changed, event)
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", dying)
        with pytest.raises(SystemExit):
            dispatch.take(first)
    assert len(receiver.got) == 1
    # Its message comes again: not while its lease holds, and then once.
    assert dispatch.take(first, second) == []
    dispatch.now += timedelta(seconds=60)
    assert dispatch.take(first) == []
    assert dispatch.take(first) == []
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(ids) == 3
    assert ids[0] == ids[2] != ids[1]


def test_an_alert_that_ends_is_a_delivery_of_its_own(
    stack: Stack, dispatch: Dispatch, receiver: Receiver
) -> None:
    dispatch.to(receiver.url)
    dispatch.take(an_alert(stack))
    rule_id = stack.call("GET", "/alerts/rules", tenant="acme").body["rules"][0]["id"]
    stack.call("DELETE", f"/alerts/rules/{rule_id}", tenant="acme")
    stack.relay()
    dispatch.take(*stack.queue("notifications-test"))

    heads = [body["text"].split("\n")[0] for _, body in receiver.got]
    assert heads == [
        ":rotating_light: *AetherLink Alert Triggered*",
        ":white_check_mark: *AetherLink Alert Resolved*",
    ]
