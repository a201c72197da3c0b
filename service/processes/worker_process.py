"""A child that was started: watched while it lives, told to stop once, cleared up after."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import structlog

from middleware.hard_limits import DeadlineTable, RunningTask
from middleware.leases import owner_name
from middleware.worker_stats import WorkerStats
from mirt.clock import deadline_in, utc_now
from mirt.errors import DatabaseError, ErrorCode, SoftTimeLimitExceeded
from mirt.observe.memory import resident_mb
from mirt.observe.multiprocess import ProcessNumbers
from mirt.store.engine.database import Database
from mirt.store.queue import leases, workers
from mirt.store.queue.leases import Lease
from service.processes.fork import RETIRE, fork, is_held
from service.processes.recycling import Limits, Usage

log = structlog.get_logger(__name__)

HARD_GRACE_S: Final = 1.0
"""What the other messages of a process have to finish in when one is past its hard limit."""
DATABASE_S: Final = 1.0
"""What the parent waits for a database that is ill: its children and SIGTERM wait meanwhile."""
SILENT_S: Final = 2.0
"""A child gives a sign of life twice a second, unless something in it holds the GIL."""
STOP_MARGIN_S: Final = 5.0
"""What a child has beyond the grace of its tasks, to close its connections."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a child is started. ``module`` declares its tasks; ``folder`` holds its files.

    ``seats`` are where children keep what they measure.
    """

    module: str
    queues: Sequence[str]
    threads: int
    grace_s: float
    folder: Path
    lease: timedelta
    seats: ProcessNumbers


class WorkerProcess:
    """A running child, under a name that no other has had. ``beat`` is its place's heartbeat."""

    def __init__(
        self, config: WorkerConfig, database: Database, limits: Limits, beat: Path
    ) -> None:
        self.worker_id = owner_name()
        self.limits = limits
        self.started_at = time.monotonic()
        self.told_to_stop = False
        self._config = config
        self._database = database
        self._seat = config.seats.take()
        self._kill_at: float | None = None
        self._timed_out: set[RunningTask] = set()
        self._renew_at = 0.0
        name = self.worker_id.rpartition(":")[2]
        self._files = config.folder / f".{name}.deadlines", config.folder / f".{name}.stats"
        self._deadlines = DeadlineTable(self._files[0], rows=config.threads)
        self._stats = WorkerStats(self._files[1])
        self.process = self._fork(beat)
        log.info("worker_process", pid=self.pid, worker_id=self.worker_id)

    def _fork(self, beat: Path) -> BaseProcess:
        deadlines, stats = map(str, self._files)
        # A connection must not be in two processes.
        self._database.close()
        return fork(
            self._config.module,
            [
                *self._config.queues,
                *("--threads", str(self._config.threads), "--grace", str(self._config.grace_s)),
                *("--parent", str(os.getpid()), "--worker-id", self.worker_id),
                *("--heartbeat", str(beat), "--deadlines", deadlines, "--stats", stats),
                *("--seat", self._seat),
            ],
        )

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid or 0

    @property
    def code(self) -> int | None:
        """Its exit code; None while it lives."""
        return self.process.exitcode

    @property
    def lived_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started_at

    @property
    def ready(self) -> bool:
        """Whether it has begun to take work."""
        return self._stats.ready

    @property
    def usage(self) -> Usage:
        """What it has done and holds."""
        return Usage(self._stats.finished, resident_mb(self.pid))

    def watch(self) -> None:
        """See to it that what is past its hard limit is over, and a child that was to stop too.

        A child that is held still is killed when it has lost its leases. One that gives no sign of
        life because something in it holds the GIL keeps them: what it runs has until its limit,
        and is not begun a second time elsewhere.

        A task past its limit is condemned, so that whoever claims it next buries it. The process
        takes no more work and is killed after ``HARD_GRACE_S``; what it did not finish goes on
        elsewhere.
        """
        now = time.monotonic()
        if self._stats.silent_s > SILENT_S:
            self._see_silent(now)
        if overdue := set(self._deadlines.overdue(now)) - self._timed_out:
            for one in overdue:
                log.error("hard_limit", pid=self.pid, task_id=one.task_id)
            self._mark_timed_out(overdue)
            self.stop(within_s=HARD_GRACE_S)
        if self._kill_at is not None and now >= self._kill_at:
            log.error("worker_killed", pid=self.pid, why="it outlived the grace")
            self.process.kill()
            self._kill_at = None

    def stop(self, *, within_s: float) -> None:
        """Have it stop cleanly, or be killed by ``watch`` after this time.

        It is told once only, and by another signal than an operator's: a child that is asked twice
        by him drops what it is doing.
        """
        kill_at = time.monotonic() + within_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        if not self.told_to_stop:
            self.told_to_stop = True
            os.kill(self.pid, RETIRE)

    def clear(self) -> None:
        """End the leases of the child, which is dead, so that its messages go on elsewhere."""
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                released = leases.release_owner(
                    tx, self.worker_id, innocent=self.told_to_stop, now=utc_now()
                )
                workers.leave(tx, self.worker_id)
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            log.warning("leases_not_released", why=failed.message)
            return
        log.info("leases_released", worker_id=self.worker_id, tasks=released)

    def forget(self) -> None:
        """Remove the files of the child, which is dead; another may take its seat."""
        self.process.close()
        self._config.seats.leave(self._seat)
        for file in self._files:
            file.unlink(missing_ok=True)

    def _see_silent(self, now: float) -> None:
        lease = self._config.lease
        if is_held(self.pid):
            if self._stats.silent_s > lease.total_seconds() and self._kill_at is None:
                log.error("worker_held", pid=self.pid, silent_s=round(self._stats.silent_s, 1))
                # Its death is our doing, and none of its tasks'.
                self.told_to_stop = True
                self._kill_at = now
        elif now >= self._renew_at:
            self._renew_at = now + lease.total_seconds() / 3
            self._renew()

    def _renew(self) -> None:
        running = [
            Lease(one.task_id, self.worker_id, one.fence) for one in self._deadlines.running()
        ]
        if not running:
            return
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                leases.renew(tx, running, until=utc_now() + self._config.lease)
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            log.warning("lease_renewal_failed", why=failed.message, tasks=len(running))

    def _mark_timed_out(self, runs: set[RunningTask]) -> None:
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                for run in runs:
                    leases.mark_timed_out(
                        tx, self.worker_id, run.task_id, run.fence, error_code=ErrorCode.TIME_LIMIT
                    )
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            # It is tried again for as long as the child lives.
            log.warning("not_condemned", why=failed.message)
        else:
            self._timed_out |= runs
