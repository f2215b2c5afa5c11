"""Every measure against its definition, and the live path against the replay of the same events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aetherlink.alerts.condition import FAR, Part, Point, Span, both, spans_of, step_of
from aetherlink.alerts.model import Rule, group_of, part_of
from aetherlink.alerts.replay import Tape, play
from tests.unit.alerts.world import NOON, World, a_rule, an_event, at

WINDOW = a_rule().window


def spans(points: Sequence[tuple[float, Part]], rule: Rule, since: float = 0) -> list[Span]:
    made = [Point(at(second), part) for second, part in points]
    return spans_of(made, rule.window, rule.holds, since=at(since))


def test_silence_holds_from_a_window_after_the_last_event() -> None:
    rule = a_rule(measure="absence", threshold=1)

    assert spans([(0, Part(n=1)), (30, Part(n=1))], rule) == [Span(at(90), FAR)]


def test_an_average_and_a_ratio_of_nothing_are_no_reason_to_alert() -> None:
    average = a_rule(measure="avg", field="payload.ms", threshold=100)
    ratio = a_rule(measure="ratio", of={"event_type": "x.y"}, threshold=0.5)

    assert spans([(0, Part(n=1, sum=200.0))], average) == [Span(at(0), at(60))]
    assert spans([(0, Part(n=1, total=1))], ratio) == [Span(at(0), at(60))]
    assert spans([(0, Part(n=1, total=3))], ratio) == []


def test_distinct_values_count_once_each() -> None:
    rule = a_rule(measure="distinct", field="payload.user", threshold=2)
    one, other = frozenset({"a"}), frozenset({"b"})

    assert spans([(0, Part(1, values=one)), (1, Part(1, values=one))], rule) == []
    assert spans([(0, Part(1, values=one)), (5, Part(1, values=other))], rule) == [
        Span(at(5), at(60))
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, [Span(at(10), at(60))]),
        ("ok", [Span(at(10), at(60))]),
        ("alerting", [Span(at(10), FAR)]),
        ("keep_last", [Span(at(10), FAR)]),
    ],
)
def test_what_an_empty_window_means_is_the_rules_own_choice(
    policy: str | None, expected: list[Span]
) -> None:
    rule = a_rule(measure="sum", field="payload.n", threshold=2, no_data=policy)
    points = [(0, Part(n=1, sum=1.0)), (10, Part(n=1, sum=1.0))]

    # At 60 the first leaves and one is left, until 70: that is data, and too little.
    found = spans(points, rule)
    if policy in ("alerting", "keep_last"):
        assert found[0] == Span(at(10), at(60))
        assert found[1:] == ([Span(at(70), FAR)] if policy == "alerting" else [])
    else:
        assert found == expected


def test_keep_last_keeps_what_was_so_when_the_events_ceased() -> None:
    rule = a_rule(measure="avg", field="payload.n", threshold=2, no_data="keep_last")

    assert spans([(0, Part(n=1, sum=5.0))], rule) == [Span(at(0), FAR)]
    assert spans([(0, Part(n=1, sum=5.0)), (100, Part(n=1, sum=0.0))], rule) == [
        Span(at(0), at(100))
    ]


def test_a_burn_rate_must_hold_over_both_windows() -> None:
    long, short = [Span(at(0), at(100))], [Span(at(20), at(40)), Span(at(90), at(150))]

    assert both(long, short) == [Span(at(20), at(40)), Span(at(90), at(100))]


def test_steps_are_a_sixtieth_of_the_window_and_whole_seconds() -> None:
    assert step_of(a_rule(window_seconds=10).window).total_seconds() == 1
    assert step_of(a_rule(window_seconds=3600).window).total_seconds() == 60


def test_an_event_without_the_number_adds_nothing() -> None:
    rule = a_rule(measure="sum", field="payload.n")

    assert part_of(rule, an_event(payload={"n": True})) is None
    assert part_of(rule, an_event(payload={"n": "7"})) is None
    assert part_of(rule, an_event(payload={"n": 7})) == Part(n=1, sum=7.0)


def test_a_ratio_counts_what_it_is_of_and_what_it_divides_by() -> None:
    rule = a_rule(
        measure="ratio", event_type="http.done", where={"payload.code": 500},
        of={"event_type": "http.done"}, threshold=0.1,
    )  # fmt: skip

    assert part_of(rule, an_event(0, "http.done", payload={"code": 500})) == Part(1, 1)
    assert part_of(rule, an_event(0, "http.done", payload={"code": 200})) == Part(0, 1)
    assert part_of(rule, an_event(0, "http.else", payload={"code": 500})) is None


def test_true_is_not_one() -> None:
    rule = a_rule(where={"payload.ok": 1})

    assert part_of(rule, an_event(payload={"ok": True})) is None


def test_a_service_that_is_alive_costs_no_write_per_event() -> None:
    world = World(a_rule(measure="absence", threshold=1, group_by=["source"]))
    for second in range(30):
        world.now = at(second)
        world.arrive(an_event(second))

    assert world.stored == 1


def test_silence_is_not_believed_while_the_relay_is_behind() -> None:
    world = World(a_rule(measure="absence", threshold=1, group_by=["source"]))
    world.arrive(an_event(0))
    world.events.append(an_event(100))
    world.now = at(130)

    world.judge.sweep()

    assert world.told == []


def test_an_ungrouped_silence_needs_a_whole_window_first() -> None:
    rule = a_rule(measure="absence", threshold=1)

    assert [run.raised_at for run in play(Tape.blank(rule), since=NOON, until=at(300))] == [at(60)]


measures: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"measure": "count", "threshold": 2},
        {"measure": "count", "threshold": 2, "comparison": "at_most"},
        {"measure": "count", "threshold": 1, "no_data": "alerting"},
        {"measure": "absence", "threshold": 1},
        {"measure": "absence", "threshold": 2},
        {"measure": "sum", "field": "payload.n", "threshold": 4},
        {"measure": "avg", "field": "payload.n", "threshold": 2},
        {"measure": "avg", "field": "payload.n", "threshold": 2, "comparison": "at_most"},
        {"measure": "avg", "field": "payload.n", "threshold": 2, "no_data": "keep_last"},
        {"measure": "distinct", "field": "payload.n", "threshold": 2},
        {"measure": "ratio", "where": {"payload.n": 3}, "of": {}, "threshold": 0.5},
        {"measure": "ratio", "where": {"payload.n": 3}, "of": {}, "threshold": 0.5,
         "confirm_window_seconds": 5},
    ]
)  # fmt: skip
rules = st.builds(
    lambda measure, window, waits, keep, grouped: a_rule(
        **measure, window_seconds=window, for_seconds=waits, keep_firing_for_seconds=keep,
        group_by=["source"] if grouped else [],
    ),
    measures, st.sampled_from([7, 20, 90]), st.sampled_from([0, 0, 4, 15]),
    st.sampled_from([0, 0, 9]), st.booleans(),
)  # fmt: skip
happenings = st.lists(
    st.tuples(st.integers(1, 300), st.sampled_from("ab"), st.integers(-2, 4)), max_size=30
)


@settings(max_examples=300, deadline=None)
@given(rules, happenings, st.lists(st.integers(1, 500), max_size=8), st.booleans())
# Kept firing, it holds once more within the step that was going on when the last event came.
@example(
    a_rule(
        measure="distinct",
        field="payload.n",
        threshold=2,
        window_seconds=20,
        keep_firing_for_seconds=9,
    ),
    [(1, "a", 0), (3, "a", 1), (22, "a", 0)],
    [],
    False,
)
# Kept firing, silence makes it hold once more before the next event.
@example(
    a_rule(measure="absence", threshold=1, window_seconds=7, keep_firing_for_seconds=9),
    [(62, "a", 0), (70, "a", 0)],
    [],
    False,
)
def test_what_the_live_path_tells_is_what_the_replay_says(
    rule: Rule, found: list[tuple[int, str, int]], looks: list[int], twice: bool
) -> None:
    """Events as they come, some delivered twice, sweeps now and then: and all at once, afterwards."""
    world, tape = World(rule), Tape.blank(rule)
    events = [
        an_event(
            second + 0.5 + index / 1000, source=source, payload={"n": number}, event_id=f"e{index}"
        )
        for index, (second, source, number) in enumerate(sorted(found))
    ]
    tape.add(events)
    world.now = NOON
    if rule.holds_when_empty and not rule.group_by:
        world.judge.judge(rule, {}, first=NOON, last=NOON, fresh=0)
    moments: list[tuple[float, Any]] = [((e.counted_at - NOON).total_seconds(), e) for e in events]
    moments += [(float(look), None) for look in [*looks, *range(520, 540)]]
    for second, event in sorted(moments, key=lambda m: m[0]):
        world.now = at(second)
        if event is None:
            world.judge.sweep()
        else:
            # The sweep comes at least this often.
            world.judge.sweep()
            world.arrive(*([event] * (2 if twice else 1)))
            if twice:
                world.judge.observe([event])

    runs = play(tape, since=NOON, until=at(539))
    expected = sorted(
        [("raised", run.raised_at) for run in runs]
        + [("resolved", run.resolved_at) for run in runs if run.resolved_at],
        key=lambda told: (told[1], told[0]),
    )
    told = sorted(((kind, when) for kind, _, when in world.told), key=lambda t: (t[1], t[0]))
    assert told == expected


@settings(max_examples=200, deadline=None)
@given(rules, happenings, st.randoms(use_true_random=False))
def test_raised_and_resolved_take_turns_whatever_order_records_come_in(
    rule: Rule, found: list[tuple[int, str, int]], random: Any
) -> None:
    world = World(rule)
    events = [
        an_event(second, source=source, payload={"n": number}, event_id=f"e{index}")
        for index, (second, source, number) in enumerate(found)
    ]
    late = [*events, *events[:3]]
    random.shuffle(late)
    for index, event in enumerate(late):
        world.now = max(world.now, event.received_at) + (at(index % 7) - NOON)
        world.arrive(event)
        if index % 3 == 0:
            world.judge.sweep()
    for second in range(1000, 3000, 200):
        world.now = max(world.now, at(second))
        world.judge.sweep()

    for name in {group for _, group, _ in world.told}:
        kinds = [kind for kind, group, _ in world.told if group == name]
        assert kinds == (["raised", "resolved"] * len(kinds))[: len(kinds)]


def test_groups_of_a_rule_are_judged_apart() -> None:
    rule = a_rule(threshold=1, group_by=["source"])
    world = World(rule)
    world.now = at(1)

    world.arrive(an_event(1, source="a"), an_event(1, source="b"))

    assert [kind for kind, _, _ in world.told] == ["raised", "raised"]
    assert group_of(rule, an_event(1, source="a")) == {"source": "a"}
