"""The cell in which a suspect runs alone."""

import threading
from collections.abc import Callable

import pytest

from middleware.quarantine import SharedExclusiveLock, fatal_error, is_last_start
from mirt.store.queue.leases import Lease
from tests.polling import wait_until


def claim(starts: int) -> Lease:
    return Lease("task", "owner", fence=starts, starts=starts)


def test_a_task_is_started_three_times_and_the_third_time_alone() -> None:
    assert [fatal_error(claim(starts)) is None for starts in (1, 2, 3, 4)] == [
        True,
        True,
        True,
        False,
    ]
    assert [is_last_start(claim(starts)) for starts in (1, 2, 3)] == [False, False, True]


def test_the_dead_letter_names_the_code() -> None:
    found = fatal_error(claim(4))
    assert found is not None
    assert found.error_code == "WORKER_LOST"


def test_a_task_that_was_stopped_at_its_hard_limit_does_not_start_again() -> None:
    stopped = fatal_error(Lease("task", "owner", fence=1, error_code="TIME_LIMIT"))
    assert stopped is not None
    assert stopped.error_code == "TIME_LIMIT"


def entering(lock: SharedExclusiveLock, *, exclusive: bool) -> threading.Thread:
    thread = threading.Thread(target=lock.acquire, kwargs={"exclusive": exclusive}, daemon=True)
    thread.start()
    return thread


def test_a_suspect_waits_for_the_others_and_keeps_new_ones_out() -> None:
    lock = SharedExclusiveLock()
    lock.acquire(exclusive=False)
    lock.acquire(exclusive=False)
    suspect = entering(lock, exclusive=True)
    wait_until(lambda: lock._waiting_exclusive == 1)
    newcomer = entering(lock, exclusive=False)
    lock.release()
    assert suspect.is_alive()
    lock.release()
    suspect.join(5)
    assert not suspect.is_alive()
    assert newcomer.is_alive()
    lock.release()
    newcomer.join(5)
    assert not newcomer.is_alive()


def test_a_task_that_comes_while_a_suspect_runs_waits_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = SharedExclusiveLock()
    lock.acquire(exclusive=True)
    found_closed: list[bool] = []

    def wait_for(predicate: Callable[[], bool]) -> bool:
        found_closed.append(not predicate())
        return True

    monkeypatch.setattr(lock._changed, "wait_for", wait_for)
    lock.acquire(exclusive=False)
    assert found_closed == [True]


def test_a_waiting_thread_is_not_let_in_when_the_lock_is_closed() -> None:
    lock = SharedExclusiveLock()
    lock.acquire(exclusive=False)
    let_in: list[bool] = []
    suspect, newcomer = (
        threading.Thread(
            target=lambda exclusive=exclusive: let_in.append(lock.acquire(exclusive=exclusive))
        )
        for exclusive in (True, False)
    )
    suspect.start()
    wait_until(lambda: lock._waiting_exclusive == 1)
    newcomer.start()
    lock.close()
    suspect.join(5)
    newcomer.join(5)
    assert let_in == [False, False]
