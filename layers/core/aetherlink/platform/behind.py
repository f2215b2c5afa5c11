"""Work that follows requests instead of delaying them: one daemon thread a process.

A Lambda is frozen between invocations, this thread with it. It goes on when the next request thaws
the process; if none ever does, what it still had to do is lost. So nothing may be left to it that
must not be lost.
"""

from __future__ import annotations

import atexit
import time
from threading import Condition, Thread
from typing import TYPE_CHECKING

from aetherlink.platform import boundary
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], None]

# No task is put off for longer; a wait beyond it means that the clock was set back.
_LONGEST_SECONDS = 60.0


class Behind:
    """Tasks and when each is due. The thread starts with the first of them.

    The clock is the wall's: it goes on while a process is frozen, which a monotonic one need not.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._due: dict[Task, float] = {}
        self._changed = Condition()
        self._thread: Thread | None = None
        self._by_hand = False

    def by_hand(self) -> None:
        """From now on no thread: tasks wait for `run`. For tests and the benchmark, whose tables
        are gone, and whose calls are counted, when a thread would write."""
        self._by_hand = True

    def soon(self, task: Task, seconds: float) -> None:
        """Run `task` within `seconds`, or when it was due already if that is earlier."""
        now = self._clock()
        due = self._due.get(task)
        if due is not None and now < due <= now + seconds:
            return
        with self._changed:
            self._due[task] = min(now + seconds, due or now + seconds)
            if self._thread is None and not self._by_hand:
                self._start()
            self._changed.notify()

    def wake(self) -> None:
        """Let what is overdue run now: after a thaw, at the beginning of a request."""
        # A look without the lock: the task that it misses is woken by the next request.
        if self._due and min(tuple(self._due.values()), default=0.0) <= self._clock():
            with self._changed:
                self._changed.notify()

    def run(self) -> None:
        """Run everything that waits, due or not, here and now."""
        with self._changed:
            waiting = list(self._due)
            self._due.clear()
        for task in waiting:
            _attempt(task)

    def forget(self) -> None:
        """Drop what waits, undone."""
        with self._changed:
            self._due.clear()

    def _start(self) -> None:
        self._thread = Thread(target=self._follow, name="behind", daemon=True)
        self._thread.start()
        # Where a process ends in good order, which a Lambda does not: the local cloud, a command.
        atexit.register(self.run)

    def _follow(self) -> None:
        while True:
            _attempt(self._next())

    def _next(self) -> Task:
        """The next task, when it is due."""
        with self._changed:
            while True:
                if not self._due or self._by_hand:
                    self._changed.wait()
                    continue
                task = min(self._due, key=self._due.__getitem__)
                remaining = self._due[task] - self._clock()
                if 0 < remaining <= _LONGEST_SECONDS:
                    self._changed.wait(remaining)
                    continue
                del self._due[task]
                return task


def _attempt(task: Task) -> None:
    try:
        # What gathered is of whoever called; the request that happens to run it does not bind it.
        with boundary.within(None):
            task()
    except Exception:  # noqa: BLE001 - one task of many; the thread has to go on for the others
        logger.exception("work behind requests failed", task=task.__qualname__)


_behind = Behind()
by_hand, soon, wake, run, forget = (
    _behind.by_hand,
    _behind.soon,
    _behind.wake,
    _behind.run,
    _behind.forget,
)
