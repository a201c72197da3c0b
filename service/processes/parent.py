"""``mirt worker``: a small parent that keeps its children running.

It never takes the other children down when one dies: it ends the leases of the dead one, so that
its messages go on elsewhere at once, and starts another in its place.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from middleware.leases import owner_name
from mirt.clock import utc_now
from mirt.errors import DatabaseError
from mirt.settings import Settings
from mirt.store import leases
from mirt.store.stores import stores
from service.processes.heartbeat import new_folder

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2
SHORT_LIFE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 30.0


@dataclass(slots=True)
class _Place:
    """Where one child runs, and another after it."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    worker_id: str = ""
    started_at: float = 0
    start_at: float = 0
    short_lives: int = field(default=0)


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
        self._settings = settings
        self._queues = list(queues)
        self._threads = threads
        self._grace_s = grace_s
        self._child = child
        self._places = [_Place(number) for number in range(processes)]
        self._heartbeats = new_folder()
        self._stopping = threading.Event()

    def run(self) -> int:
        """Keep the children running until SIGTERM or SIGINT; the exit code of the process."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self._stopping.set())
        while not self._stopping.wait(LOOK_S):
            for place in self._places:
                self._look_after(place)
        return self._stop()

    def _look_after(self, place: _Place) -> None:
        now = time.monotonic()
        if place.process is None:
            if now >= place.start_at:
                self._start(place)
            return
        code = place.process.poll()
        if code is None:
            return
        lived = now - place.started_at
        log.error("worker_died", pid=place.process.pid, code=code, lived_s=round(lived, 1))
        self._release(place.worker_id)
        place.process = None
        place.short_lives = place.short_lives + 1 if lived < SHORT_LIFE_S else 0
        place.start_at = now + self._pause(place.short_lives)

    def _pause(self, short_lives: int) -> float:
        # The first replacement is immediate: most deaths are not contagious.
        longest = min(LONGEST_PAUSE_S, 2.0 ** (short_lives - 1))
        return random.uniform(longest / 2, longest) if short_lives > 1 else 0.0

    def _start(self, place: _Place) -> None:
        place.worker_id = owner_name()
        place.started_at = time.monotonic()
        place.process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", self._child, *self._queues),
                *("--threads", str(self._threads), "--grace", str(self._grace_s)),
                *("--parent", str(os.getpid()), "--worker-id", place.worker_id),
                *("--heartbeat", str(self._heartbeats / str(place.number))),
            ]
        )
        log.info("worker_process", pid=place.process.pid, worker_id=place.worker_id)

    def _release(self, worker_id: str) -> None:
        try:
            with stores(self._settings).database.transaction() as tx:
                released = leases.release_owner(tx, worker_id, now=utc_now())
        except DatabaseError as failed:
            log.warning("leases_not_released", why=failed.message)
            return
        log.info("leases_released", worker_id=worker_id, tasks=released)

    def _stop(self) -> int:
        running = [place for place in self._places if place.process]
        log.info("workers_stopping", processes=len(running))
        for place in running:
            if place.process:
                place.process.terminate()
        deadline = time.monotonic() + self._grace_s + 5
        for place in running:
            if place.process is None:
                continue
            try:
                place.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker_killed", pid=place.process.pid, why="it outlived the grace")
                place.process.kill()
                place.process.wait()
            if place.process.returncode != 0:
                self._release(place.worker_id)
        shutil.rmtree(self._heartbeats, ignore_errors=True)
        return 0
