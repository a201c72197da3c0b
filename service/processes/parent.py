"""``mirt worker``: a small parent that keeps its children running and within their limits.

It never takes the other children down when one dies: it ends the leases of the dead one, so that
its messages go on elsewhere at once, and starts another in its place.
"""

import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from mirt.settings import Settings
from mirt.store.stores import stores
from service.processes.heartbeat import new_folder
from service.processes.place import Child, Place

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2
SHORT_LIFE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 30.0


class Parent:
    """Starts ``processes`` children and replaces those that die, until it is told to stop.

    A child that dies young is replaced after a growing pause, of half a minute at most. ``child``
    is the module that is run.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queues: Sequence[str],
        processes: int,
        threads: int,
        grace_s: float,
        child: str = "service.processes.child",
    ) -> None:
        self._folder = new_folder()
        self._grace_s = grace_s
        how = Child(child, queues, threads, grace_s, self._folder)
        database = stores(settings).database
        self._places = [Place(number, how, database) for number in range(processes)]
        self._start_at = dict.fromkeys(self._places, 0.0)
        self._short_lives = dict.fromkeys(self._places, 0)
        self._stopping = threading.Event()

    def run(self) -> int:
        """Keep the children running until SIGTERM or SIGINT; the exit code of the process."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self._stopping.set())
        while not self._stopping.wait(LOOK_S):
            for place in self._places:
                self._look_after(place)
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return 0

    def _look_after(self, place: Place) -> None:
        if place.process is None:
            if time.monotonic() >= self._start_at[place]:
                place.start()
        elif (code := place.process.poll()) is None:
            place.watch()
        else:
            self._replace(place, place.process.pid, code)

    def _replace(self, place: Place, pid: int, code: int) -> None:
        lived = time.monotonic() - place.started_at
        log.error("worker_died", pid=pid, code=code, lived_s=round(lived, 1))
        place.clear()
        self._short_lives[place] = self._short_lives[place] + 1 if lived < SHORT_LIFE_S else 0
        self._start_at[place] = time.monotonic() + _pause(self._short_lives[place])

    def _stop(self) -> None:
        log.info("workers_stopping", processes=len(self._places))
        running = [(place, place.process) for place in self._places if place.process]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + self._grace_s + 5
        for place, process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker_killed", pid=process.pid, why="it outlived the grace")
                process.kill()
                process.wait()
            if process.returncode != 0:
                place.clear()


def _pause(short_lives: int) -> float:
    # The first replacement is immediate: most deaths are not contagious.
    longest = min(LONGEST_PAUSE_S, 2.0 ** (short_lives - 1))
    return random.uniform(longest / 2, longest) if short_lives > 1 else 0.0
