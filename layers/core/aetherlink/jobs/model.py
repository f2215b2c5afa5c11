"""Long work, as whoever started it sees it: how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from aetherlink.kernel.errors import ControlPlaneError
from aetherlink.kernel.shape import Shape
from aetherlink.kernel.time import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.kernel.tenancy import Caller, TenantId


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


OPEN = frozenset({State.QUEUED, State.RUNNING})


@dataclass(frozen=True)
class Job:
    """`tenant_id` is whose data it is about (`system`: every tenant's); `subject` and `acting_for`
    are who started it. `params`, `cursor` and `result` are JSON, and the kind's own."""

    id: str
    tenant_id: TenantId
    kind: str
    subject: str
    acting_for: TenantId | None
    params: dict[str, Any]
    started_at: datetime
    updated_at: datetime
    cursor: dict[str, Any] | None = None
    done: int = 0
    total: int = 0
    state: State = State.QUEUED
    result: dict[str, Any] | None = None
    error: str | None = None
    version: int = 1

    def is_of(self, caller: Caller) -> bool:
        """Whether the caller started it: the same identity, acting for the same tenant."""
        return (caller.subject, caller.tenant_id) == (self.subject, self.acting_for)


@dataclass(frozen=True)
class Progress:
    """What one step came to. `cursor` is where the next one goes on; `result` what is known so far;
    `delay_seconds` asks for a pause before the next step."""

    cursor: dict[str, Any] | None
    done: int
    total: int
    finished: bool
    result: dict[str, Any] | None = None
    delay_seconds: int = 0


if TYPE_CHECKING:
    # Does a piece of a job, until about the deadline. It may be run again from the same cursor, and
    # by two at once: it must come to the same.
    Step = Callable[[Job, datetime], Progress]


def moved(job: Job, progress: Progress, now: datetime) -> Job:
    return replace(
        job,
        cursor=progress.cursor,
        done=progress.done,
        total=progress.total,
        result=progress.result,
        state=State.DONE if progress.finished else State.RUNNING,
        updated_at=now,
    )


def failed(job: Job, error: Exception, now: datetime) -> Job:
    """Given up. Only an error of ours is worded for callers; any other might quote a secret."""
    sentence = "It stopped on a fault of ours; the log has it under this job's id"
    if isinstance(error, ControlPlaneError):
        sentence = str(error)
    return replace(job, state=State.FAILED, error=sentence, updated_at=now)


class JobShown(Shape):
    """A job, as its answers show it."""

    status: Literal["ok"] = "ok"
    job_id: str
    kind: str
    state: State
    done: int
    total: int
    result: dict[str, Any] | None = None
    error: str | None = None
    started_at: str
    updated_at: str

    @model_serializer(mode="wrap")
    def _without_blanks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = handler(self)
        return {name: value for name, value in shown.items() if value is not None}


def shown(job: Job) -> JobShown:
    """What came of it is shown once it is done."""
    return JobShown(
        job_id=job.id,
        kind=job.kind,
        state=job.state,
        done=job.done,
        total=job.total,
        result=job.result if job.state is State.DONE else None,
        error=job.error,
        started_at=to_text(job.started_at),
        updated_at=to_text(job.updated_at),
    )
