"""The cell in which a suspect runs alone."""

import threading

from middleware.quarantine import Cell, is_last_start, verdict
from mirt.store.queue.leases import Lease
from tests.polling import wait_until


def claim(starts: int) -> Lease:
    return Lease("task", "owner", fence=starts, starts=starts)


def test_a_task_is_started_three_times_and_the_third_time_alone() -> None:
    assert [verdict(claim(starts)) is None for starts in (1, 2, 3, 4)] == [True, True, True, False]
    assert [is_last_start(claim(starts)) for starts in (1, 2, 3)] == [False, False, True]


def test_the_dead_letter_names_the_code() -> None:
    found = verdict(claim(4))
    assert found is not None
    assert found.error_code == "WORKER_LOST"


def entering(cell: Cell, *, alone: bool) -> threading.Thread:
    thread = threading.Thread(target=cell.enter, kwargs={"alone": alone}, daemon=True)
    thread.start()
    return thread


def test_a_suspect_waits_for_the_others_and_keeps_new_ones_out() -> None:
    cell = Cell()
    cell.enter(alone=False)
    cell.enter(alone=False)
    suspect = entering(cell, alone=True)
    wait_until(lambda: cell._wanting_alone == 1)
    newcomer = entering(cell, alone=False)
    cell.leave()
    assert suspect.is_alive()
    cell.leave()
    suspect.join(5)
    assert not suspect.is_alive()
    assert newcomer.is_alive()
    cell.leave()
    newcomer.join(5)
    assert not newcomer.is_alive()


def test_who_waits_when_it_is_closed_is_not_let_in() -> None:
    cell = Cell()
    cell.enter(alone=False)
    let_in: list[bool] = []
    suspect, newcomer = (
        threading.Thread(target=lambda alone=alone: let_in.append(cell.enter(alone=alone)))
        for alone in (True, False)
    )
    suspect.start()
    wait_until(lambda: cell._wanting_alone == 1)
    newcomer.start()
    cell.close()
    suspect.join(5)
    newcomer.join(5)
    assert let_in == [False, False]
