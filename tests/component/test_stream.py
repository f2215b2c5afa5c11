"""The live stream from publish to server-sent events, and tickets for it, on moto."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from aetherlink.platform import telemetry
from tests.component.conftest import Answer, Context, Stack

STREAM, TICKET = "/events/stream", "/events/stream/ticket"
MAX_STREAMS = 3


@dataclass
class Heard:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def blocks(self) -> list[dict[str, str]]:
        """Each block's fields; a test needs no more of the format than this."""
        return [
            dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            for block in self.text.split("\n\n")[:-1]
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(block["data"]) for block in self.blocks if "data" in block]

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.events]

    @property
    def last_id(self) -> str:
        return [block["id"] for block in self.blocks if "id" in block][-1]


class Listener:
    """Asks for the stream as the gateway would; the answer is text, or a problem."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(
        self,
        *,
        roles: str | None = "operator",
        tenant: str | None = "acme",
        last: str | None = None,
        **query: str,
    ) -> Heard:
        headers = {"X-User-Roles": roles, "X-Tenant-ID": tenant, "Last-Event-ID": last}
        given = {name: value for name, value in headers.items() if value is not None}
        query = {"wait": "0", **query}
        event = {
            "resource": STREAM,
            "path": STREAM,
            "httpMethod": "GET",
            "headers": given,
            "multiValueHeaders": {name: [value] for name, value in given.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": {name: [v] for name, v in query.items()},
            "pathParameters": None,
            "requestContext": {
                "requestId": "req-1",
                "path": STREAM,
                "stage": "local",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": None,
            "isBase64Encoded": False,
        }
        answer = self._stack.handler("GET", STREAM)(event, Context())
        found = {name: ", ".join(values) for name, values in answer["multiValueHeaders"].items()}
        return Heard(answer["statusCode"], found, answer["body"])

    def by_ticket(self, ticket: str, last: str | None = None, **query: str) -> Heard:
        return self(roles=None, tenant=None, last=last, ticket=ticket, **query)


@pytest.fixture
def listen(stack: Stack) -> Listener:
    return Listener(stack)


@pytest.fixture
def later() -> Iterator[Callable[[float], None]]:
    """Lets time pass for tickets and slots."""
    import functions.events.stream as module

    passed = timedelta()

    def now() -> datetime:
        return datetime.now(UTC) + passed

    def wait(seconds: float) -> None:
        nonlocal passed
        passed += timedelta(seconds=seconds)

    kept = module.tickets._now, module.slots._now
    module.tickets._now = module.slots._now = now
    yield wait
    module.tickets._now, module.slots._now = kept


def publish(stack: Stack, event_id: str, tenant: str = "acme", **fields: Any) -> None:
    answer = stack.publish(event_id=event_id, tenant=tenant, **fields)
    assert answer.status == 200, answer.body
    stack.relay()


def ticket(stack: Stack, **how: Any) -> Any:
    answer = stack.call("POST", TICKET, **{"tenant": "acme", **how})
    assert answer.status == 200, answer.body
    return answer.body


def test_what_is_published_is_heard_from_the_position_on(stack: Stack, listen: Listener) -> None:
    publish(stack, "before")
    start = listen()
    assert (start.status, start.events) == (200, [])
    publish(stack, "1", payload={"service": "a", "action": "é\n", "error": "x"})
    publish(stack, "2")

    answer = listen(last=start.last_id)
    assert answer.ids == ["1", "2"]
    assert [block.get("event") for block in answer.blocks] == [
        None, "autoheal.failed", "autoheal.failed",
    ]  # fmt: skip
    assert answer.events[0]["payload"]["action"] == "é\n"
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Next-Cursor"] == answer.last_id
    assert listen(cursor=answer.headers["X-Next-Cursor"]).events == []
    assert listen(last=answer.blocks[1]["id"], cursor="ignored").ids == ["2"]


def test_a_tenant_hears_only_its_own_events_and_the_platforms(
    stack: Stack, listen: Listener
) -> None:
    acme, everyone = listen().last_id, listen(tenant=None).last_id
    publish(stack, "theirs", tenant="globex")
    publish(stack, "ours")
    stack.call(
        "POST", "/events/publish", roles="admin",
        body={"event_type": "autoheal.failed", "source": "test", "event_id": "everyones",
              "tenant_id": "system", "payload": {"service": "a", "action": "b", "error": "c"}},
    )  # fmt: skip
    stack.relay()

    assert listen(last=acme).ids == ["ours", "everyones"]
    assert listen(tenant=None, last=everyone).ids == ["theirs", "ours", "everyones"]
    foreign = listen(tenant="globex", last=acme)
    assert (foreign.status, json.loads(foreign.text)["title"]) == (400, "Bad request")


def test_a_viewer_and_a_stranger_are_refused(stack: Stack, listen: Listener) -> None:
    assert listen(roles="agent").status == 403
    assert listen(roles=None).status == 401
    assert stack.call("POST", TICKET, roles="agent", tenant="acme").status == 403
    assert stack.call("POST", TICKET, roles=None).status == 401


def test_filters_ignore_the_case_of_severities(stack: Stack, listen: Listener) -> None:
    start = listen().last_id
    publish(stack, "1", severity="error")
    publish(stack, "2")

    assert listen(last=start, severity="ERROR").ids == ["1"]
    assert listen(last=start, event_type="autoheal.attempted").events == []


@pytest.mark.parametrize("wait", ["26", "-1", "soon"])
def test_a_wait_out_of_bounds_is_refused(listen: Listener, wait: str) -> None:
    answer = listen(wait=wait)

    assert answer.status == 422
    assert json.loads(answer.text)["errors"][0]["pointer"] == "query/wait"


def test_an_altered_cursor_is_refused(listen: Listener) -> None:
    assert listen(cursor=listen().last_id[:-2]).status == 400


def test_the_stream_record_again_is_not_heard_again(stack: Stack, listen: Listener) -> None:
    start = listen().last_id
    publish(stack, "1")
    stack.delivered = 0
    stack.relay()

    assert listen(last=start).ids == ["1"]


def test_pages_that_are_gone_are_a_gap(stack: Stack, listen: Listener) -> None:
    publish(stack, "0")
    start = listen().last_id
    for name in ("1", "2", "3"):
        publish(stack, name)
    position = listen(last=start).blocks[1]["id"]
    table = boto3.resource("dynamodb").Table("projections-test")
    pages = table.query(
        KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": "acme#arrivals"}
    )["Items"]
    for page in pages[:3]:
        table.delete_item(Key={"pk": page["pk"], "sk": page["sk"]})

    answer = listen(last=position)
    assert answer.blocks[1]["event"] == "gap"
    assert answer.events[1]["event_id"] == "3"


class TestSlots:
    def test_one_stream_too_many_is_told_when_to_come_back(
        self, stack: Stack, listen: Listener
    ) -> None:
        import functions.events.stream as module

        with module.slots.held(), module.slots.held(), module.slots.held():
            refused = listen()
        body = json.loads(refused.text)
        assert (refused.status, body["status"], body["retry"]) == (429, 429, 5000)
        assert refused.headers["Retry-After"] == "5"
        assert listen().status == 200

    def test_a_slot_is_free_again_after_a_failure(self, stack: Stack, listen: Listener) -> None:
        for _ in range(MAX_STREAMS + 1):
            assert listen(cursor="garbage").status == 400

        assert listen().status == 200

    def test_the_slot_of_who_died_is_free_when_its_lease_has_lapsed(
        self, stack: Stack, listen: Listener, later: Callable[[float], None]
    ) -> None:
        import functions.events.stream as module

        for _ in range(MAX_STREAMS):
            module.slots._take("0")
        later(39)
        assert listen().status == 429
        later(3)
        assert listen().status == 200

    def test_a_slot_that_is_anothers_by_now_stays_so(
        self, stack: Stack, later: Callable[[float], None]
    ) -> None:
        import functions.events.stream as module

        taken = [module.slots._take(token) for token in "123"]
        later(42)
        again = [module.slots._take(token) for token in "456"]
        for slot, token in zip(taken, "123", strict=True):
            module.slots._release(slot, token)

        assert sorted(again) == sorted(taken)
        assert module.slots._free() == []


class TestTickets:
    def test_a_ticket_opens_the_stream_once(self, stack: Stack, listen: Listener) -> None:
        given = ticket(stack)
        assert (given["status"], given["expires_in"]) == ("ok", 30)

        assert listen.by_ticket(given["ticket"]).status == 200
        again = listen.by_ticket(given["ticket"])
        assert (again.status, again.headers["WWW-Authenticate"]) == (
            401,
            'Bearer realm="aetherlink", ApiKey realm="aetherlink"',
        )

    @pytest.mark.parametrize(
        ("wrong", "status"),
        [({"wait": "99"}, 422), ({"cursor": "garbage"}, 400), ({"tenant_id": "a b"}, 422)],
    )
    def test_a_first_call_that_is_refused_leaves_the_ticket_good(
        self, stack: Stack, listen: Listener, wrong: dict[str, str], status: int
    ) -> None:
        given = ticket(stack)["ticket"]

        assert listen.by_ticket(given, **wrong).status == status
        assert listen.by_ticket(given).status == 200
        assert listen.by_ticket(given).status == 401

    def test_who_found_no_slot_may_come_again_with_the_same_ticket(
        self, stack: Stack, listen: Listener
    ) -> None:
        import functions.events.stream as module

        given = ticket(stack)["ticket"]
        with module.slots.held(), module.slots.held(), module.slots.held():
            assert listen.by_ticket(given).status == 429

        assert listen.by_ticket(given).status == 200

    def test_of_two_who_present_a_ticket_at_once_one_is_let_in(self, stack: Stack) -> None:
        import functions.events.stream as module
        from aetherlink.kernel.errors import UnauthenticatedError

        given = ticket(stack)["ticket"]
        first, second = (module.tickets.present(given, "") for _ in range(2))

        assert module.tickets.redeemed(second).secret
        with pytest.raises(UnauthenticatedError):
            module.tickets.redeemed(first)

    def test_a_ticket_that_lapses_before_the_stream_starts_is_refused(
        self, stack: Stack, later: Callable[[float], None]
    ) -> None:
        import functions.events.stream as module
        from aetherlink.kernel.errors import UnauthenticatedError

        session = module.tickets.present(ticket(stack)["ticket"], "")
        later(31)

        with pytest.raises(UnauthenticatedError):
            module.tickets.redeemed(session)

    def test_a_session_goes_on_by_itself(
        self, stack: Stack, listen: Listener, later: Callable[[float], None]
    ) -> None:
        given = ticket(stack)["ticket"]
        answer = listen.by_ticket(given)
        for name in ("1", "2"):
            publish(stack, name)
            publish(stack, f"not-{name}", tenant="globex")
            later(59)
            answer = listen.by_ticket(given, last=answer.last_id)
            assert answer.ids == [name]
            assert "." not in answer.headers["X-Next-Cursor"]
        # The same id is good with ordinary credentials, too.
        assert listen(last=answer.last_id).status == 200
        later(61)
        assert listen.by_ticket(given, last=answer.last_id).status == 401

    def test_a_session_ends_after_an_hour(
        self, stack: Stack, listen: Listener, later: Callable[[float], None]
    ) -> None:
        given = ticket(stack)["ticket"]
        answer = listen.by_ticket(given)
        for _ in range(71):
            later(50)
            answer = listen.by_ticket(given, last=answer.last_id)
            assert answer.status == 200
        later(51)
        assert listen.by_ticket(given, last=answer.last_id).status == 401

    def test_a_used_ticket_is_nothing_without_its_own_secret(
        self, stack: Stack, listen: Listener
    ) -> None:
        used, other = ticket(stack)["ticket"], ticket(stack)["ticket"]
        mine = listen.by_ticket(used).last_id
        foreign = listen.by_ticket(other).last_id

        for last in (mine.partition(".")[0], mine + "x", foreign, ".", "é.é"):
            assert listen.by_ticket(used, last=last).status == 401
        assert listen.by_ticket(used, cursor=mine).status == 401
        assert listen.by_ticket(used, last=mine).status == 200

    def test_a_ticket_lasts_thirty_seconds(
        self, stack: Stack, listen: Listener, later: Callable[[float], None]
    ) -> None:
        early, late = ticket(stack)["ticket"], ticket(stack)["ticket"]
        later(29)
        assert listen.by_ticket(early).status == 200
        later(1.5)
        assert listen.by_ticket(late).status == 401

    def test_a_made_up_ticket_is_unknown(self, stack: Stack, listen: Listener) -> None:
        for made_up in ("x", "YWNtZS94", "é", "y" * 5000, ticket(stack)["ticket"] + "A"):
            assert listen.by_ticket(made_up).status == 401

    def test_a_ticket_carries_the_rights_it_was_asked_for_with(
        self, stack: Stack, listen: Listener
    ) -> None:
        everyone = listen.by_ticket(ticket(stack, tenant=None)["ticket"])
        publish(stack, "1", tenant="globex")
        assert listen(tenant=None, last=everyone.last_id).ids == ["1"]

        import functions.events.stream as module
        from aetherlink.kernel.tenancy import Caller, Role, TenantId

        bound = Caller("key:1", frozenset({Role.OPERATOR}), TenantId("acme"))
        given = module.tickets.issue(bound).ticket
        assert listen.by_ticket(given, tenant_id="globex").status == 403
        weak = Caller("key:2", frozenset({Role.VIEWER}), TenantId("acme"))
        assert listen.by_ticket(module.tickets.issue(weak).ticket).status == 403

    def test_credentials_win_over_a_ticket(self, stack: Stack, listen: Listener) -> None:
        given = ticket(stack)["ticket"]

        assert listen(ticket="made-up").status == 200
        assert listen(roles="agent", ticket=given).status == 403
        assert listen.by_ticket(given).status == 200

    def test_a_ticket_buys_no_other_ticket(self, stack: Stack) -> None:
        given = ticket(stack)["ticket"]
        answer: Answer = stack.call("POST", TICKET, roles=None, query={"ticket": given})

        assert answer.status == 401

    def test_neither_ticket_nor_secret_is_kept_or_logged(
        self, stack: Stack, listen: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = io.StringIO()
        for handler in telemetry.logger.handlers:
            monkeypatch.setattr(handler, "stream", lines)
        given = ticket(stack)["ticket"]
        answer = listen.by_ticket(given)
        secret = answer.last_id.partition(".")[2]
        listen.by_ticket(given)
        listen.by_ticket(given, wait="99", last=answer.last_id)

        logged = lines.getvalue()
        assert logged.count('"path":"/events/stream"') == 3
        kept = str(boto3.client("dynamodb").scan(TableName="control-test")["Items"])
        assert len(secret) >= 32
        for text in (logged, kept):
            assert given not in text
            assert secret not in text
