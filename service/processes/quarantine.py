"""Starts a process of its own for the last start of each suspect (``middleware.quarantine``).

If that process dies, only its one task can be the cause. Meanwhile the worker processes of the
slots run everything else: nothing waits for a suspect.
"""

import time
from typing import Final

import structlog

from middleware.policy import tasks_of
from middleware.quarantine import STARTS
from mirt.clock import deadline_in
from mirt.errors import DatabaseError, SoftTimeLimitExceeded
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue.suspects import find_suspects
from service.processes.recycling import Limits
from service.processes.worker_process import (
    DATABASE_S,
    Releases,
    WorkerConfig,
    WorkerProcess,
    cause_of_death,
)

log = structlog.get_logger(__name__)

MOST_PROCESSES: Final = 8
"""Suspects that run at the same time. Each costs the memory of a worker process, while it runs."""
LOOK_AGAIN_S: Final = 1.0
"""Seconds between two looks at the database, while suspects wait or it is away."""
_NO_LIMITS: Final = Limits(tasks=2)
"""A process that runs one task is not recycled."""


class Quarantine:
    """The processes of one supervisor that run a suspect each."""

    def __init__(self, config: WorkerConfig, database: Database, releases: Releases) -> None:
        self._releases = releases
        self._config = config
        self._database = database
        self._actors = [actor for queue in config.queues for actor in tasks_of(queue)]
        self._running: dict[str, WorkerProcess] = {}
        self._wanted = False
        self._look_at = 0.0

    @property
    def workers(self) -> list[WorkerProcess]:
        """The processes that have not been reaped."""
        return list(self._running.values())

    def look(self) -> None:
        """Look for suspects soon: a worker process has died, or has met one."""
        self._wanted = True

    def supervise(self) -> None:
        """Watch the processes, reap those that have ended, and start those that are wanted.

        The supervisor calls this several times a second.
        """
        for task_id, worker in list(self._running.items()):
            if worker.exit_code is None:
                worker.watch()
            else:
                del self._running[task_id]
                self._reap(task_id, worker)
        if self._wanted and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_AGAIN_S
            self._start()

    def _start(self) -> None:
        free = MOST_PROCESSES - len(self._running)
        if not free:
            return
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                found = find_suspects(
                    tx,
                    self._actors,
                    starts=STARTS - 1,
                    without=list(self._running),
                    now=self._database.clock(),
                    limit=free + 1,
                )
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            log.warning("suspects_not_sought", why=failed.message)
            return
        self._wanted = len(found) > free
        for task in found[:free]:
            log.warning("suspect_runs_alone", task_id=task.task_id, task=task.actor)
            self._running[task.task_id] = WorkerProcess(
                self._config, self._database, _NO_LIMITS, suspect=task.task_id
            )

    def _reap(self, task_id: str, worker: WorkerProcess) -> None:
        if worker.exit_code:
            metrics.WORKER_DEATHS.inc(why=cause_of_death(worker.exit_code))
            log.error("worker_died", pid=worker.pid, code=worker.exit_code, task_id=task_id)
        self._releases.add(worker)
        worker.clean_up()
