"""The live stream: every event once and in order, gaps told, text as a browser reads it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherlink.events import sse
from aetherlink.events.keeping import Term, Terms
from aetherlink.events.model import Entry, Event, Filters, Severity
from aetherlink.events.place import parse_position
from aetherlink.events.stream import MAX_EVENTS, Answer, Message, Stream
from aetherlink.kernel.errors import InvalidError
from aetherlink.kernel.paging import encode_cursor
from aetherlink.kernel.tenancy import SYSTEM, TenantId

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ACME, GLOBEX = TenantId("acme"), TenantId("globex")
NO_WAIT = timedelta(0)


class Clock:
    def __init__(self) -> None:
        self.at = START
        self.naps: list[float] = []
        self.after_nap: list[Any] = []

    def __call__(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.at += timedelta(seconds=seconds)
        if self.after_nap:
            self.after_nap.pop(0)()


class World:
    """Events, their pages of arrivals as the journal writes them, and a stream over them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rows: dict[str, dict[int, list[Entry]]] = {}
        self.kept: dict[str, Event] = {}
        self.lagging: set[str] = set()
        self.default = timedelta(days=30)
        self.stream = Stream(self, self, self, self.clock, self.clock.sleep)

    def append(self, tenant: TenantId, *ids: str, **fields: Any) -> None:
        events = [event(tenant, name, self.clock.at, **fields) for name in ids]
        self.kept |= {e.position: e for e in events}
        for scope in (tenant, "*"):
            row = self.rows.setdefault(scope, {})
            start = int(self.clock.at.timestamp() * 1000)
            row[max(row, default=start) + 1] = [entry(e) for e in events]

    def lose(self, scope: str, *, pages: int) -> None:
        for number in sorted(self.rows[scope])[:pages]:
            del self.rows[scope][number]

    def read(self, cursor: str | None, view: TenantId | None = ACME, **how: Any) -> Answer:
        wait = how.pop("wait", NO_WAIT)
        position = parse_position(cursor, view) if cursor else None
        return self.stream.follow(view, position, Filters(**how), wait=wait)

    # What the stream asks for.
    def last(self, scope: str) -> int:
        return max(self.rows.get(scope, {}), default=0)

    def after(self, scope: str, page: int, limit: int) -> list[tuple[int, list[Entry]]]:
        return [p for p in sorted(self.rows.get(scope, {}).items()) if p[0] >= page][:limit]

    def fetch(self, entries: Iterable[Entry]) -> dict[str, Event]:
        wanted = [e.position for e in entries if e.event_id not in self.lagging]
        assert len(wanted) <= 50
        return {p: self.kept[p] for p in wanted if p in self.kept}

    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None:
        wanted = (tenant_id, event_id, source)
        found = (e for e in self.kept.values() if (e.tenant_id, e.event_id, e.source) == wanted)
        return next(found, None)

    def terms_of(self, view: TenantId | None) -> Terms:
        return Terms(Term(self.default), {GLOBEX: Term(timedelta(days=1))})


def event(tenant: TenantId, event_id: str, at: datetime, **fields: Any) -> Event:
    return Event(
        **{
            "event_id": event_id,
            "event_type": "lead.created",
            "source": "crm",
            "tenant_id": tenant,
            "severity": Severity.INFO,
            "timestamp": at,
            "received_at": at,
            "payload": {},
            **fields,
        }
    )


def entry(e: Event) -> Entry:
    return Entry(e.position, e.tenant_id, e.event_id, e.source, e.event_type, str(e.severity))


def ids(answer: Answer) -> list[str]:
    return [heard(message.data)["event_id"] for message in answer.messages]


