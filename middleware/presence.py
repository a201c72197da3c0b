"""Reports every few seconds that a worker lives, its queues, its memory and its finished tasks.

The report is a row of ``workers``. The database also has the running tasks and their leases, so
operators read both there, for any number of machines and in the embedded mode too. A row that is
not renewed disappears.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from dramatiq import Broker, Middleware, Worker
from typing_extensions import override

from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import DatabaseError
from mirt.observe.memory import resident_mb
from mirt.store.engine.database import Database
from mirt.store.queue import workers

log = structlog.get_logger(__name__)


class Presence(Middleware):
    """Reports the worker of this process while it runs, under its worker id."""

    def __init__(self, database: Database, clock: Clock, *, worker_id: str) -> None:
        self._database = database
        self._clock = clock
        self._worker_id = worker_id
        self._finished = 0
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @override
    def after_worker_boot(self, broker: Any, worker: Worker) -> None:
        queues = sorted(worker.consumer_whitelist or broker.queues)
        self._thread = threading.Thread(
            target=self._run,
            args=(broker, queues, worker.worker_threads),
            name="presence",
            daemon=True,
        )
        self._thread.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Report that the worker stops; its running tasks are still visible."""
        self._stopping.set()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Remove the row of this worker, and wait for that as long as one report interval."""
        self._stopping.set()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=workers.REPORT_EVERY.total_seconds())

    @override
    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        with self._counting:
            self._finished += 1

    def _run(self, broker: TaskBroker, queues: Sequence[str], threads: int) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            stopping = self._stopping.is_set()
            self._try(partial(self._report, broker, queues, threads, began, stopping=stopping))
            # The beginning and the end of a stop are reported at once, the rest at intervals.
            (self._stopped if stopping else self._stopping).wait(
                workers.REPORT_EVERY.total_seconds()
            )
        self._try(self._leave)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except DatabaseError as failed:
            log.warning("presence_not_reported", why=failed.message)
        except Exception:
            # The thread must go on after any error: no other one in this process reports.
            log.exception("presence_failed")

    def _report(
        self,
        broker: TaskBroker,
        queues: Sequence[str],
        threads: int,
        began: float,
        *,
        stopping: bool,
    ) -> None:
        now = self._clock()
        worker = workers.WorkerRow(
            id=self._worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=queues,
            threads=threads,
            finished=self._finished,
            memory_mb=round(resident_mb(os.getpid())),
            stopping=stopping,
            started_at=now - timedelta(seconds=time.monotonic() - began),
            seen_at=now,
            clock_ahead_s=round(self._database.clock_ahead_s(), 3),
            problems=broker.problems(),
        )
        with self._database.transaction() as tx:
            workers.report(tx, worker)

    def _leave(self) -> None:
        with self._database.transaction() as tx:
            workers.leave(tx, self._worker_id)
