"""The client against a control plane that is there, away, slow to be convinced, or says no."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from aetherlink_client import Client, Refused, SpoolFull
from aetherlink_client.spool import Spool

URL = "https://control.example/prod"


class Plane:
    """A control plane: what it was asked, and how it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.stored: list[dict[str, Any]] = []
        self.is_away = False
        self.answers: list[httpx.Response] = []
        self.known: set[str] = set()
        self._changed = threading.Condition()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._changed:
            try:
                return self._answer(request)
            finally:
                self._changed.notify_all()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path.removeprefix("/prod")))
        if self.is_away:
            raise httpx.ConnectError("away")
        if self.answers:
            return self.answers.pop(0)
        path = self.asked[-1][1]
        if path == "/events/batch":
            events = json.loads(request.content)
            known = {event["event_id"] for event in self.stored}
            self.stored += [event for event in events if event["event_id"] not in known]
            return httpx.Response(200, json={"results": [{"http_status": 200} for _ in events]})
        if path == "/ops/register":
            body = json.loads(request.content)
            self.known.add(body["name"])
            return httpx.Response(200, json={"status": "ok", "heal_secret": "whsec_x"})
        name = path.split("/")[3]
        if name not in self.known:
            return httpx.Response(404, json={"detail": f"Service '{name}' not found in registry"})
        return httpx.Response(200, json={"status": "ok"})

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 20), (self.asked, self.stored)

    def count(self, *asked: str) -> int:
        return self.asked.count((asked[0], asked[1]))


@pytest.fixture
def plane() -> Plane:
    return Plane()


def client(plane: Plane, **given: Any) -> Client:
    return Client(URL, key="ak_x", transport=httpx.MockTransport(plane), **given)


def test_events_arrive_in_their_order_each_once(plane: Plane) -> None:
    with client(plane) as made:
        ids = [made.publish("lead.created", {"n": n}, source="shop") for n in range(250)]
        plane.wait(lambda: len(plane.stored) == 250)

    assert [event["event_id"] for event in plane.stored] == ids
    assert len(plane.asked) < 250


def test_what_cannot_be_sent_waits_on_disk_for_the_next_process(
    plane: Plane, tmp_path: Path
) -> None:
    plane.is_away = True
    path = tmp_path / "spool" / "events.db"
    with client(plane, spool=path) as first:
        first.publish("lead.created", {}, source="shop", event_id="e-1")
        assert (first.flush(), first.waiting) == (False, 1)
    plane.is_away = False
    with client(plane, spool=path) as second:
        plane.wait(lambda: len(plane.stored) == 1)
        assert second.flush()
        assert second.waiting == 0
    assert plane.stored[0]["event_id"] == "e-1"


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403])
def test_a_refusal_that_may_end_loses_nothing(plane: Plane, status: int) -> None:
    plane.answers = [httpx.Response(status, json={"detail": "later"}, headers={"Retry-After": "0"})]
    with client(plane) as made:
        made.publish("lead.created", {}, source="shop")
        plane.wait(lambda: len(plane.stored) == 1)
        assert made.refused() == []


def test_what_is_wrong_for_good_is_set_aside_with_its_reason(plane: Plane) -> None:
    results = [
        {"http_status": 200},
        {"http_status": 400, "detail": "Unknown event_type 'x.y'"},
        {"http_status": 503, "detail": "later"},
    ]
    with client(plane, spool=":memory:") as made:
        made._sending.acquire()  # So that the three go together.
        for event_id in ("good", "bad", "late"):
            made.publish("x.y", {}, source="shop", event_id=event_id)
        plane.answers = [httpx.Response(207, json={"results": results})]
        made._sending.release()
        plane.wait(lambda: [e["event_id"] for e in plane.stored] == ["late"])
        ((event, reason),) = made.refused()

    assert (event["event_id"], reason) == ("bad", "400: Unknown event_type 'x.y'")


def test_one_event_that_spoils_the_batch_does_not_hold_up_the_others(plane: Plane) -> None:
    whole = httpx.Response(413, json={"detail": "too large"})
    with client(plane) as made:
        made._sending.acquire()
        for number in range(3):
            made.publish("lead.created", {}, source="shop", event_id=f"e-{number}")
        # The batch, and then the first one by itself.
        plane.answers = [whole, whole]
        made._sending.release()
        plane.wait(lambda: len(plane.stored) == 2)
        assert [event["event_id"] for event, _ in made.refused()] == ["e-0"]


def test_a_full_spool_says_so_instead_of_dropping(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", max_events=1)
    spool.put({})
    with pytest.raises(SpoolFull):
        spool.put({})
    spool.close()


def test_registering_is_one_line_and_its_heartbeat_goes_on(plane: Plane) -> None:
    with client(plane) as made:
        registration = made.register("billing", "https://b.example", heartbeat_seconds=0.01)
        assert (registration.is_registered, registration.heal_secret) == (True, "whsec_x")
        plane.wait(lambda: plane.count("POST", "/ops/services/billing/heartbeat") >= 3)
    assert plane.count("POST", "/ops/register") == 1


def test_a_control_plane_that_is_away_does_not_stop_the_service(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aetherlink_client.client.FIRST_WAIT_SECONDS", 0.01)
    plane.is_away = True
    with client(plane) as made:
        registration = made.register("billing", "https://b.example", heartbeat_seconds=0.01)
        assert not registration.is_registered
        plane.is_away = False
        plane.wait(lambda: "billing" in plane.known)


def test_a_service_that_was_removed_registers_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aetherlink_client.client.FIRST_WAIT_SECONDS", 0.01)
    with client(plane) as made:
        made.register("billing", "https://b.example", heartbeat_seconds=0.01)
        plane.known.clear()
        plane.wait(lambda: plane.count("POST", "/ops/register") == 2)


def test_strict_raises(plane: Plane) -> None:
    plane.answers = [httpx.Response(422, json={"detail": "a cycle"})]
    with client(plane) as made:
        with pytest.raises(Refused, match="422: a cycle"):
            made.register("a", "https://a.example", strict=True)
        plane.is_away = True
        with pytest.raises(httpx.HTTPError):
            made.register("a", "https://a.example", strict=True)