def heard(data: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(data)
    return found


@pytest.fixture
def world() -> World:
    return World()


def test_without_a_position_it_starts_with_what_arrives_from_now_on(world: World) -> None:
    world.append(ACME, "earlier")
    start = world.read(None)
    assert start.messages == ()

    world.append(ACME, "later")
    assert ids(world.read(start.position)) == ["later"]


def test_a_tenant_hears_itself_and_the_platform_and_nobody_else(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, "ours")
    world.append(GLOBEX, "theirs")
    world.append(SYSTEM, "everyones")

    assert ids(world.read(start)) == ["ours", "everyones"]


def test_who_sees_every_tenant_hears_all_in_order_of_arrival(world: World) -> None:
    start = world.read(None, None).position
    for tenant, name in ((ACME, "1"), (GLOBEX, "2"), (SYSTEM, "3"), (ACME, "4")):
        world.append(tenant, name)

    assert ids(world.read(start, None)) == ["1", "2", "3", "4"]


def test_the_platforms_own_view_hears_each_event_once(world: World) -> None:
    start = world.read(None, SYSTEM).position
    world.append(SYSTEM, "everyones")

    assert ids(world.read(start, SYSTEM)) == ["everyones"]


def test_it_goes_on_inside_a_page_from_any_id(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, "1", "2", "3")
    world.append(SYSTEM, "4", "5")
    first = world.read(start)
    assert ids(first) == ["1", "2", "3", "4", "5"]

    rest = [ids(world.read(message.id)) for message in first.messages]
    assert rest == [["2", "3", "4", "5"], ["3", "4", "5"], ["4", "5"], ["5"], []]


def test_it_answers_as_soon_as_there_is_something(world: World) -> None:
    start = world.read(None).position
    world.clock.after_nap = [lambda: None, lambda: world.append(ACME, "1")]

    assert ids(world.read(start, wait=timedelta(seconds=20))) == ["1"]
    assert world.clock.naps == [0.5, 0.5]


def test_it_gives_up_when_the_wait_is_over(world: World) -> None:
    answer = world.read(None, wait=timedelta(seconds=2.2))

    assert answer.messages == ()
    assert world.clock.naps == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.2])


def test_filters_may_change_and_what_did_not_fit_is_passed(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, "1", severity=Severity.ERROR)
    nothing = world.read(start, source="elsewhere")
    assert nothing.messages == ()
    world.append(ACME, "2", severity=Severity.ERROR)
    world.append(ACME, "3")

    assert ids(world.read(nothing.position, severity="error")) == ["2"]


def test_an_answer_has_a_hundred_events_at_most(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, *(f"{n}" for n in range(150)))
    world.append(SYSTEM, "platform")

    first = world.read(start)
    assert len(first.messages) == MAX_EVENTS
    assert first.position == first.messages[-1].id
    assert ids(world.read(first.position)) == [*(f"{n}" for n in range(100, 150)), "platform"]


def test_a_loud_tenant_does_not_silence_the_platform(world: World) -> None:
    start = world.read(None).position
    for page in range(10):
        world.append(ACME, *(f"{page}-{n}" for n in range(50)))
    world.append(SYSTEM, "platform")

    assert "platform" in ids(world.read(start))


def test_an_answer_has_three_and_a_half_megabytes_at_most(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, *(f"{n}" for n in range(20)), payload={"text": "é" * 125_000})

    first = world.read(start)
    assert len(first.messages) == 13
    assert ids(world.read(first.position)) == ["13", "14", "15", "16", "17", "18", "19"]


def test_what_is_gone_or_past_its_retention_is_passed(world: World) -> None:
    start = world.read(None, None).position
    world.append(ACME, "pruned")
    world.kept.clear()
    world.append(GLOBEX, "old", timestamp=START - timedelta(days=2))
    world.append(ACME, "kept", timestamp=START - timedelta(days=2))

    answer = world.read(start, None)
    assert ids(answer) == ["kept"]
    assert world.read(answer.position, None).messages == ()


def test_an_event_that_a_read_is_too_early_for_is_not_missed(world: World) -> None:
    start = world.read(None).position
    world.lagging = {"1"}
    world.append(ACME, "1", "2")

    assert ids(world.read(start)) == ["1", "2"]


