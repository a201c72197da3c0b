"""G11: with any number of schedulers, and whichever of them dies, each tick runs once."""

import itertools
import subprocess
import time
from datetime import timedelta

from tests.deployment import Deployment
from tests.faults.ticker import FIRST, TICKING
from tests.waiting import wait_until

RUNS = "SELECT id, state, fence FROM tasks WHERE actor = 'sweep_mailboxes'"


def test_three_schedulers_of_which_ten_are_killed_send_every_tick_once(
    deployed: Deployment,
) -> None:
    assert deployed.run("migrate") == 0
    deployed.start("worker", "default")
    begun = time.time()
    running = [start(deployed, begun) for _ in range(3)]
    for turn in range(10):
        wait_until(lambda: deployed.log_text().count(TICKING) == len(deployed.started) - 1)
        running[turn % 3].kill()
        running[turn % 3] = start(deployed, begun)
    for scheduler in running:
        scheduler.kill()
    wait_until(lambda: all(state == "done" for _, state, _ in deployed.rows(RUNS)))

    rows = deployed.rows(RUNS)
    minutes = sorted(id_.partition("@")[2] for id_, _, _ in rows)
    first = min(minutes)
    begins = next(n for n in itertools.count() if tick(n) == first)
    assert minutes == [tick(begins + n) for n in range(len(minutes))]
    assert len(minutes) > 10
    assert {fence for _, _, fence in rows} == {1}


def start(deployed: Deployment, begun: float) -> "subprocess.Popen[bytes]":
    return deployed.start_module("tests.faults.ticker", str(begun))


def tick(number: int) -> str:
    return (FIRST + timedelta(minutes=number)).isoformat()


def test_a_scheduler_that_is_really_periodiq_ticks(deployed: Deployment) -> None:
    assert deployed.run("migrate") == 0
    deployed.start("scheduler")
    deployed.start("worker", "default")
    wait_until(lambda: bool(deployed.rows(RUNS)), within_s=90)
    wait_until(lambda: {state for _, state, _ in deployed.rows(RUNS)} == {"done"})
