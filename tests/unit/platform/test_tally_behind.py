"""Work behind requests is done in time, by one thread, and by none where that is asked for."""

from __future__ import annotations

from threading import Event, active_count

from aetherlink.platform.behind import Behind


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def test_a_thread_does_what_is_due_and_goes_on_for_the_next_task() -> None:
    behind, first, second = Behind(), Event(), Event()

    behind.soon(first.set, 0.0)
    assert first.wait(10)
    behind.soon(second.set, 0.01)
    assert second.wait(10)


def test_a_task_that_fails_does_not_stop_the_others() -> None:
    behind, done = Behind(), Event()

    def fail() -> None:
        raise RuntimeError("boom")

    behind.soon(fail, 0.0)
    behind.soon(done.set, 0.01)

    assert done.wait(10)


def test_no_thread_starts_before_there_is_something_to_do() -> None:
    before = active_count()
    behind = Behind()
    behind.wake()
    behind.run()

    assert active_count() == before


def test_by_hand_there_is_no_thread_and_tasks_wait_for_run() -> None:
    before, behind, done = active_count(), Behind(), []
    behind.by_hand()

    behind.soon(lambda: done.append(1), 0.0)

    assert (active_count(), done) == (before, [])
    behind.run()
    assert done == [1]
    behind.run()
    assert done == [1]


def test_what_is_overdue_runs_when_a_frozen_process_is_woken() -> None:
    clock, done = Clock(), Event()
    behind = Behind(clock)
    # The thread waits these 30 seconds by the clock on the wall, which a thaw has moved on.
    behind.soon(done.set, 30.0)
    assert not done.wait(0.05)

    clock.at += 3_600
    behind.wake()

    assert done.wait(10)


def test_a_task_asked_for_sooner_runs_sooner() -> None:
    behind, done = Behind(), Event()
    task = done.set
    behind.soon(task, 60.0)

    behind.soon(task, 0.0)

    assert done.wait(10)


def test_a_clock_set_back_does_not_hold_a_task_up() -> None:
    clock, done = Clock(), Event()
    behind = Behind(clock)
    behind.soon(done.set, 0.05)
    clock.at -= 7_200

    behind.soon(done.set, 0.05)
    clock.at += 1

    behind.wake()
    assert done.wait(10)