def test_no_number_of_sources_that_use_one_id_hides_an_event_from_it(world: World) -> None:
    start = world.read(None).position
    world.lagging = {"1"}
    sources = [f"s{number:02}" for number in range(30)]
    for source in sources:
        world.append(ACME, "1", source=source)

    # A look takes ten pages.
    said: list[str] = []
    for _ in range(3):
        answer = world.read(start)
        said += [heard(message.data)["source"] for message in answer.messages]
        start = answer.position
    assert said == sources


def test_a_position_that_is_gone_is_told_and_it_goes_on_with_what_there_is(world: World) -> None:
    world.append(ACME, "1")
    start = world.read(None).position
    for name in ("2", "3", "4", "5"):
        world.append(ACME, name)
    second = world.read(start).messages[0].id
    world.lose(ACME, pages=3)

    answer = world.read(second)
    gap, *events = answer.messages
    assert gap.event == "gap"
    assert heard(gap.data)["detail"].startswith("Events between")
    assert [heard(m.data)["event_id"] for m in events] == ["4", "5"]
    assert ids(world.read(gap.id)) == ["4", "5"]
    assert world.read(answer.position).messages == ()


def test_a_gap_is_told_whatever_the_filters(world: World) -> None:
    start = world.read(None).position
    world.append(ACME, "1", "2")
    first = world.read(start).messages[0].id
    world.lose(ACME, pages=1)

    answer = world.read(first, source="elsewhere", wait=timedelta(seconds=20))
    assert [m.event for m in answer.messages] == ["gap"]
    assert world.read(answer.position).messages == ()


def test_a_hole_between_pages_is_a_gap(world: World) -> None:
    start = world.read(None).position
    for name in ("1", "2", "3"):
        world.append(ACME, name)
    del world.rows[ACME][sorted(world.rows[ACME])[1]]

    assert [m.event for m in world.read(start).messages] == ["lead.created", "gap", "lead.created"]


def test_numbers_that_start_again_are_no_gap_to_who_listened_all_the_time(world: World) -> None:
    world.append(ACME, "1")
    cursor = world.read(None).position
    for _ in range(30):
        world.clock.at += timedelta(hours=1)
        cursor = world.read(cursor).position
    world.rows.clear()
    cursor = world.read(cursor).position
    world.append(ACME, "2")

    assert ids(world.read(cursor)) == ["2"]


def test_numbers_that_start_again_are_a_gap_to_who_was_away_for_longer(world: World) -> None:
    world.append(ACME, "1")
    cursor = world.read(None).position
    world.clock.at += timedelta(hours=49)
    world.rows.clear()
    world.append(ACME, "2")

    assert [m.event for m in world.read(cursor).messages] == ["gap", "gap", "lead.created"]


def test_a_day_away_with_nothing_new_is_no_gap(world: World) -> None:
    world.append(ACME, "1")
    world.append(SYSTEM, "2")
    cursor = world.read(None).position
    world.clock.at += timedelta(hours=24, minutes=30)

    assert world.read(cursor).messages == ()


@pytest.mark.parametrize(
    "cursor",
    [
        "garbage", "é", "W10", "x" * 4000, encode_cursor("1.2.3,1.2.3", "stream", "globex"),
        encode_cursor("1.2.3", "stream", "acme"), encode_cursor("1,2", "stream", "acme"),
        encode_cursor("-1.0.0,1.0.0", "stream", "acme"), encode_cursor("1.0.0", "recent", "acme"),
        encode_cursor("1.0.²,1.0.0", "stream", "acme"), "WyJb" * 120,
    ],
)  # fmt: skip
def test_a_foreign_or_changed_position_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidError):
        world.read(cursor)


