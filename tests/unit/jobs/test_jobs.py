"""Jobs with fakes: started, done in steps, never twice, given up with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.jobs.batch import work
from aetherlink.jobs.model import Job, Progress, State, shown
from aetherlink.jobs.service import Jobs, find
from aetherlink.kernel.errors import ConflictError, NotFoundError, UnavailableError
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.tenancy import Caller, Role, TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOON = NOON + timedelta(seconds=20)
ACME = TenantId("acme")
ANNA = Caller("anna", frozenset({Role.OPERATOR}), ACME)


class World:
    """Storage, a queue, a clock, and one kind of work: counting to `total`."""

    def __init__(self, step: Callable[[Job, datetime], Progress] | None = None) -> None:
        self.now = NOON
        self.kept: dict[str, Job] = {}
        self.sent: list[tuple[str, int]] = []
        self.queue_error: Exception | None = None
        self.steps = 0
        self.jobs = Jobs(self, self, {"counting": step or self.count}, lambda: self.now)

    def get(self, job_id: str) -> Job | None:
        return self.kept.get(job_id)

    def add(self, job: Job) -> None:
        self.kept[job.id] = job

    def save(self, earlier: Job, changed: Job) -> Job | None:
        if self.kept[earlier.id].version != earlier.version:
            return None
        self.kept[earlier.id] = stored = replace(changed, version=earlier.version + 1)
        return stored

    def send(self, message: str, *, delay_seconds: int = 0) -> None:
        if self.queue_error:
            raise self.queue_error
        self.sent.append((json.loads(message)["job_id"], delay_seconds))

    def count(self, job: Job, deadline: datetime) -> Progress:
        self.steps += 1
        done = job.done + 1
        return Progress({"n": done}, done, job.total, done == job.total, {"counted": done})

    def start(self, total: int = 3, **params: Any) -> Job:
        return self.jobs.start(ANNA, "counting", ACME, params, total)


def test_a_job_is_queued_and_its_id_is_bound_to_the_tenant() -> None:
    world = World()

    job = world.start()

    assert world.sent == [(job.id, 0)]
    assert (job.state, tenant_of(job.id)) == (State.QUEUED, "acme")


def test_a_job_whose_message_was_refused_does_not_wait_for_ever() -> None:
    world = World()
    world.queue_error = UnavailableError("The queue could not be reached; try again")

    with pytest.raises(UnavailableError):
        world.start()

    (job,) = world.kept.values()
    assert job.state is State.FAILED
    assert job.error == "The queue could not be reached; try again"


def test_a_job_is_done_step_by_step() -> None:
    world = World()
    job = world.start()

    assert world.jobs.step(job.id, SOON) is State.DONE

    kept = world.kept[job.id]
    assert (kept.done, kept.cursor, kept.result) == (3, {"n": 3}, {"counted": 3})
    assert len(world.sent) == 1


def test_at_the_deadline_a_job_sends_itself_again_and_goes_on_from_there() -> None:
    world = World()
    job = world.start()

    assert world.jobs.step(job.id, NOON) is State.RUNNING

    assert world.kept[job.id].done == 1
    assert world.sent[1:] == [(job.id, 0)]
    assert world.jobs.step(job.id, SOON) is State.DONE
    assert world.steps == 3


def test_a_step_may_ask_for_a_pause() -> None:
    world = World(lambda job, _: Progress({}, 1, 2, finished=False, delay_seconds=30))
    job = world.start()

    world.jobs.step(job.id, SOON)

    assert world.sent[1:] == [(job.id, 30)]


def test_a_message_that_comes_again_does_no_step_of_a_finished_job() -> None:
    world = World()
    job = world.start()
    world.jobs.step(job.id, SOON)

    assert world.jobs.step(job.id, SOON) is State.DONE
    assert world.steps == 3


def test_of_two_who_do_the_same_step_one_stops() -> None:
    world = World()

    def overtaken(job: Job, deadline: datetime) -> Progress:
        if job.done == 0 and world.kept[job.id].version == 1:
            # Somebody else finishes the whole job in the meantime.
            world.kept[job.id] = replace(job, version=5, state=State.DONE, done=3)
        return world.count(job, deadline)

    world.jobs = Jobs(world, world, {"counting": overtaken}, lambda: NOON)
    job = world.start()

    world.jobs.step(job.id, SOON)

    assert (world.steps, world.kept[job.id].done, world.kept[job.id].version) == (1, 3, 5)
    assert len(world.sent) == 1


def test_work_that_meets_an_outage_comes_again_and_stays_open() -> None:
    def outage(job: Job, deadline: datetime) -> Progress:
        raise UnavailableError("try again")

    world = World(outage)
    job = world.start()
    record = {"messageId": "m1", "body": json.dumps({"job_id": job.id})}

    answer = work(world.jobs, [record], SOON)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert world.kept[job.id].state is State.QUEUED


def test_a_message_that_is_none_of_ours_fails_alone() -> None:
    world = World()
    good = {"messageId": "m2", "body": json.dumps({"job_id": world.start().id})}

    answer = work(world.jobs, [{"messageId": "m1", "body": "{"}, good], SOON)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert world.steps == 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConflictError("The archive is off"), "The archive is off"),
        (
            RuntimeError("password=hunter2"),
            "It stopped on a fault of ours; the log has it under this job's id",
        ),
    ],
)
def test_a_job_that_cannot_be_done_says_why_without_secrets(
    error: Exception, sentence: str
) -> None:
    def broken(job: Job, deadline: datetime) -> Progress:
        raise error

    world = World(broken)
    job = world.start()

    assert world.jobs.step(job.id, SOON) is State.FAILED
    assert shown(world.kept[job.id]).model_dump()["error"] == sentence


def test_work_of_an_unknown_kind_fails() -> None:
    world = World()
    job = world.jobs.start(ANNA, "dreaming", ACME, {})

    assert world.jobs.step(job.id, SOON) is State.FAILED


def test_a_job_that_is_gone_needs_nothing() -> None:
    assert World().jobs.step("nothing", SOON) is None


@pytest.mark.parametrize(
    "stranger",
    [
        replace(ANNA, subject="bob"),
        replace(ANNA, tenant_id=TenantId("globex")),
        replace(ANNA, tenant_id=None, cross_tenant=True),
    ],
)
def test_a_job_is_only_for_who_started_it(stranger: Caller) -> None:
    world = World()
    job = world.start()

    assert find(world, ANNA, job.id) == job
    with pytest.raises(NotFoundError, match=f"^Job {job.id} not found$"):
        find(world, stranger, job.id)


def test_what_came_of_a_job_is_shown_once_it_is_done() -> None:
    world = World()
    job = world.start(total=2)
    world.jobs.step(job.id, NOON)

    running = shown(world.kept[job.id]).model_dump()
    world.jobs.step(job.id, NOON)
    done = shown(world.kept[job.id]).model_dump()

    assert running == {
        "status": "ok",
        "job_id": job.id,
        "kind": "counting",
        "state": "running",
        "done": 1,
        "total": 2,
        "started_at": "2026-11-23T12:00:00.000000Z",
        "updated_at": "2026-11-23T12:00:00.000000Z",
    }
    assert (done["state"], done["result"]) == ("done", {"counted": 2})
