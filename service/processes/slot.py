"""Worker slots: each one keeps a worker process running, and has its successors take over.

A worker process that is due for recycling keeps working while its successor starts beside it. It is
told to stop only when the successor is ready. The slot watches both all the while.
"""

import random
import time
from typing import Final

import structlog

from mirt.observe import metrics
from mirt.store.engine.database import Database
from service.processes import heartbeat
from service.processes.recycling import Limits
from service.processes.worker_process import (
    STOP_MARGIN_S,
    Releases,
    WorkerConfig,
    WorkerProcess,
    cause_of_death,
)

log = structlog.get_logger(__name__)

SHORT_LIFE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 30.0
READY_WITHIN_S: Final = 60.0
"""Seconds in which a successor must be ready. A later one is stopped, and the old worker process
keeps working."""


class WorkerSlot:
    """A position in the supervisor that one worker process and its successors fill.

    A worker process that dies is replaced; after a growing pause, if it has died young.
    """

    def __init__(
        self,
        number: int,
        config: WorkerConfig,
        database: Database,
        limits: Limits,
        releases: Releases,
    ) -> None:
        self._releases = releases
        self._config = config
        self._database = database
        self._limits = limits
        self._heartbeat = config.folder / str(number)
        heartbeat.expect(self._heartbeat)
        self._current: WorkerProcess | None = None
        self._successor: WorkerProcess | None = None
        self._leaving: WorkerProcess | None = None
        self._exceeded_limit = ""
        self._short_lives = 0
        self._has_lost_one = False
        self._start_at = 0.0
        self._succeed_at = 0.0

    @property
    def workers(self) -> list[WorkerProcess]:
        """Worker processes of this slot that have not been reaped: three at most."""
        processes = (self._current, self._successor, self._leaving)
        return [worker for worker in processes if worker is not None]

    @property
    def is_changing(self) -> bool:
        """Whether one worker process is giving way to another."""
        return self._successor is not None or self._leaving is not None

    def has_suspects(self) -> bool:
        """Whether a task may need a process of its own, since the last call.

        A worker process has died, or has met such a task.
        """
        lost, self._has_lost_one = self._has_lost_one, False
        return any([lost, *(worker.has_met_suspect() for worker in self.workers)])

    @property
    def due_since(self) -> float | None:
        """Monotonic start time of the worker process if it is due for recycling, else None."""
        worker = self._current
        if worker is None or worker.told_to_stop or time.monotonic() < self._succeed_at:
            return None
        self._exceeded_limit = worker.limits.exceeded_by(worker.usage) or ""
        return worker.started_at if self._exceeded_limit else None

    def start_successor(self) -> None:
        """Start the successor of the worker process that is due."""
        if not self.is_changing:
            self._successor = self._start()

    def supervise(self) -> None:
        """Reap dead workers, promote a ready successor, stop a late one.

        The supervisor calls this several times a second. The first call starts the worker
        process of the slot.
        """
        for worker in self.workers:
            if worker.exit_code is None:
                worker.watch()
        self._supervise_leaving()
        self._supervise_current()
        self._supervise_successor()

    def _start(self) -> WorkerProcess:
        limits = self._limits.with_jitter(random.uniform)
        return WorkerProcess(self._config, self._database, limits, heartbeat=self._heartbeat)

    def _supervise_current(self) -> None:
        worker = self._current
        if worker is not None and worker.exit_code is not None:
            self._reap(worker)
            self._start_at = time.monotonic() + _pause(self._short_lives)
            # A successor that is still starting takes over at once.
            self._current, self._successor = self._successor, None
        if self._current is None and time.monotonic() >= self._start_at:
            self._current = self._start()

    def _supervise_successor(self) -> None:
        worker = self._successor
        if worker is None:
            return
        if worker.exit_code is not None:
            self._reap(worker)
            self._successor = None
            self._succeed_at = time.monotonic() + _pause(self._short_lives)
        elif worker.ready and not worker.told_to_stop:
            old, self._current, self._successor = self._current, worker, None
            self._short_lives = 0
            if old is not None:
                self._retire(old)
        elif worker.lived_s > READY_WITHIN_S:
            worker.stop(within_s=STOP_MARGIN_S)

    def _retire(self, old: WorkerProcess) -> None:
        used = old.usage
        metrics.WORKER_RECYCLES.inc(why=self._exceeded_limit)
        log.info(
            "worker_recycled",
            pid=old.pid,
            why=self._exceeded_limit,
            finished=used.finished,
            memory_mb=round(used.memory_mb),
            lived_s=round(old.lived_s, 1),
        )
        old.stop(within_s=self._config.grace_s + STOP_MARGIN_S)
        self._leaving = old

    def _supervise_leaving(self) -> None:
        worker = self._leaving
        if worker is not None and worker.exit_code is not None:
            self._leaving = None
            # Also after a clean exit: tasks that outran the grace period still have their leases.
            self._releases.add(worker)
            worker.clean_up()

    def _reap(self, worker: WorkerProcess) -> None:
        lived_s = worker.lived_s
        metrics.WORKER_DEATHS.inc(why=cause_of_death(worker.exit_code))
        log.error("worker_died", pid=worker.pid, code=worker.exit_code, lived_s=round(lived_s, 1))
        self._releases.add(worker)
        worker.clean_up()
        self._has_lost_one = True
        self._short_lives = self._short_lives + 1 if lived_s < SHORT_LIFE_S else 0


def _pause(short_lives: int) -> float:
    # The first replacement is immediate: most deaths are not contagious.
    longest = min(LONGEST_PAUSE_S, 2.0 ** (short_lives - 1))
    return random.uniform(longest / 2, longest) if short_lives > 1 else 0.0
