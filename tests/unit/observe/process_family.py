"""A family of processes, in a program of its own: ``python -m … SCENARIO FOLDER``.

Founding a family changes the whole process, and forking wants one thread only.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from mirt.observe import metrics, multiprocess
from tests.scrape import Scrape

GENERATIONS = 200


def child(seat: str, work: Callable[[], None]) -> int:
    """A child that does this and ends; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            multiprocess.init_child(seat)
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> bool:
    return os.waitpid(pid, 0)[1] == 0


def scrape() -> Scrape:
    registry = CollectorRegistry()
    registry.register(multiprocess.measured_here())
    return Scrape.of(generate_latest(registry).decode())


def work() -> None:
    metrics.WEBHOOKS.inc(channel="telegram", outcome="accepted")
    metrics.TURN_SECONDS.observe(3)
    metrics.WORKER_THREADS.set(4)


def generations(folder: Path) -> object:
    """Children one after another for weeks, beside one that lives."""
    multiprocess.init_parent(folder)
    metrics.WORKER_RECYCLES.inc(why="memory")
    seats = multiprocess.ProcessNumbers(folder)
    seats.take()
    files, last, fallen = set(), scrape(), []
    for _ in range(GENERATIONS):
        seat = seats.take()
        assert ended(child(seat, work))
        seats.leave(seat)
        files.add(len(list(folder.iterdir())))
        now = scrape()
        fallen += now.fallen_since(last)
        last = now
    return {
        "most_files": max(files),
        "fallen": fallen,
        "webhooks": last.sum("mirt_webhooks_total"),
        "turns": last.sum("mirt_turn_seconds_count"),
        "slow_turns": last.sum("mirt_turn_seconds_bucket", le="2.0"),
        "starts": last.sum("mirt_process_starts_total"),
        "threads": last.sum("mirt_worker_threads"),
        "processes": last.sum("mirt_processes"),
        "recycles": last.sum("mirt_worker_recycles_total"),
    }


def at_once(folder: Path) -> object:
    """Two children that live at the same moment, and one that has died."""
    multiprocess.init_parent(folder)
    seats = multiprocess.ProcessNumbers(folder)
    taken = [seats.take(), seats.take(), seats.take()]
    for seat in taken:
        assert ended(child(seat, work))
    seats.leave(taken[1])
    found = scrape()
    return {
        "seats": [*taken, seats.take()],
        "threads": found.sum("mirt_worker_threads"),
        "webhooks": found.sum("mirt_webhooks_total"),
    }


def orphan(folder: Path) -> object:
    """A child whose folder goes while it works."""
    multiprocess.init_parent(folder)
    joined, gone = os.pipe(), os.pipe()

    def outlive() -> None:
        os.write(joined[1], b"!")
        os.read(gone[0], 1)
        work()
        metrics.CRM_SECONDS.observe(1, call="create", outcome="answered")

    pid = child("0", outlive)
    os.read(joined[0], 1)
    shutil.rmtree(folder)
    os.write(gone[1], b"!")
    return {"ended_well": ended(pid)}


def environment(folder: Path) -> object:
    """A program that was told of its folder before it began, as the scheduler is."""
    assert os.environ[multiprocess.FOLDER] == str(folder)
    metrics.TICKS.inc(task="ping")
    return {"ticks": scrape().sum("mirt_ticks_total"), "files": len(list(folder.iterdir()))}


if __name__ == "__main__":
    scenario, where = sys.argv[1:]
    print(json.dumps(globals()[scenario](Path(where))))
