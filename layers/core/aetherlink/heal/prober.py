"""Looking at services: one HTTP exchange each, many at the same time."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

from aetherlink.heal.health import Probe
from aetherlink.platform.boundary import spread
from aetherlink.platform.outbound import MAX_ANSWER_BYTES, OutboundError
from aetherlink.registry.plan import ProbePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aetherlink.heal.model import Target
    from aetherlink.platform.outbound import Outbound

# They wait for the network; what a run takes of the processor is the same with fewer.
WORKERS = 128
# All of them together, if every one hangs to its end: a run has a minute (contract: 1,000 a tenant).
TOGETHER_SECONDS = 20.0
_FIRST_OK, _FIRST_NOT_OK = 200, 300
_ERROR_SHOWN = 200


class Prober:
    def __init__(self, outbound: Outbound, now: Callable[[], datetime]) -> None:
        self._outbound = outbound
        self._now = now

    def look(
        self, targets: Sequence[Target], *, workers: int = WORKERS, longest: float = math.inf
    ) -> list[Probe]:
        """A look at each of them, in their order, for so many seconds at the longest, and for less where
        they are very many. Whatever happens is a finding, never an exception."""
        longest = min(longest, TOGETHER_SECONDS * workers / max(len(targets), 1))
        one = partial(self._one, longest=longest)
        return spread(one, targets, workers=min(workers, max(len(targets), 1)))

    def _one(self, target: Target, longest: float) -> Probe:
        plan = target.probe or ProbePlan()
        started = time.perf_counter()
        try:
            answer = self._outbound.send(
                "GET",
                target.url,
                headers={"Accept": "*/*"},
                body=b"",
                timeout_seconds=min(plan.timeout_seconds, longest),
                cut=True,
            )
        except OutboundError as error:
            return Probe(
                self._now(), is_well=False, ms=_ms(started), error=str(error)[:_ERROR_SHOWN]
            )
        error_text = _flaw(plan, answer.status, answer.body, answer.elapsed_ms)
        return Probe(
            self._now(), error_text is None, answer.elapsed_ms, answer.status, error=error_text
        )


def _flaw(plan: ProbePlan, status: int, body: bytes, ms: int) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    is_ok = status in plan.status if plan.status else _FIRST_OK <= status < _FIRST_NOT_OK
    if not is_ok:
        is_elsewhere = _FIRST_NOT_OK <= status < 400 and not plan.status  # noqa: PLR2004
        rest = "; redirects are not followed, register where it leads to" if is_elsewhere else ""
        return f"answered {status}{rest}"
    if plan.body and plan.body.encode() not in body:
        cut = f" the first {MAX_ANSWER_BYTES:,} bytes of" if len(body) >= MAX_ANSWER_BYTES else ""
        return f"{plan.body!r} is not in{cut} the answer"
    if plan.max_latency_ms and ms > plan.max_latency_ms:
        return f"took {ms} ms, which is over {plan.max_latency_ms} ms"
    return None


def _ms(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
