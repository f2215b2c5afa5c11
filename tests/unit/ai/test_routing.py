"""Whom to ask, in which order and for how long."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aetherlink.ai.descriptor import Kind, Provider
from aetherlink.ai.routing import MARGIN_SECONDS, line_up, named, seconds_for


def provider(name: str, *, weight: int = 1, seconds: float = 10, **given: object) -> Provider:
    kind = Kind.RULES if name == "rules" else Kind.OPENAI
    return Provider.model_validate(
        {
            "name": name,
            "type": kind,
            "model": "m",
            "weight": weight,
            "timeout_seconds": seconds,
            **given,
        }
    )


def test_rank_after_rank_those_that_can() -> None:
    ranks = (
        (provider("a"),),
        (provider("b", capabilities=["sing"]), provider("c")),
        (provider("rules"),),
    )
    assert named(line_up(ranks, "chat", lambda: 0.5)) == ("a", "c", "rules")


def test_within_a_rank_by_weight() -> None:
    draw = random.Random(7).random
    ranks = ((provider("heavy", weight=3), provider("light")),)
    first = Counter(line_up(ranks, "chat", draw)[0].name for _ in range(4_000))
    assert 2_800 < first["heavy"] < 3_200


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.randoms())
def test_everybody_is_in_line_once(weights: list[int], source: random.Random) -> None:
    rank = tuple(provider(f"p{n}", weight=w) for n, w in enumerate(weights))
    assert sorted(named(line_up((rank,), "chat", source.random))) == [p.name for p in rank]


@given(
    st.lists(st.floats(0.5, 25), min_size=1, max_size=6),
    st.floats(1, 27),
)
def test_if_everybody_hangs_the_deadline_holds_and_the_second_has_its_turn(
    timeouts: list[float], deadline: float
) -> None:
    line = [provider(f"p{n}", seconds=seconds) for n, seconds in enumerate(timeouts)]
    left, had = deadline, []
    for place, asked in enumerate(line):
        seconds = seconds_for(asked, left, line[place + 1 :])
        assert seconds <= asked.timeout_seconds
        had.append(seconds)
        left -= seconds
    assert left >= MARGIN_SECONDS - 1e-9
    if deadline >= 12 and len(line) > 1:
        assert had[1] > 0


def test_rules_need_no_time_kept_back() -> None:
    assert seconds_for(provider("a", seconds=25), 10.5, [provider("rules")]) == 10
    assert seconds_for(provider("a", seconds=25), 10.5, [provider("b")]) == 6
    assert seconds_for(provider("a"), 0.6, []) == 0
