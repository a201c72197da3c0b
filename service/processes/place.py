"""A place where one child of the worker runs, and another after it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from middleware.hard_limits import Board
from middleware.leases import owner_name
from mirt.clock import utc_now
from mirt.errors import DatabaseError, ErrorCode
from mirt.store import leases
from mirt.store.database import Database

log = structlog.get_logger(__name__)

HARD_GRACE_S: Final = 1.5
"""What the other messages of a process have to finish in when one is past its hard limit."""


@dataclass(frozen=True, slots=True)
class Child:
    """How a child is started. ``folder`` holds its heartbeat and its board."""

    module: str
    queues: Sequence[str]
    threads: int
    grace_s: float
    folder: Path


class Place:
    """Starts a child, watches its deadlines, and clears up after it."""

    def __init__(self, number: int, child: Child, database: Database) -> None:
        self._child = child
        self._database = database
        self._beat = child.folder / str(number)
        self._board_path = child.folder / f".{number}.board"
        self._board = Board(self._board_path, slots=child.threads)
        self._worker_id = ""
        self._kill_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        """Start a child under a name that no other has had."""
        self._worker_id = owner_name()
        self._kill_at = None
        self._board.wipe()
        self.started_at = time.monotonic()
        child = self._child
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", child.module, *child.queues),
                *("--threads", str(child.threads), "--grace", str(child.grace_s)),
                *("--parent", str(os.getpid()), "--worker-id", self._worker_id),
                *("--heartbeat", str(self._beat), "--board", str(self._board_path)),
            ]
        )
        log.info("worker_process", pid=self.process.pid, worker_id=self._worker_id)

    def watch(self) -> None:
        """See to it that what is past its hard limit is over.

        Its task is condemned, so that whoever claims it next buries it. The process takes no more
        work and is killed after ``HARD_GRACE_S``; what it did not finish goes on elsewhere.
        """
        process, now = self.process, time.monotonic()
        if process is None:
            return
        if self._kill_at is None:
            if overdue := list(self._board.overdue(now)):
                log.error("hard_limit", pid=process.pid, tasks=[one.task_id for one in overdue])
                self._condemn([(one.task_id, one.fence) for one in overdue])
                process.terminate()
                self._kill_at = now + HARD_GRACE_S
        elif now >= self._kill_at:
            process.kill()

    def clear(self) -> None:
        """End the leases of the child, which is dead, so that its messages go on elsewhere."""
        innocent = self._kill_at is not None
        self.process = None
        try:
            with self._database.transaction() as tx:
                released = leases.release_owner(
                    tx, self._worker_id, innocent=innocent, now=utc_now()
                )
        except DatabaseError as failed:
            log.warning("leases_not_released", why=failed.message)
            return
        log.info("leases_released", worker_id=self._worker_id, tasks=released)

    def _condemn(self, runs: list[tuple[str, int]]) -> None:
        try:
            with self._database.transaction() as tx:
                for task_id, fence in runs:
                    leases.condemn(
                        tx, self._worker_id, task_id, fence, error_code=ErrorCode.TIME_LIMIT
                    )
        except DatabaseError as failed:
            log.warning("not_condemned", why=failed.message)
