"""Progress for people, and failures that say what to do."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stop(Exception):  # noqa: N818 - not an error of ours: a sentence for the person
    """Ends the command with one sentence that says what was wrong and what to do."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """`what …` while it runs, then how long it took."""
    started = time.monotonic()
    print(f"  {what} … ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def note(text: str) -> None:
    print(f"  {text}", flush=True)


def complain(error: Stop) -> None:
    print(f"\n{error}", file=sys.stderr, flush=True)
