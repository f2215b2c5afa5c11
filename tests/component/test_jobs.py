"""GET /jobs/{id} and the worker, on the real queue and table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from aetherlink import wiring
from aetherlink.jobs.model import Job, Progress, State
from aetherlink.jobs.service import Jobs
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.tenancy import Caller, Role, TenantId
from aetherlink.kernel.time import utc_now
from tests.component.conftest import Stack

OPERATOR = Caller("dev:operator", frozenset({Role.OPERATOR}), TenantId("acme"), cross_tenant=True)


def start(total: int = 3) -> Job:
    return wiring.jobs().start(OPERATOR, "counting", TenantId("acme"), {"by": 1}, total)


@pytest.fixture
def steps(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The worker with one kind of work, counting; each step's cursor is recorded."""
    from functions.jobs import worker

    seen: list[Any] = []

    def count(job: Job, deadline: datetime) -> Progress:
        seen.append(job.cursor)
        done = job.done + job.params["by"]
        pause = 60 if done == 2 else 0
        return Progress(
            {"n": done}, done, job.total, done >= job.total, {"sum": done}, delay_seconds=pause
        )

    monkeypatch.setattr(worker, "jobs", wiring.jobs({"counting": count}))
    return seen


def test_a_job_runs_to_its_end_over_pauses(stack: Stack, steps: list[Any]) -> None:
    job = start()

    waiting = stack.call("GET", f"/jobs/{job.id}", tenant="acme")
    assert stack.run_jobs() == []
    done = stack.call("GET", f"/jobs/{job.id}", tenant="acme")

    assert waiting.status == 200
    assert (waiting.body["state"], waiting.body["done"]) == ("queued", 0)
    assert steps == [None, {"n": 1}, {"n": 2}]
    assert {**done.body, "updated_at": "-", "started_at": "-"} == {
        "status": "ok",
        "job_id": job.id,
        "kind": "counting",
        "state": "done",
        "done": 3,
        "total": 3,
        "result": {"sum": 3},
        "started_at": "-",
        "updated_at": "-",
    }


def test_a_message_that_is_delivered_twice_does_nothing_twice(
    stack: Stack, steps: list[Any]
) -> None:
    job = start()
    wiring.jobs()._send(job)

    stack.run_jobs()

    assert steps == [None, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("roles", "tenant"),
    [("admin", "acme"), ("operator", "globex"), ("operator", None), ("agent", "acme")],
)
def test_a_job_of_somebody_else_is_not_found(stack: Stack, roles: str, tenant: str | None) -> None:
    job = start()

    answer = stack.call("GET", f"/jobs/{job.id}", roles=roles, tenant=tenant)

    assert answer.status == 404
    assert answer.body["detail"] == f"Job {job.id} not found"


@pytest.mark.parametrize("job_id", ["x", "YWNtZS94", "%20", "a%2Fb"])
def test_an_id_that_is_none_is_not_found(stack: Stack, job_id: str) -> None:
    assert stack.call("GET", f"/jobs/{job_id}", tenant="acme").status == 404


def test_nobody_without_credentials_asks_for_a_job(stack: Stack) -> None:
    assert stack.call("GET", "/jobs/x", roles=None).status == 401


def test_an_outage_leaves_the_message_in_the_queue_and_the_job_as_it_was(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.jobs import worker

    def outage(job: Job, deadline: datetime) -> Progress:
        raise UnavailableError("try again")

    monkeypatch.setattr(worker, "jobs", wiring.jobs({"counting": outage}))
    job = start()

    assert len(stack.run_jobs()) == 1
    found = wiring.job_store().get(job.id)
    assert found is not None
    assert found.state is State.QUEUED
    assert stack.queue("jobs-test") == [{"job_id": job.id}]


def test_a_job_whose_message_is_refused_is_failed(stack: Stack) -> None:
    class Refusing:
        def send(self, message: str, *, delay_seconds: int = 0) -> None:
            raise UnavailableError("SQS did not answer; try again")

    kept: list[str] = []
    store = wiring.job_store()

    class Noting:
        get, save = staticmethod(store.get), staticmethod(store.save)

        @staticmethod
        def add(job: Job) -> None:
            kept.append(job.id)
            store.add(job)

    jobs = Jobs(Noting(), Refusing(), {}, utc_now)
    with pytest.raises(UnavailableError):
        jobs.start(OPERATOR, "counting", TenantId("acme"), {})

    answer = stack.call("GET", f"/jobs/{kept[0]}", tenant="acme")
    assert (answer.body["state"], answer.body["error"]) == (
        "failed",
        "SQS did not answer; try again",
    )