def test_a_made_up_place_inside_a_page_is_a_gap_and_not_a_standstill(world: World) -> None:
    world.append(ACME, "1")
    number = max(world.rows[ACME])
    made_up = encode_cursor(f"{number}.9.0,1.0.0", "stream", "acme")

    answer = world.read(made_up)
    assert {"gap", "lead.created"} == {m.event for m in answer.messages}
    assert world.read(answer.position).messages == ()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([ACME, SYSTEM]), st.integers(1, 60)),
        st.tuples(st.just("read"), st.just(ACME), st.integers(0, 110)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(actions=ACTIONS)
def test_every_event_comes_exactly_once_wherever_answers_are_cut(
    actions: list[tuple[str, TenantId, int]],
) -> None:
    world = World()
    cursor = world.read(None).position
    sent: dict[str, list[str]] = {ACME: [], SYSTEM: []}
    got: list[str] = []

    def take(cursor: str, cut: int) -> tuple[str, int]:
        answer = world.read(cursor)
        seen = answer.messages[:cut] if cut < len(answer.messages) else answer.messages
        got.extend(heard(m.data)["event_id"] for m in seen)
        if len(seen) < len(answer.messages):
            return (seen[-1].id if seen else cursor), len(answer.messages)
        return answer.position, len(answer.messages)

    for what, tenant, number in actions:
        world.clock.at += timedelta(milliseconds=10)
        if what == "append":
            new = [f"{tenant}-{len(sent[tenant]) + n}" for n in range(number)]
            sent[tenant] += new
            world.append(tenant, *new)
        else:
            cursor, _ = take(cursor, number)
    while True:
        cursor, found = take(cursor, MAX_EVENTS)
        if not found:
            break
    assert [name for name in got if name.startswith("acme")] == sent[ACME]
    assert [name for name in got if name.startswith("system")] == sent[SYSTEM]


class TestText:
    def test_each_event_has_its_id_name_and_data(self) -> None:
        answer = Answer((Message("p1", "lead.created", '{"a":"é"}'),), "p1")

        assert sse.to_text(answer) == (
            'retry: 1000\n\nid: p1\nevent: lead.created\ndata: {"a":"é"}\n\n'
        )

    def test_nothing_new_is_a_comment_and_an_id_that_dispatches_nothing(self) -> None:
        text = sse.to_text(Answer((), "p1"))

        assert text == "retry: 1000\n\n: nothing new; ask again from the id below\nid: p1\n\n"
        assert browser(text) == ([], "p1")

    def test_the_last_id_is_past_what_did_not_fit(self) -> None:
        answer = Answer((Message("p1", "a", "{}"),), "p2")

        assert browser(sse.to_text(answer)) == ([("a", "p1", "{}")], "p2")

    def test_lines_in_data_and_names_come_back_as_the_standard_has_it(self) -> None:
        data = " one\ntwo\r\n\rfour\u2028still four\n"
        answer = Answer((Message("p1", "odd\nid: forged", data),), "p1")

        found = browser(sse.to_text(answer))
        assert found == (
            [("odd id: forged", "p1", " one\ntwo\n\nfour\u2028still four\n")],
            "p1",
        )

    def test_a_sessions_secret_stands_behind_every_id(self) -> None:
        answer = Answer((Message("p1", "a", "{}"),), "p2")

        events, last = browser(sse.to_text(answer, "s_-1"))
        assert (events[0][1], last) == ("p1.s_-1", "p2.s_-1")
        assert (sse.position_in(last), sse.secret_in(last)) == ("p2", "s_-1")
        assert (sse.position_in("p2"), sse.secret_in("p2")) == ("p2", "")


def browser(text: str) -> tuple[list[tuple[str, str, str]], str]:
    """What an EventSource makes of a body (WHATWG HTML, 9.2.6): events as (name, id, data), and
    the last event id."""
    import re

    events: list[tuple[str, str, str]] = []
    name, data, last = "", "", ""
    for line in re.split(r"\r\n|\r|\n", text)[:-1]:
        if not line:
            if data:
                events.append((name or "message", last, data.removesuffix("\n")))
            name, data = "", ""
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value + "\n"
            elif field == "id" and "\0" not in value:
                last = value
    return events, last
