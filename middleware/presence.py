"""Presence: each worker says every few seconds that it lives, what it works on and how it is.

It is said to the database, which also knows what runs and whose lease it is: both are read in one
place, on however many machines the workers are, and in the embedded mode too. What is not renewed
disappears.
"""

import os
import socket
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from dramatiq import Broker, Middleware, Worker

from mirt.clock import Clock
from mirt.errors import DatabaseError
from mirt.observe.memory import resident_mb
from mirt.store.engine.database import Database
from mirt.store.queue import workers

log = structlog.get_logger(__name__)


class Presence(Middleware):
    """Reports the worker of this process for as long as it runs, under the name of its leases."""

    def __init__(self, database: Database, clock: Clock, *, worker_id: str) -> None:
        self._database = database
        self._clock = clock
        self._worker_id = worker_id
        self._finished = 0
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Begin to report."""
        queues = sorted(worker.consumer_whitelist or broker.queues)
        self._thread = threading.Thread(
            target=self._run, args=(queues, worker.worker_threads), name="presence", daemon=True
        )
        self._thread.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Say that it takes no more work; what runs in it is still seen."""
        self._stopping.set()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Say good-bye."""
        self._stopping.set()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=workers.REPORT_EVERY.total_seconds())

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count it."""
        with self._counting:
            self._finished += 1

    def _run(self, queues: Sequence[str], threads: int) -> None:
        started_at = self._clock()
        while not self._stopped.is_set():
            stopping = self._stopping.is_set()
            self._tell(
                workers.WorkerRow(
                    id=self._worker_id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    queues=queues,
                    threads=threads,
                    finished=self._finished,
                    memory_mb=round(resident_mb(os.getpid())),
                    stopping=stopping,
                    started_at=started_at,
                    seen_at=self._clock(),
                )
            )
            # Whether it stops or is over is told at once, the rest when it is time.
            (self._stopped if stopping else self._stopping).wait(
                workers.REPORT_EVERY.total_seconds()
            )
        self._tell(None)

    def _tell(self, worker: workers.WorkerRow | None) -> None:
        try:
            with self._database.transaction() as tx:
                if worker is None:
                    workers.leave(tx, self._worker_id)
                else:
                    workers.report(tx, worker)
        except DatabaseError as failed:
            log.warning("presence_not_reported", why=failed.message)
