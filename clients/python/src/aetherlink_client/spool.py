"""Events that wait for the control plane, on disk: a crash or a restart of the service loses none."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# About 100 MB of ordinary events. Who writes more than that while nobody takes it should know.
MAX_EVENTS = 100_000


class SpoolFull(Exception):  # noqa: N818 - what is the matter, not that it is an error
    """So many events wait that no more are taken."""


class Spool:
    """Thread-safe, and safe for several processes on one file. `path` ":memory:" keeps it in memory alone.

    What the control plane refuses for good is set aside with its reason, never dropped.
    """

    def __init__(self, path: str | Path, *, max_events: int = MAX_EVENTS) -> None:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._max = max_events
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY, event TEXT NOT NULL)"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS refused "
            "(id INTEGER PRIMARY KEY, event TEXT NOT NULL, reason TEXT NOT NULL)"
        )

    def put(self, event: dict[str, Any]) -> None:
        """Keep an event. Raises SpoolFull."""
        with self._lock:
            if self._count() >= self._max:
                raise SpoolFull(f"{self._max:,} events wait already; the control plane takes none")
            self._db.execute("INSERT INTO waiting (event) VALUES (?)", (json.dumps(event),))

    def first(self, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """The oldest ones, with their numbers. They stay until they are `done` or `refused`."""
        with self._lock:
            found = self._db.execute(
                "SELECT id, event FROM waiting ORDER BY id LIMIT ?", (limit,)
            ).fetchall()
        return [(number, json.loads(event)) for number, event in found]

    def done(self, numbers: Iterable[int]) -> None:
        with self._lock:
            self._db.executemany(
                "DELETE FROM waiting WHERE id = ?", [(number,) for number in numbers]
            )

    def refuse(self, number: int, reason: str) -> None:
        """Set one aside: the control plane will never take it as it is."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO refused (event, reason) SELECT event, ? FROM waiting WHERE id = ?",
                (reason, number),
            )
            self._db.execute("DELETE FROM waiting WHERE id = ?", (number,))
            self._db.execute("COMMIT")

    def refused(self) -> list[tuple[dict[str, Any], str]]:
        """What was set aside, with the reasons, the oldest first."""
        with self._lock:
            found = self._db.execute("SELECT event, reason FROM refused ORDER BY id").fetchall()
        return [(json.loads(event), reason) for event, reason in found]

    def __len__(self) -> int:
        """How many wait."""
        with self._lock:
            return self._count()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _count(self) -> int:
        (count,) = self._db.execute("SELECT COUNT(*) FROM waiting").fetchone()
        return int(count)
