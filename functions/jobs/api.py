"""HTTP edge of jobs: how far long work is, for who started it."""

from __future__ import annotations

from aws_lambda_powertools.event_handler.request import Request

from aetherlink.jobs.model import JobShown, shown
from aetherlink.jobs.service import find
from aetherlink.platform.http import By, create_app, path_text, serve
from aetherlink.wiring import job_store

app = create_app()
jobs = job_store()


@app.get("/jobs/<job_id>", summary="How far long work is, and what came of it")
def job(job_id: str, request: Request, by: By) -> JobShown:
    return shown(find(jobs, by, path_text(request, "job_id")))


lambda_handler = serve(app, "command-center")
