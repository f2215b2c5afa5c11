"""Routing with fakes: no clock waits, no socket opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.ai.breaker import Breaker, State
from aetherlink.ai.budget import Budget, charge, cost, reserve
from aetherlink.ai.descriptor import Kind, Price, Provider
from aetherlink.ai.model import (
    Completion,
    Judged,
    Prompt,
    ProviderError,
    Routed,
    Said,
    Speaker,
    Trouble,
)
from aetherlink.ai.router import Router, Task
from aetherlink.kernel.tenancy import TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
PROMPT = Prompt("Be brief.", (Said(Speaker.USER, "hi"),), max_tokens=100)
Turn = ProviderError | str


def provider(name: str, **given: Any) -> Provider:
    kind = Kind.RULES if name == "rules" else Kind.OPENAI
    fields = {"name": name, "type": kind, "model": "m", "url": "http://x.example", **given}
    return Provider.model_validate(fields)


class World:
    """Providers that say what they are told, a clock that moves when they take time, breakers and a purse
    in memory."""

    def __init__(self, **turns: Any) -> None:
        self.turns = {name: list(given) for name, given in turns.items()}
        self.seconds = 0.0
        self.takes: dict[str, float] = {}
        self.asked: list[tuple[str, float]] = []
        self.prompts: list[Prompt] = []
        self.breakers: dict[str, Breaker] = {}
        self.told: list[tuple[str, str, bool]] = []
        self.may_probe = True
        self.committed = 0

    # ---- an adapter

    def complete(self, provider: Provider, prompt: Prompt, *, seconds: float) -> Completion:
        self.asked.append((provider.name, seconds))
        self.prompts.append(prompt)
        took = self.takes.get(provider.name, 0.1)
        self.seconds += min(took, seconds)
        if took > seconds:
            raise ProviderError("too slow", Trouble.TIMEOUT)
        turns = self.turns.get(provider.name, [])
        turn: Turn = turns.pop(0) if turns else "good"
        if isinstance(turn, ProviderError):
            raise turn
        return Completion(turn, input_tokens=10, output_tokens=5)

    # ---- the breakers

    def read(self, names: Iterable[str]) -> dict[str, Breaker]:
        return {name: self.breakers.get(name, Breaker(name)) for name in names}

    def claim_probe(self, breaker: Breaker, seconds: float) -> bool:
        return self.may_probe

    def release(self, breaker: Breaker) -> None:
        self.told.append((breaker.name, "released", True))

    def succeeded(self, breaker: Breaker, *, was_probe: bool) -> None:
        self.told.append((breaker.name, "well", was_probe))

    def failed(self, breaker: Breaker, error: ProviderError, *, was_probe: bool) -> datetime | None:
        self.told.append((breaker.name, str(error.trouble), was_probe))
        return None

    # ---- the purse

    def reserve(self, tenant: TenantId, day: str, micros: int, budget: Budget) -> bool:
        room = budget.room_before(micros)
        if room is not None and self.committed > room:
            return False
        if budget.limit_micros is not None:
            self.committed += micros
        return True

    def run(
        self,
        *line: Provider,
        judge: Callable[[str], Judged] = Judged,
        budget: Budget = Budget(),  # noqa: B008 - it is frozen
        first: str = "",
        rules: bool = False,
    ) -> Routed:
        router = Router(
            tuple((p,) for p in line),
            dict.fromkeys(Kind, self),
            self,
            self,
            deadline_seconds=25,
            now=lambda: NOON + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
            draw=lambda: 0.0,
        )
        task = Task(
            ACME, "2026-11-23", "chat", PROMPT, judge, (lambda: "by rule") if rules else None, first
        )
        routed, owed = router.run(task, budget)
        self.committed += owed
        return routed


def boom(trouble: Trouble = Trouble.SERVER_ERROR) -> ProviderError:
    return ProviderError("boom", trouble)


def test_the_first_that_answers_ends_it() -> None:
    world = World(a=[boom()], b=["fine"])
    routed = world.run(provider("a"), provider("b"), provider("c"))
    assert (routed.provider, routed.result, routed.order) == ("b", "fine", ("a", "b", "c"))
    assert [(a.provider, a.trouble) for a in routed.attempts] == [
        ("a", Trouble.SERVER_ERROR),
        ("b", None),
    ]
    assert world.told == [("a", "server_error", False), ("b", "well", False)]


def test_one_that_is_wanted_first_is_asked_first() -> None:
    assert World().run(provider("a"), provider("b"), first="b").provider == "b"


def test_rules_answer_when_nobody_does_and_ask_nobody() -> None:
    world = World(a=[boom()])
    routed = world.run(provider("a"), provider("rules"), rules=True)
    assert (routed.provider, routed.result, routed.degraded) == ("rules", "by rule", True)
    alone = World()
    assert alone.run(provider("rules"), rules=True).degraded
    assert not World().run(provider("rules")).provider


def test_an_answer_that_does_not_stand_is_mended_once() -> None:
    def judge(text: str) -> Judged:
        return Judged(text) if text == "good" else Judged(flaws=("not good",))

    world = World(a=["bad", "good"])
    routed = world.run(provider("a"), judge=judge)
    assert (routed.provider, routed.attempts[0].repairs) == ("a", 1)
    assert (routed.input_tokens, routed.output_tokens) == (20, 10)
    assert [turn.text for turn in world.prompts[1].turns][:2] == ["hi", "bad"]
    assert "not good" in world.prompts[1].turns[-1].text
    # Its availability is counted once, whatever it said.
    assert world.told == [("a", "well", False)]

    worse = World(a=["bad", "bad"])
    routed = worse.run(provider("a"), provider("b"), judge=judge)
    assert routed.attempts[0].trouble is Trouble.BAD_OUTPUT
    assert routed.provider == "b"


def test_an_open_one_is_not_asked_and_a_half_open_one_by_one_caller() -> None:
    world = World()
    world.breakers["a"] = Breaker("a", open_until=NOON + timedelta(seconds=9), last_error="boom")
    routed = world.run(provider("a"), provider("b"))
    assert (routed.attempts[0].trouble, routed.attempts[0].retry_after_seconds) == (Trouble.OPEN, 9)
    world.breakers["a"] = Breaker("a", open_until=NOON)
    assert world.breakers["a"].state(NOON) is State.HALF_OPEN
    world.may_probe = False
    assert world.run(provider("a"), provider("b")).provider == "b"
    world.may_probe = True
    assert world.run(provider("a"), provider("b")).provider == "a"
    assert world.told[-1] == ("a", "well", True)


def test_a_probe_that_was_not_made_is_given_back() -> None:
    world = World()
    world.breakers["a"] = Breaker("a", open_until=NOON)
    priced = provider("a", price={"input": 1_000})
    routed = world.run(priced, provider("b"), budget=Budget(1))
    assert routed.attempts[0].trouble is Trouble.BUDGET
    assert ("a", "released", True) in world.told


@given(st.lists(st.sampled_from([0.1, 3.0, 60.0]), min_size=1, max_size=5))
def test_the_deadline_holds_whoever_hangs(takes: list[float]) -> None:
    world = World()
    line = [provider(f"p{n}") for n in range(len(takes))]
    world.takes = {p.name: seconds for p, seconds in zip(line, takes, strict=True)}
    routed = world.run(*line)
    assert world.seconds <= 25
    quick = [p.name for p in line if world.takes[p.name] < 4]
    if quick and line[0].name in quick:
        assert routed.provider == line[0].name
    elif len(takes) > 1 and line[1].name in quick:
        assert routed.provider == line[1].name


# ------------------------------------------------------------------ money


_PRICES = st.builds(
    lambda i, o: {"input": i, "output": o}, st.integers(0, 100), st.integers(0, 100)
)


@given(_PRICES, st.integers(0, 100_000), st.integers(0, 20_000))
def test_a_cost_is_whole_and_never_rounded_down(price: dict[str, int], i: int, o: int) -> None:
    exact = price["input"] * i + price["output"] * o
    assert exact <= cost(Price.model_validate(price), i, o) < exact + 1


@given(st.text(max_size=2_000), st.integers(1, 4_000))
def test_a_reserve_covers_what_a_call_may_come_to(text: str, most: int) -> None:
    """With a token for every two bytes, more than any tokenizer makes of what people write."""
    prompt = Prompt("Be brief.", (Said(Speaker.USER, text),), max_tokens=most)
    asked = provider("a", price={"input": 3, "output": 15})
    worst = Completion(
        "", input_tokens=len((prompt.system + text).encode()) // 2, output_tokens=most
    )
    assert charge(asked, worst) <= reserve(asked, prompt)


@given(
    limit=st.integers(0, 5_000),
    steps=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.booleans()), max_size=60
    ),
    price=st.integers(1, 50),
)
def test_calls_that_overlap_in_any_order_spend_no_more_than_the_budget(
    limit: int, steps: list[tuple[int, str, bool]], price: int
) -> None:
    """Each call reserves, asks and settles; here the three are shuffled among ten calls. Real usage may be
    anything up to the reserve, or a failure that is not billed."""
    asked = provider("a", price={"output": price})
    held = reserve(asked, PROMPT)
    budget, committed, spent = Budget(limit), 0, 0
    running: dict[int, int] = {}
    for call, step, is_billed in steps:
        if step == "a" and call not in running:
            room = budget.room_before(held)
            if room is not None and committed <= room:
                committed += held
                running[call] = held
        elif step == "b" and call in running:
            actual = held if is_billed else 0
            spent += actual
            committed += actual - running.pop(call)
        assert spent <= committed <= max(limit, 0)
    assert spent <= limit


@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.SERVER_ERROR])
def test_what_may_have_been_billed_stays_committed(trouble: Trouble) -> None:
    world = World(a=[boom(trouble)])
    priced = provider("a", price={"output": 10})
    world.run(priced, budget=Budget(10_000))
    assert world.committed == (reserve(priced, PROMPT) if trouble is Trouble.TIMEOUT else 0)
