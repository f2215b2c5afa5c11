"""The jobs queue: long work, a few steps at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aetherlink.jobs.batch import work
from aetherlink.kernel.time import utc_now
from aetherlink.wiring import job_kinds
from aetherlink.wiring import jobs as build

# The function's timeout is 60 s; a step that is under way at the deadline may take the rest.
TIME = timedelta(seconds=20)

jobs = build(job_kinds())


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return work(jobs, event["Records"], utc_now() + TIME)
