"""What a draft rule would have made of the past: at once for a short one, as a job for a long one.

The job reads events newest first and keeps what the rule counts of them as objects beside the
archive; the last step plays them all. A step that is done twice writes the same object twice.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field, field_validator

from aetherlink.alerts.condition import Part, Point
from aetherlink.alerts.model import Rule, RuleDraft, draw_up, read_by
from aetherlink.alerts.replay import Run, Tape, play
from aetherlink.jobs.model import Job, Progress
from aetherlink.kernel.errors import ConflictError, Flaw, UnprocessableError
from aetherlink.kernel.ids import digest
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, parse_instant, to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from aetherlink.events.model import Event, Filters
    from aetherlink.jobs.service import Starter
    from aetherlink.kernel.tenancy import Caller

KIND = "alerts.backtest"
# So many events are read while a caller waits; more make a job.
AT_ONCE = 2_000
DEFAULT_STRETCH = timedelta(days=1)
LONGEST = timedelta(days=366)
# A job's result has to fit into its item.
MAX_SHOWN = 200
_PAGE = 500
_PER_OBJECT = 5_000


class BacktestDraft(Given):
    """The body of POST /alerts/rules/backtest."""

    rule: RuleDraft
    since: Annotated[datetime | None, Field(description="Absent: a day before until")] = None
    until: Annotated[datetime | None, Field(description="Absent: now")] = None

    @field_validator("since", "until", mode="before")
    @classmethod
    def _instant(cls, given: object) -> object:
        return parse_instant(given) if isinstance(given, str) else given


class Stored(Protocol):
    def page(
        self, view: TenantId | None, filters: Filters, *, below: str | None, limit: int
    ) -> tuple[list[Event], str | None]: ...


class Objects(Protocol):
    def put(self, key: str, body: bytes, *, content_type: str) -> None: ...
    def get(self, key: str) -> bytes | None: ...


@dataclass(frozen=True)
class Stretch:
    since: datetime
    until: datetime

    def before(self, rule: Rule) -> datetime:
        """From when on events are read: the first window has to be whole."""
        return self.since - rule.window


class Backtests:
    def __init__(self, events: Stored, jobs: Starter, now: Callable[[], datetime]) -> None:
        self._events = events
        self._jobs = jobs
        self._now = now

    def run(
        self, caller: Caller, draft: BacktestDraft, tenant: TenantId | None
    ) -> tuple[dict[str, Any] | None, Job | None]:
        """What the rule would have made, or the job that finds out."""
        stretch = self._stretch(draft)
        rule = a_draft(draft.rule, tenant, stretch.since)
        tape, below = Tape.blank(rule), None
        filters = read_by(rule, since=stretch.before(rule), until=stretch.until)
        read = 0
        while read < AT_ONCE:
            found, below = self._events.page(tenant, filters, below=below, limit=_PAGE)
            tape.add(found)
            # A page of a sparse filter may be short; it still was work.
            read += max(len(found), _PAGE // 10)
            if below is None:
                return report(
                    tape, stretch, play(tape, since=stretch.since, until=stretch.until)
                ), None
        params = {
            "rule": draft.rule.model_dump_json(),
            "tenant_id": tenant,
            "since": to_text(stretch.since),
            "until": to_text(stretch.until),
        }
        return None, self._jobs.start(caller, KIND, tenant or SYSTEM, params, 0)

    def _stretch(self, draft: BacktestDraft) -> Stretch:
        until = min(draft.until or self._now(), self._now())
        since = draft.since or until - DEFAULT_STRETCH
        if since >= until:
            raise UnprocessableError((Flaw("/since", "must be before until, and in the past"),))
        if until - since > LONGEST:
            raise UnprocessableError(
                (Flaw("/since", f"may be {LONGEST.days} days before until at most"),)
            )
        return Stretch(since, until)


class Playing:
    """The step of a backtest's job."""

    def __init__(self, events: Stored, objects: Objects, now: Callable[[], datetime]) -> None:
        self._events = events
        self._objects = objects
        self._now = now

    def step(self, job: Job, deadline: datetime) -> Progress:
        params = job.params
        stretch = Stretch(from_text(params["since"]), from_text(params["until"]))
        named = params.get("tenant_id")
        tenant = TenantId(named) if named else None
        rule = a_draft(RuleDraft.model_validate_json(params["rule"]), tenant, stretch.since)
        filters = read_by(rule, since=stretch.before(rule), until=stretch.until)
        cursor = job.cursor or {"below": None, "objects": []}
        below, made, done = cursor["below"], list(cursor["objects"]), job.done
        while self._now() < deadline:
            tape, read, start = Tape.blank(rule), 0, below
            while read < _PER_OBJECT:
                found, below = self._events.page(tenant, filters, below=below, limit=_PAGE)
                tape.add(found)
                read += len(found)
                if below is None or self._now() >= deadline:
                    break
            done += read
            # Named by what is in it: of two who do the same step, neither overwrites the other's.
            name = digest(str(start), str(below))
            self._objects.put(_key(job, name), _packed(tape), content_type="application/gzip")
            made.append(name)
            if below is None:
                return self._played(job, rule, stretch, made, done)
        return Progress({"below": below, "objects": made}, done, 0, finished=False)

    def _played(
        self, job: Job, rule: Rule, stretch: Stretch, objects: list[str], done: int
    ) -> Progress:
        tape = Tape.blank(rule)
        for name in objects:
            packed = self._objects.get(_key(job, name))
            if packed is None:
                raise ConflictError("A part of this backtest is gone; start it again")
            _unpack(packed, tape)
        runs = play(tape, since=stretch.since, until=stretch.until)
        return Progress(None, done, done, finished=True, result=report(tape, stretch, runs))


