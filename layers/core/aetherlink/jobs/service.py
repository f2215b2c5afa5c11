"""Work that takes longer than a request: started, done step by step, and looked at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.jobs.model import OPEN, Job, State, failed, moved
from aetherlink.kernel.errors import NotFoundError, UnavailableError
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.tenancy import SYSTEM
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aetherlink.jobs.model import Step
    from aetherlink.kernel.tenancy import Caller, TenantId


class Kept(Protocol):
    def get(self, job_id: str) -> Job | None: ...
    def add(self, job: Job) -> None: ...
    def save(self, earlier: Job, changed: Job) -> Job | None: ...


class Waiting(Protocol):
    """A queue."""

    def send(self, message: str, *, delay_seconds: int = 0) -> None: ...


class Starter(Protocol):
    """What a domain needs that starts jobs."""

    def start(
        self, caller: Caller, kind: str, tenant: TenantId, params: dict[str, Any], total: int
    ) -> Job: ...


def find(jobs: Kept, caller: Caller, job_id: str) -> Job:
    """The job, for who started it; to anybody else there is none."""
    tenant = tenant_of(job_id)
    # Whose it is stands in the id: a stranger's is not even looked up. What is the platform's may have
    # been started by anybody.
    may_be_its = tenant == SYSTEM or (tenant is not None and caller.may_act_for(tenant))
    job = jobs.get(job_id) if may_be_its else None
    if job is None or not job.is_of(caller):
        raise NotFoundError(f"Job {job_id} not found")
    return job


class Jobs:
    """`kinds` has the step of each kind of work; who only starts jobs needs none."""

    def __init__(
        self,
        store: Kept,
        queue: Waiting,
        kinds: Mapping[str, Step],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._queue = queue
        self._kinds = kinds
        self._now = now

    def start(
        self, caller: Caller, kind: str, tenant: TenantId, params: dict[str, Any], total: int = 0
    ) -> Job:
        """Queue it. What could not be queued is left failed, never waiting for a message that
        does not come."""
        now = self._now()
        job = Job(
            id=new_tenant_bound(tenant),
            tenant_id=tenant,
            kind=kind,
            subject=caller.subject,
            acting_for=caller.tenant_id,
            params=params,
            started_at=now,
            updated_at=now,
            total=total,
        )
        self._store.add(job)
        try:
            self._send(job)
        except Exception as error:
            self._store.save(job, failed(job, error, now))
            raise
        return job

    def step(self, job_id: str, deadline: datetime) -> State | None:
        """Work on it until it is finished or the deadline; its state afterwards, None if it is gone.

        Raises UnavailableError where trying again can help: the message then comes again, and the
        work goes on from the last step that was stored.
        """
        job = self._store.get(job_id)
        while job and job.state in OPEN:
            changed, delay_seconds = self._advanced(job, deadline)
            stored = self._store.save(job, changed)
            if stored is None:
                # Somebody else is working on it, and goes on.
                return job.state
            job = stored
            if job.state in OPEN and (delay_seconds or self._now() >= deadline):
                self._send(job, delay_seconds)
                break
        return job.state if job else None

    def _advanced(self, job: Job, deadline: datetime) -> tuple[Job, int]:
        """The job after its next step, and how long to wait before the one after that."""
        try:
            progress = self._kinds[job.kind](job, deadline)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one job of many; recorded, and shown to its owner
            logger.exception("job failed", job_id=job.id, kind=job.kind)
            return failed(job, error, self._now()), 0
        return moved(job, progress, self._now()), progress.delay_seconds

    def _send(self, job: Job, delay_seconds: int = 0) -> None:
        self._queue.send(json.dumps({"job_id": job.id}), delay_seconds=delay_seconds)
