"""Many events in one request: each one's fate is its own, and the results come in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aetherlink.events.compatibility import escaped
from aetherlink.kernel.errors import (
    ControlPlaneError,
    Flaw,
    TooLargeError,
    UnavailableError,
    UnprocessableError,
)
from aetherlink.kernel.shape import Shape
from aetherlink.platform.boundary import spread
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aetherlink.events.model import Event, Published
    from aetherlink.kernel.tenancy import Caller

MAX_EVENTS = 500
_WORKERS = 16
# No event's storing begins later than this. One that began just before may take 18 s (three attempts
# of 5 s, and the pauses between them), and the function has 28 s in all.
BUDGET_SECONDS = 8.0


class Admission(Protocol):
    """What a batch needs of publishing."""

    def prepare(self, caller: Caller, body: Any) -> Event: ...
    def store(self, event: Event) -> Published: ...


@dataclass(frozen=True)
class Outcome:
    """What became of one event: `published`, or the `error` that kept it out."""

    index: int
    event_id: str | None
    published: Published | None = None
    error: Exception | None = None


class Batch(Shape):
    """The answer: one result for each event, in the order they were sent."""

    status: Literal["ok", "partial"]
    count: int
    stored: int
    failed: int
    results: list[dict[str, Any]]


@dataclass(frozen=True)
class _Prepared:
    index: int
    event: Event


def events_in(body: Any) -> list[Any]:
    """The events in a request body: an array, or an object with the array as its only member."""
    if isinstance(body, dict):
        flaws = [Flaw(f"/{escaped(n)}", "is not a field of a batch") for n in body if n != "events"]
        if flaws:
            raise UnprocessableError(tuple(flaws))
    events = body.get("events") if isinstance(body, dict) else body
    if not isinstance(events, list) or not events:
        raise UnprocessableError(
            (
                Flaw(
                    "/events" if isinstance(body, dict) else "",
                    f"must be an array of 1 to {MAX_EVENTS} events, bare or as "
                    f'{{"events": […]}}, got {_kind(events)}',
                ),
            )
        )
    return events


def publish_all(
    admission: Admission,
    caller: Caller,
    bodies: Sequence[Any],
    *,
    monotonic: Callable[[], float],
    id_field: str = "event_id",
) -> list[Outcome]:
    """Publish each of `bodies`. Those that are named by an outcome without an error are durable.

    Raises UnavailableError if storage kept every one of them out. `id_field` is what a body calls
    its event's id.
    """
    if len(bodies) > MAX_EVENTS:
        raise TooLargeError(f"A batch may have {MAX_EVENTS} events at most, got {len(bodies)}")
    began = monotonic()
    outcomes, prepared = [], []
    for index, body in enumerate(bodies):
        try:
            prepared.append(_Prepared(index, admission.prepare(caller, body)))
        except Exception as error:  # noqa: BLE001 - one event of a batch; the others go on
            outcomes.append(_failed(index, _id_in(body, id_field), error))

    def store(turn: list[_Prepared]) -> list[Outcome]:
        return [_store(admission, p, is_late=monotonic() - began > BUDGET_SECONDS) for p in turn]

    outcomes += _at_the_same_time(store, _turns(prepared))
    outcomes.sort(key=lambda outcome: outcome.index)
    refused = [o.error for o in outcomes if isinstance(o.error, UnavailableError)]
    if refused and len(refused) == len(outcomes):
        raise UnavailableError(f"None of the events was stored: {refused[0]}") from refused[0]
    return outcomes


def answer(outcomes: Sequence[Outcome], describe: Callable[[Exception], dict[str, Any]]) -> Batch:
    """The outcomes as clients read them; `describe` is the edge's wording of an error."""
    failed = sum(outcome.error is not None for outcome in outcomes)
    return Batch(
        status="partial" if failed else "ok",
        count=len(outcomes),
        stored=len(outcomes) - failed,
        failed=failed,
        results=[_result(outcome, describe) for outcome in outcomes],
    )


def _result(outcome: Outcome, describe: Callable[[Exception], dict[str, Any]]) -> dict[str, Any]:
    if outcome.published:
        return {"index": outcome.index, "http_status": 200, **outcome.published.model_dump()}
    described = describe(outcome.error or RuntimeError("neither published nor refused"))
    named = {"event_id": outcome.event_id} if outcome.event_id else {}
    status = {"http_status": described.pop("http_status")}
    return {
        "index": outcome.index,
        "status": "error",
        **status,
        "stored": False,
        **named,
        **described,
    }


def _turns(prepared: Iterable[_Prepared]) -> list[list[_Prepared]]:
    """Events of the same key take turns, so that the first one sent is the one that is stored."""
    turns: dict[tuple[str, str, str], list[_Prepared]] = {}
    for each in prepared:
        event = each.event
        turns.setdefault((event.tenant_id, event.source, event.event_id), []).append(each)
    return list(turns.values())


def _at_the_same_time(
    store: Callable[[list[_Prepared]], list[Outcome]], turns: list[list[_Prepared]]
) -> list[Outcome]:
    done = spread(store, turns, workers=_WORKERS)
    return [outcome for outcomes in done for outcome in outcomes]


def _store(admission: Admission, prepared: _Prepared, *, is_late: bool) -> Outcome:
    event_id = prepared.event.event_id
    if is_late:
        late = UnavailableError("There was no time left for this event; send it again")
        return _failed(prepared.index, event_id, late)
    try:
        return Outcome(prepared.index, event_id, published=admission.store(prepared.event))
    except Exception as error:  # noqa: BLE001 - one event of a batch; the others go on
        return _failed(prepared.index, event_id, error)


def _failed(index: int, event_id: str | None, error: Exception) -> Outcome:
    if not isinstance(error, ControlPlaneError):
        logger.error("event of a batch failed unexpectedly", index=index, exc_info=error)
    return Outcome(index, event_id, error=error)


def _id_in(body: Any, id_field: str) -> str | None:
    given = body.get(id_field) if isinstance(body, dict) else None
    return given[:128] if isinstance(given, str) else None


def _kind(given: Any) -> str:
    if given is None:
        return "none"
    return "an empty one" if given == [] else f"a {type(given).__name__}"
