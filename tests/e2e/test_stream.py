"""The live stream of the deployed stack, as a browser, a script and a stranger find it."""

from __future__ import annotations

import http.client
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.e2e.deployed import PROBLEM, Api, Aws, envelope, unique

EVENTS = 300
PUBLISHERS = 4
RECONNECTS = 100
# The most that MaxStreams may be.
EVERY_SLOT = 500


@dataclass(frozen=True)
class Heard:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def blocks(self) -> list[dict[str, str]]:
        """The fields of each whole block; what was cut off counts for nothing, as in a browser."""
        return [
            dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            for block in self.text.split("\n\n")[:-1]
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(block["data"]) for block in self.blocks if "data" in block]

    @property
    def last_id(self) -> str | None:
        return next((block["id"] for block in reversed(self.blocks) if "id" in block), None)


class Listener:
    def __init__(self, api: Api) -> None:
        self._url = urlsplit(api.url)
        self._who = api.who

    def __call__(
        self,
        tenant: str | None = None,
        last: str | None = None,
        *,
        roles: str | None = "operator",
        **query: str | int,
    ) -> Heard:
        headers = self._who.headers(roles, tenant)
        if last is not None:
            headers["Last-Event-ID"] = last
        target = f"{self._url.path}/events/stream?{urlencode({'wait': 0, **query})}"
        line = http.client.HTTPConnection(
            self._url.hostname or "", self._url.port or 80, timeout=60
        )
        try:
            line.request("GET", target, headers=headers)
            answer = line.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Heard(answer.status, found, answer.read().decode())
        finally:
            line.close()

    def start(self, tenant: str | None) -> str:
        """The position from which on everything is heard."""
        answer = self(tenant)
        assert answer.status == 200, answer.text
        assert answer.last_id
        return answer.last_id


@pytest.fixture
def listen(api: Api) -> Listener:
    return Listener(api)


def own(heard: Heard, tenant: str) -> list[str]:
    """The tenant's events without the platform's, which show in every tenant's stream."""
    return [event["event_id"] for event in heard.events if event.get("tenant_id") == tenant]


def test_no_event_is_missed_or_repeated_over_a_hundred_reconnects(
    api: Api, listen: Listener, tenant: str, source: str
) -> None:
    stranger = unique("e2e")
    wanted = [f"{source}-{number}" for number in range(EVENTS)]
    got: list[str] = []
    reconnects, last = 0, listen.start(tenant)
    chance = random.Random(source)
    with ThreadPoolExecutor(PUBLISHERS) as pool:
        at_work = [
            pool.submit(_publish, api, tenant, stranger, source, wanted[n::PUBLISHERS])
            for n in range(PUBLISHERS)
        ]
        deadline = time.monotonic() + 120
        quiet = 0
        while reconnects < RECONNECTS or quiet < 3:
            assert time.monotonic() < deadline, f"{len(got)} of {EVENTS} after {reconnects}"
            answer = listen(tenant, last, wait=1)
            assert answer.status == 200, answer.text
            whole = answer
            if reconnects < RECONNECTS and chance.random() < 0.5:
                # The line breaks anywhere.
                cut = chance.randrange(len(answer.text))
                answer = Heard(answer.status, answer.headers, answer.text[:cut])
            assert all(event.get("tenant_id") in (tenant, "system") for event in answer.events)
            assert "gap" not in [block.get("event") for block in answer.blocks]
            got += own(answer, tenant)
            last = answer.last_id or last
            reconnects += 1
            is_over = all(future.done() for future in at_work)
            quiet = quiet + 1 if is_over and not whole.events else 0
        for future in at_work:
            future.result()

    assert Counter(got) == Counter(wanted)


def _publish(api: Api, tenant: str, stranger: str, source: str, ids: list[str]) -> None:
    connection = api.connect()
    try:
        for event_id in ids:
            body = envelope(source, event_id=event_id, severity="info")
            connection.call("POST", "/events/publish", body, tenant=tenant).ok()
            if event_id.endswith("0"):
                connection.call("POST", "/events/publish", body, tenant=stranger).ok()
            time.sleep(0.05)
    finally:
        connection.close()


def test_what_is_published_is_there_within_the_wait(
    api: Api, listen: Listener, tenant: str, source: str
) -> None:
    start = listen.start(tenant)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listen, tenant, start, source=source, wait=20)
        time.sleep(1)
        begun = time.monotonic()
        api.publish(tenant, source, event_id="order-1", payload={"service": "é\n\n"})
        heard = waiting.result()

    assert own(heard, tenant) == ["order-1"]
    assert heard.events[0]["payload"] == {"service": "é\n\n"}
    assert time.monotonic() - begun < 20


