"""The archive's jobs, a part at a time: comparing it with its manifests, and putting events back.

A job's cursor is the part that comes next, and behind how many of its lines: tenant, hour, part,
line. A step that is done twice comes to the same.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.archive.model import DamagedError, event_in, lines
from aetherlink.archive.service import OFF
from aetherlink.archive.store import just_after, place_of
from aetherlink.events.keeping import Restored
from aetherlink.jobs.model import Progress
from aetherlink.kernel.errors import ConflictError
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from aetherlink.archive.filing import Objects
    from aetherlink.archive.model import Manifest
    from aetherlink.events.keeping import Policy, Term
    from aetherlink.events.model import Event
    from aetherlink.jobs.model import Job

# A job's item may have 400 KB; whoever has more problems than that has seen enough of them.
MAX_PROBLEMS = 100
# Events between two looks at the clock, and how many are written at a time.
_CHUNK = 200
_WRITERS = 8

Counts = dict[str, Any]


class Manifests(Protocol):
    def get(self, tenant_id: TenantId, hour: str) -> Manifest | None: ...
    def first(self, view: TenantId | None, *, start: str, last: str) -> Manifest | None: ...
    def between(self, view: TenantId | None, *, first: str, last: str) -> Iterator[Manifest]: ...


class Restorable(Protocol):
    def restore(self, event: Event, *, retention: timedelta, now: datetime) -> bool: ...


class Terms(Protocol):
    def term(self, tenant_id: TenantId) -> Term: ...


class Policies(Protocol):
    def get(self, tenant_id: TenantId) -> tuple[Policy | None, Restored | None]: ...
    def put_restored(self, tenant_id: TenantId, restored: Restored) -> None: ...


@dataclass(frozen=True)
class _Place:
    manifest: Manifest
    part: int = 0
    line: int = 0


class _Walk:
    """The parts of a job's hours, oldest first."""

    def __init__(self, manifests: Manifests, job: Job) -> None:
        self._manifests = manifests
        self._job = job
        tenant = job.params["tenant_id"]
        self._view = TenantId(tenant) if tenant else None
        self._first, self._last = job.params["first"], job.params["last"]

    def place(self) -> _Place | None:
        """Where the job stands; None if there is nothing in its range."""
        at = self._job.cursor
        if at is None:
            return self._from(self._first)
        manifest = self._manifests.get(TenantId(at["tenant"]), at["hour"])
        return _Place(manifest, at["part"], at["line"]) if manifest else None

    def progress(self, place: _Place | None, result: Counts, line: int | None = None) -> Progress:
        """What a step came to that dealt with `place`, or with its part up to a line."""
        job = self._job
        total = job.total or sum(
            1 for _ in self._manifests.between(self._view, first=self._first, last=self._last)
        )
        following = self._after(place, line) if place else None
        same_hour = place and following and place.manifest == following.manifest
        return Progress(
            cursor=_cursor(following) if following else None,
            done=job.done if same_hour or place is None else job.done + 1,
            total=total,
            finished=following is None,
            result=result,
        )

    def _after(self, place: _Place, line: int | None) -> _Place | None:
        if line is not None:
            return replace(place, line=line)
        if place.part + 1 < len(place.manifest.parts):
            return _Place(place.manifest, place.part + 1)
        return self._from(just_after(place_of(self._view, place.manifest)))

    def _from(self, start: str) -> _Place | None:
        manifest = self._manifests.first(self._view, start=start, last=self._last)
        return _Place(manifest) if manifest else None


def _cursor(place: _Place) -> dict[str, Any]:
    manifest = place.manifest
    return {
        "tenant": manifest.tenant_id,
        "hour": manifest.hour,
        "part": place.part,
        "line": place.line,
    }