def a_draft(draft: RuleDraft, tenant: TenantId | None, since: datetime) -> Rule:
    """The rule that the draft would be, on from `since`; whether it is enabled plays no part."""
    drawn = draw_up(draft, "backtest", tenant, since)
    return drawn.model_copy(update={"enabled": True})


def report(tape: Tape, stretch: Stretch, runs: list[Run]) -> dict[str, Any]:
    """What people want to know before they switch a rule on: how often, how loud, and who."""
    days = Counter(to_text(run.raised_at)[:10] for run in runs)
    days.update(to_text(run.resolved_at)[:10] for run in runs if run.resolved_at)
    noisiest = Counter(json.dumps(run.group, sort_keys=True) for run in runs).most_common(10)
    return {
        "since": to_text(stretch.since),
        "until": to_text(stretch.until),
        "events_counted": tape.counted,
        "groups": len(tape.groups),
        "count": len(runs),
        "episodes": [
            {
                "group": run.group,
                "raised_at": to_text(run.raised_at),
                "resolved_at": to_text(run.resolved_at) if run.resolved_at else None,
                "matched_count": run.matched,
            }
            for run in runs[:MAX_SHOWN]
        ],
        "episodes_left_out": max(0, len(runs) - MAX_SHOWN),
        "notifications": {"total": sum(days.values()), "per_day": dict(sorted(days.items()))},
        "noisiest": [{"group": json.loads(group), "episodes": n} for group, n in noisiest],
    }


def _key(job: Job, name: str) -> str:
    return f"backtests/{job.tenant_id}/{job.id}/{name}.json.gz"


def _packed(tape: Tape) -> bytes:
    groups = [
        [
            group,
            [
                [to_text(p.at), p.part.n, p.part.total, p.part.sum, sorted(p.part.values)]
                for p in points
            ],
        ]
        for group, points in tape.groups.values()
    ]
    text = json.dumps({"counted": tape.counted, "groups": groups}, separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


def _unpack(packed: bytes, tape: Tape) -> None:
    body = json.loads(gzip.decompress(packed))
    tape.counted += body["counted"]
    for group, points in body["groups"]:
        made = [
            Point(from_text(at), Part(n, total, value, frozenset(values)))
            for at, n, total, value, values in points
        ]
        tape.extend(group, made)