def test_the_bytes_are_those_that_a_script_expects(
    api: Api, listen: Listener, tenant: str, source: str
) -> None:
    start = listen.start(tenant)
    api.publish(tenant, source, event_id="order-1")
    heard = listen(tenant, start, source=source, wait=20)

    assert heard.headers["content-type"].replace(" ", "") == "text/event-stream;charset=utf-8"
    assert heard.headers["cache-control"] == "no-store"
    position = heard.headers["x-next-cursor"]
    assert re.fullmatch(
        r"retry: 1000\n\nid: [\w-]+\nevent: service\.health\.failed\ndata: \{.*\}\n\n"
        r"(id: [\w-]+\n\n)?",
        heard.text,
    )
    assert heard.last_id == position
    assert own(listen(tenant, cursor=position, source=source), tenant) == []


def test_nothing_new_is_a_heartbeat_after_the_wait(listen: Listener, tenant: str) -> None:
    start = listen.start(tenant)
    begun = time.monotonic()
    heard = listen(tenant, start, wait=2, source=unique("nobody"))

    assert time.monotonic() - begun > 1.9
    assert heard.text.startswith("retry: 1000\n\n: nothing new")
    assert heard.events == []
    assert heard.last_id == heard.headers["x-next-cursor"]


def test_another_tenants_position_and_events_stay_its_own(
    api: Api, listen: Listener, tenant: str, source: str
) -> None:
    stranger = unique("e2e")
    mine, theirs = listen.start(tenant), listen.start(stranger)
    api.publish(tenant, source, event_id="order-1")
    assert own(listen(tenant, mine, source=source, wait=20), tenant) == ["order-1"]

    assert listen(stranger, theirs, source=source, wait=2).events == []
    assert listen(stranger, mine).status == 400


class TestTickets:
    def test_a_browser_follows_with_a_ticket(
        self, api: Api, listen: Listener, tenant: str, source: str
    ) -> None:
        given = api.call("POST", "/events/stream/ticket", tenant=tenant).ok()
        assert (given["status"], given["expires_in"]) == ("ok", 30)
        # EventSource keeps the URL and sends the last id that it saw.
        url = {"ticket": given["ticket"], "source": source}
        last = listen(roles=None, **url).last_id
        for event_id in ("order-1", "order-2"):
            api.publish(tenant, source, event_id=event_id)
            heard = listen(None, last, roles=None, **{**url, "wait": 20})
            assert own(heard, tenant) == [event_id]
            last = heard.last_id

        for spoilt in (None, (last or "").partition(".")[0]):
            refused = listen(None, spoilt, roles=None, **url)
            assert (refused.status, refused.headers["content-type"]) == (401, PROBLEM)

    def test_a_viewer_gets_none(self, api: Api, tenant: str) -> None:
        api.call("POST", "/events/stream/ticket", tenant=tenant, roles="viewer").problem(403)
        api.call("POST", "/events/stream/ticket", roles=None).problem(401)

    def test_a_made_up_one_is_refused(self, listen: Listener) -> None:
        assert listen(roles=None, ticket="YWNtZS94").status == 401


class TestTooMany:
    @pytest.fixture
    def _all_taken(self, aws: Aws) -> Iterator[None]:
        table = aws.resources()["ControlTable"]
        until = {"N": str(int(time.time()) + 40)}
        slots = [
            {"pk": {"S": "system#streams"}, "sk": {"S": f"{n:04d}"}} for n in range(EVERY_SLOT)
        ]
        _write(aws, table, [
            {"PutRequest": {"Item": {**slot, "token": {"S": "e2e"}, "lease_until": until,
                                     "expires_at": until}}}
            for slot in slots
        ])  # fmt: skip
        yield
        _write(aws, table, [{"DeleteRequest": {"Key": slot}} for slot in slots])

    @pytest.mark.usefixtures("_all_taken")
    def test_one_too_many_is_told_when_to_come_back(self, listen: Listener, tenant: str) -> None:
        refused = listen(tenant)

        assert (refused.status, refused.headers["content-type"]) == (429, PROBLEM)
        assert refused.headers["retry-after"] == "5"
        assert json.loads(refused.text)["retry"] == 5000

    def test_a_slot_is_given_back(self, aws: Aws, listen: Listener, tenant: str) -> None:
        for _ in range(30):
            assert listen(tenant).status == 200
        held = aws("dynamodb").query(
            TableName=aws.resources()["ControlTable"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "system#streams"}},
        )
        assert held["Items"] == []


def _write(aws: Aws, table: str, requests: list[dict[str, Any]]) -> None:
    dynamodb = aws("dynamodb")
    for start in range(0, len(requests), 25):
        left = dynamodb.batch_write_item(RequestItems={table: requests[start : start + 25]})
        assert not left.get("UnprocessedItems")