class Verification:
    """Reads every part, and says which are not what their manifest says they are."""

    def __init__(self, manifests: Manifests, objects: Objects | None) -> None:
        self._manifests = manifests
        self._objects = objects

    def __call__(self, job: Job, deadline: datetime) -> Progress:  # noqa: ARG002 - a part takes a second
        objects = _enabled(self._objects)
        walk = _Walk(self._manifests, job)
        place = walk.place()
        result = job.result or {"objects": 0, "events": 0, "problems": []}
        if place is None:
            return walk.progress(None, result)
        problems = list(result["problems"])
        if place.part == 0:
            problems += _manifest_problems(place.manifest, objects)
        part, events = place.manifest.parts[place.part], 0
        try:
            for _ in lines(part, objects.get(part.key)):
                events += 1
        except DamagedError as error:
            problems.append({"key": part.key, "detail": str(error)})
        checked = {
            "objects": result["objects"] + 1,
            "events": result["events"] + events,
            "problems": problems[:MAX_PROBLEMS],
        }
        return walk.progress(place, checked)


class Restoration:
    """Puts one tenant's events back as they were, each marked with how long it stays."""

    def __init__(
        self,
        manifests: Manifests,
        objects: Objects | None,
        events: Restorable,
        *,
        terms: Terms,
        policies: Policies,
        now: Callable[[], datetime],
    ) -> None:
        self._manifests = manifests
        self._objects = objects
        self._events = events
        self._terms = terms
        self._policies = policies
        self._now = now

    def __call__(self, job: Job, deadline: datetime) -> Progress:
        objects = _enabled(self._objects)
        walk = _Walk(self._manifests, job)
        place = walk.place()
        result = dict(job.result or {"restored": 0, "already_there": 0, "problems": []})
        line: int | None = None
        if place:
            part = place.manifest.parts[place.part]
            try:
                found = islice(lines(part, objects.get(part.key)), place.line, None)
                line = self._put_back(job, found, result, place.line, deadline)
            except (DamagedError, ValueError) as error:
                problem = {"key": part.key, "detail": str(error)[:300]}
                result["problems"] = [*result["problems"], problem][:MAX_PROBLEMS]
        progress = walk.progress(place, result, line)
        if progress.finished:
            self._show(job)
        return progress

    def _put_back(
        self,
        job: Job,
        found: Iterator[dict[str, Any]],
        result: Counts,
        line: int,
        deadline: datetime,
    ) -> int | None:
        """Restore the events behind a line; the line to go on behind, None if the part is done."""
        since, until = _instants(job, "since", "until")
        (stays_until,) = _instants(job, "restored_until")
        put = partial(
            self._events.restore,
            retention=self._terms.term(job.tenant_id).retention,
            now=self._now(),
        )
        with ThreadPoolExecutor(_WRITERS) as writers:
            while chunk := list(islice(found, _CHUNK)):
                line += len(chunk)
                events = [event_in(kept) for kept in chunk]
                marked = [
                    event.model_copy(update={"restored_until": stays_until})
                    for event in events
                    if since <= event.timestamp < until
                ]
                restored = sum(writers.map(put, marked))
                result["restored"] += restored
                result["already_there"] += len(marked) - restored
                if self._now() >= deadline:
                    return line
        return None

    def _show(self, job: Job) -> None:
        """Let lists reach back to what was restored, beside what an earlier restore brought."""
        since, until = _instants(job, "since", "restored_until")
        _, earlier = self._policies.get(job.tenant_id)
        if earlier and earlier.until > self._now():
            since, until = min(since, earlier.since), max(until, earlier.until)
        self._policies.put_restored(job.tenant_id, Restored(since, until))


def _manifest_problems(manifest: Manifest, objects: Objects) -> list[dict[str, str]]:
    body = objects.get(manifest.key)
    detail = None
    if body is None:
        detail = "is missing"
    else:
        try:
            if json.loads(body) != manifest.body():
                detail = "differs from what the control table has"
        except ValueError:
            detail = "is not JSON"
    return [{"key": manifest.key, "detail": detail}] if detail else []


def _enabled(objects: Objects | None) -> Objects:
    if objects is None:
        raise ConflictError(OFF)
    return objects


def _instants(job: Job, *names: str) -> list[datetime]:
    return [from_text(job.params[name]) for name in names]
