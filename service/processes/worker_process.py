"""A worker process as the supervisor sees it: started, watched, stopped once, cleaned up after."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import structlog

from middleware.hard_limits import DeadlineTable, RunningTask
from middleware.leases import owner_name
from middleware.worker_stats import WorkerStats
from mirt.clock import deadline_in
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
"""Seconds that the other messages of a process have to finish after one exceeds its hard limit."""
DATABASE_S: Final = 1.0
"""Seconds that the supervisor waits for the database. Meanwhile no worker process is watched and
no stop signal is acted on."""
SILENT_S: Final = 2.0
"""Seconds without a sign of life after which a worker process counts as silent, but a third of a
lease at most. It gives one twice a second unless it is suspended or something holds the GIL."""
RENEW_AGAIN_S: Final = 1.0
"""Seconds until the next try after a renewal for a silent process that failed."""
RELEASE_AGAIN_S: Final = 2.0
"""Seconds between two tries to end the leases of dead worker processes."""
STOP_MARGIN_S: Final = 5.0
"""Seconds that a worker process gets after the task grace period, to close its connections."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Configuration of a worker process. ``module`` declares its tasks; ``folder`` has its files.

    ``numbers`` gives each process the number under which it counts its metrics.
    """

    module: str
    queues: Sequence[str]
    threads: int
    grace_s: float
    folder: Path
    lease: timedelta
    numbers: ProcessNumbers


class WorkerProcess:
    """A child of the supervisor that runs tasks, under a worker id that is never used again.

    The constructor starts the process. ``heartbeat`` is the heartbeat file of its slot. Instead,
    ``suspect`` names the one task that it runs before it ends.
    """

    def __init__(
        self,
        config: WorkerConfig,
        database: Database,
        limits: Limits,
        *,
        heartbeat: Path | None = None,
        suspect: str | None = None,
    ) -> None:
        self.worker_id = owner_name()
        self.limits = limits
        self.started_at = time.monotonic()
        self.told_to_stop = False
        self._config = config
        self._database = database
        self._number = config.numbers.take()
        self._kill_at: float | None = None
        self._overdue: set[RunningTask] = set()
        self._timed_out: set[RunningTask] = set()
        self._renew_at = 0.0
        self._suspects_known = 0
        name = self.worker_id.rpartition(":")[2]
        self._files = config.folder / f".{name}.deadlines", config.folder / f".{name}.stats"
        threads = config.threads if suspect is None else 1
        self._deadlines = DeadlineTable(self._files[0], rows=threads)
        self._stats = WorkerStats(self._files[1])
        purpose = ("--suspect", suspect) if suspect else ("--heartbeat", str(heartbeat))
        self.process = self._fork(threads, purpose)
        log.info("worker_process", pid=self.pid, worker_id=self.worker_id)

    def _fork(self, threads: int, purpose: Sequence[str]) -> BaseProcess:
        deadlines, stats = map(str, self._files)
        # Two processes must not share a connection.
        self._database.close()
        return fork(
            self._config.module,
            [
                *self._config.queues,
                *("--threads", str(threads), "--grace", str(self._config.grace_s)),
                *("--supervisor", str(os.getpid()), "--worker-id", self.worker_id),
                *("--deadlines", deadlines, "--stats", stats),
                *("--process-number", self._number, *purpose),
            ],
        )

    @property
    def pid(self) -> int:
        """Process id; 0 before the process has started."""
        return self.process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the process lives, negative for a signal."""
        return self.process.exitcode

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started_at

    @property
    def ready(self) -> bool:
        """Whether it has once had all its threads and connections."""
        return self._stats.ready

    @property
    def usage(self) -> Usage:
        """Finished messages and current memory."""
        return Usage(self._stats.finished, resident_mb(self.pid))

    def has_met_suspect(self) -> bool:
        """Whether it has met a task that needs a process of its own, since the last call."""
        before, self._suspects_known = self._suspects_known, self._stats.suspects
        return self._suspects_known != before

    def watch(self) -> None:
        """Enforce the hard limits of its tasks, its end after ``stop``, and its leases.

        A task past its hard limit is marked as timed out, so the worker that claims it next writes
        it to the dead letters. The process takes no more messages and is killed after
        ``HARD_GRACE_S``; tasks that it did not finish are run elsewhere.

        A process suspended by SIGSTOP is killed when its leases have expired. In a process that is
        silent because something in it holds the GIL, the supervisor renews the leases: the task has
        time until its hard limit, and is not started a second time elsewhere.
        """
        now = time.monotonic()
        if self._stats.silent_s > min(SILENT_S, self._config.lease.total_seconds() / 3):
            self._handle_silence(now)
        overdue = set(self._deadlines.overdue(now))
        for run in overdue - self._overdue:
            log.error("hard_limit", pid=self.pid, task_id=run.task_id)
        self._overdue |= overdue
        if unmarked := self._overdue - self._timed_out:
            self._mark_timed_out(unmarked)
            self.stop(within_s=HARD_GRACE_S)
        if self._kill_at is not None and now >= self._kill_at:
            log.error("worker_killed", pid=self.pid, why="it outlived the grace")
            self.process.kill()
            self._kill_at = None

    def stop(self, *, within_s: float) -> None:
        """Ask the process to stop cleanly; ``watch`` kills it after ``within_s`` seconds.

        The process is asked once only, and by another signal than an operator's: a second stop
        signal would force its immediate exit. A later call can only bring the kill forward.
        """
        kill_at = time.monotonic() + within_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        if not self.told_to_stop:
            self.told_to_stop = True
            os.kill(self.pid, RETIRE)

    def release_leases(self) -> bool:
        """End the leases of the process, which is dead, so that its tasks run elsewhere at once.

        A task past its hard limit is marked in the same transaction, if that has failed before.
        Return False if the database fails: the log reports it, and the caller tries again.
        """
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                self._write_timed_out(tx, self._overdue - self._timed_out)
                released = leases.release_owner(
                    tx,
                    self.worker_id,
                    count_as_crash=not self.told_to_stop,
                    now=self._database.clock(),
                )
                workers.leave(tx, self.worker_id)
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            log.warning("leases_not_released", why=failed.message)
            return False
        log.info("leases_released", worker_id=self.worker_id, tasks=released)
        return True

    def clean_up(self) -> None:
        """Remove the files of the process, which is dead, and release its process number."""
        self.process.close()
        self._config.numbers.leave(self._number)
        for file in self._files:
            file.unlink(missing_ok=True)

    def _handle_silence(self, now: float) -> None:
        lease = self._config.lease
        if is_held(self.pid):
            if self._stats.silent_s > lease.total_seconds() and self._kill_at is None:
                log.error("worker_held", pid=self.pid, silent_s=round(self._stats.silent_s, 1))
                # The supervisor causes this death, so it does not count against any task.
                self.told_to_stop = True
                self._kill_at = now
        elif now >= self._renew_at:
            self._renew_at = now + lease.total_seconds() / 3
            self._renew()

    def _renew(self) -> None:
        running = [
            Lease(run.task_id, self.worker_id, run.fence) for run in self._deadlines.running()
        ]
        if not running:
            return
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                until = self._database.clock() + self._config.lease
                leases.renew(tx, running, until=until)
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            log.warning("lease_renewal_failed", why=failed.message, tasks=len(running))
            self._renew_at = time.monotonic() + RENEW_AGAIN_S

    def _mark_timed_out(self, runs: set[RunningTask]) -> None:
        try:
            with deadline_in(DATABASE_S), self._database.transaction() as tx:
                self._write_timed_out(tx, runs)
        except (DatabaseError, SoftTimeLimitExceeded) as failed:
            # The next call of watch tries again, and release_leases after the end of the process.
            log.warning("not_condemned", why=failed.message)
        else:
            self._timed_out |= runs

    def _write_timed_out(self, tx: Any, runs: set[RunningTask]) -> None:
        for run in runs:
            leases.mark_timed_out(
                tx, self.worker_id, run.task_id, run.fence, error_code=ErrorCode.TIME_LIMIT
            )


class Releases:
    """Ends the leases of dead worker processes, again and again while the database is away.

    Otherwise a task that passed its hard limit meanwhile would count as an innocent one.
    """

    def __init__(self) -> None:
        self._left: list[WorkerProcess] = []
        self._again_at = 0.0

    def add(self, dead: WorkerProcess) -> None:
        """End the leases of this process, now or as soon as the database is back."""
        if not dead.release_leases():
            self._left.append(dead)
            self._again_at = time.monotonic() + RELEASE_AGAIN_S

    def go_on(self) -> None:
        """Try again those that failed. The supervisor calls this several times a second."""
        if self._left and time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + RELEASE_AGAIN_S
            self._left = [dead for dead in self._left if not dead.release_leases()]


def cause_of_death(code: int | None) -> str:
    """Return the name of the signal that ended a process, or ``exit``."""
    return signal.Signals(-code).name if code is not None and code < 0 else "exit"
