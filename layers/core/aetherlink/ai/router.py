"""Asking one provider after the other until an answer stands, within one deadline.

Whom to ask is `routing`'s word, whether to ask is the breakers' and the purse's, and whether an answer
stands is the check's; here they meet. Every attempt is recorded, also one that was not made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.ai import budget as money
from aetherlink.ai.breaker import Breaker, State
from aetherlink.ai.descriptor import Kind
from aetherlink.ai.model import Attempt, Judged, ProviderError, Routed, Trouble
from aetherlink.ai.routing import line_up, named, seconds_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from aetherlink.ai.adapters import Adapter
    from aetherlink.ai.budget import Budget
    from aetherlink.ai.descriptor import Provider, Ranks
    from aetherlink.ai.model import Completion, Prompt
    from aetherlink.kernel.tenancy import TenantId


class Shared(Protocol):
    """The breakers, as all instances see them."""

    def read(self, names: Iterable[str]) -> dict[str, Breaker]: ...
    def claim_probe(self, breaker: Breaker, seconds: float) -> bool: ...
    def release(self, breaker: Breaker) -> None: ...
    def succeeded(self, breaker: Breaker, *, was_probe: bool) -> None: ...
    def failed(
        self, breaker: Breaker, error: ProviderError, *, was_probe: bool
    ) -> datetime | None: ...


class Reserving(Protocol):
    def reserve(self, tenant: TenantId, day: str, micros: int, budget: Budget) -> bool: ...


@dataclass(frozen=True)
class Task:
    """A call: what is asked, what of an answer stands, and what the rules would say (None: nothing)."""

    tenant: TenantId
    # Of whose budget it is, should midnight pass meanwhile.
    day: str
    capability: str
    prompt: Prompt
    judge: Callable[[str], Judged]
    by_rule: Callable[[], Any] | None = None
    # A provider that is asked before the others.
    first: str = ""


class Router:
    """`clock` counts seconds; `draw` gives numbers from 0 up to 1."""

    def __init__(
        self,
        ranks: Ranks,
        adapters: Mapping[Kind, Adapter],
        breakers: Shared,
        purse: Reserving,
        *,
        deadline_seconds: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._ranks = ranks
        self._adapters = adapters
        self._breakers = breakers
        self._purse = purse
        self._deadline = deadline_seconds
        self._now = now
        self._clock = clock
        self._draw = draw

    def able(self, capability: str) -> bool:
        """Whether anybody in the order has the capability."""
        return any(provider.can(capability) for rank in self._ranks for provider in rank)

    def run(self, task: Task, budget: Budget) -> tuple[Routed, int]:
        """What came of it, and by how much what is committed of the tenant's day differs from what was
        reserved. Raises StorageError where breakers or budget cannot be read: then nobody is asked."""
        begun = self._clock()
        order = line_up(self._ranks, task.capability, self._draw)
        # Sorting keeps the others as they stand.
        order = tuple(sorted(order, key=lambda provider: provider.name != task.first))
        call = _Call(self, task, budget, begun + self._deadline)
        routed = Routed((), order=named(order))
        # Rules need no state of anybody's.
        if any(provider.type is not Kind.RULES for provider in order):
            states = self._breakers.read(named(order))
        for place, provider in enumerate(order):
            if provider.type is Kind.RULES:
                answered = _by_rule(task, provider)
            else:
                answered = call.ask(provider, states[provider.name], order[place + 1 :])
            routed = replace(
                answered, attempts=(*routed.attempts, *answered.attempts), order=named(order)
            )
            if routed.provider:
                break
        took = round((self._clock() - begun) * 1000)
        return replace(routed, latency_ms=took), call.owed


def _by_rule(task: Task, provider: Provider) -> Routed:
    if task.by_rule is None:
        attempt = Attempt(provider.name, Trouble.UNCONFIGURED, "there are no rules for this")
        return Routed((attempt,))
    return Routed(
        (Attempt(provider.name),), task.by_rule(), provider.name, model="rules", degraded=True
    )


class _Call:
    """One call's way over the providers. `owed`: reserved sums are minus, what was used is plus."""

    def __init__(self, router: Router, task: Task, budget: Budget, until: float) -> None:
        self._router = router
        self._task = task
        self._budget = budget
        self._until = until
        self.owed = 0

    def ask(self, provider: Provider, breaker: Breaker, after: Sequence[Provider]) -> Routed:
        seconds = seconds_for(provider, self._left(), after)
        refusal, is_probe = self._admitted(provider, breaker, seconds)
        if refusal:
            return Routed((refusal,))
        begun = self._router._clock()
        attempt, judged, completion = self._talk(provider, breaker, seconds, is_probe=is_probe)
        attempt = replace(attempt, ms=round((self._router._clock() - begun) * 1000))
        if attempt.trouble:
            return Routed((attempt,))
        return Routed(
            (attempt,),
            judged.result,
            provider.name,
            model=attempt.model or provider.model,
            completion=completion,
        )

    def _admitted(
        self, provider: Provider, breaker: Breaker, seconds: float
    ) -> tuple[Attempt | None, bool]:
        """A skipped attempt where it is not asked, and whether it is asked as a probe."""

        def skip(trouble: Trouble, said: str, wait: int | None = None) -> tuple[Attempt, bool]:
            return Attempt(provider.name, trouble, said, retry_after_seconds=wait), False

        if not provider.url and provider.type is not Kind.BEDROCK:
            return skip(Trouble.UNCONFIGURED, "it has no URL: name one in parameter ProviderUrls")
        now = self._router._now()
        if breaker.state(now) is not State.CLOSED:
            if not breaker.may_be_probed(now):
                at = breaker.retry_at(now)
                wait = max(1, -int(-(at - now).total_seconds() // 1)) if at else 1
                why = breaker.last_error or "it failed too often"
                return skip(Trouble.OPEN, f"left alone for {wait} s more: {why}", wait)
            if seconds and not self._router._breakers.claim_probe(breaker, seconds):
                return skip(Trouble.OPEN, "somebody else is trying it at this moment", 1)
        if not seconds:
            return skip(Trouble.DEADLINE, "no time was left for it")
        return None, breaker.state(now) is State.HALF_OPEN

    def _talk(
        self, provider: Provider, breaker: Breaker, seconds: float, *, is_probe: bool
    ) -> tuple[Attempt, Judged, Completion | None]:
        """Ask, and where the answer does not stand ask once more, saying why."""
        attempt = Attempt(provider.name)
        prompt = self._task.prompt
        judged = Judged()
        until = min(self._until, self._router._clock() + seconds)
        for repairs in (0, 1):
            try:
                completion = self._paid(provider, prompt, until)
            except ProviderError as error:
                self._tell(breaker, error, is_probe=is_probe and not repairs)
                failed = replace(
                    attempt,
                    trouble=error.trouble,
                    said=str(error),
                    status=error.status,
                    retry_after_seconds=error.retry_after_seconds,
                )
                return failed, judged, None
            if not repairs:
                self._router._breakers.succeeded(breaker, was_probe=is_probe)
            attempt = replace(
                attempt,
                model=completion.model or provider.model,
                input_tokens=attempt.input_tokens + completion.input_tokens,
                output_tokens=attempt.output_tokens + completion.output_tokens,
                cost_micros=attempt.cost_micros + money.charge(provider, completion),
                repairs=repairs,
            )
            judged = self._task.judge(completion.text)
            if not judged.flaws:
                return attempt, judged, completion
            prompt = prompt.followed(completion.text, _mend(judged))
            # A second try takes as long as the first did, or longer.
            if until - self._router._clock() < seconds / 4:
                break
        said = f"what it said does not stand: {'; '.join(judged.flaws)}"[:300]
        return replace(attempt, trouble=Trouble.BAD_OUTPUT, said=said), judged, None

    def _paid(self, provider: Provider, prompt: Prompt, until: float) -> Completion:
        """A completion, its price reserved before and settled after."""
        reserve = money.reserve(provider, prompt)
        task = self._task
        if not self._router._purse.reserve(task.tenant, task.day, reserve, self._budget):
            raise ProviderError("the tenant's budget for today is used up", Trouble.BUDGET)
        is_held = self._budget.limit_micros is not None
        try:
            adapter = self._router._adapters[provider.type]
            left = max(0.1, until - self._router._clock())
            completion = adapter.complete(provider, prompt, seconds=left)
        except ProviderError as error:
            if not error.may_be_billed:
                self.owed -= reserve if is_held else 0
            elif not is_held:
                self.owed += reserve
            raise
        self.owed += money.charge(provider, completion) - (reserve if is_held else 0)
        return completion

    def _tell(self, breaker: Breaker, error: ProviderError, *, is_probe: bool) -> None:
        if error.trouble in (Trouble.BUDGET, Trouble.UNCONFIGURED):
            if is_probe:
                self._router._breakers.release(breaker)
            return
        self._router._breakers.failed(breaker, error, was_probe=is_probe)

    def _left(self) -> float:
        return self._until - self._router._clock()


def _mend(judged: Judged) -> str:
    return (
        "That answer cannot be used: "
        + "; ".join(judged.flaws)
        + ". Answer again, with one JSON object of the form that was asked for and nothing else."
    )


def earliest(attempts: Sequence[Attempt]) -> timedelta:
    """When asking again makes sense, of what was skipped."""
    waits = [a.retry_after_seconds for a in attempts if a.retry_after_seconds]
    return timedelta(seconds=min(waits, default=5))
