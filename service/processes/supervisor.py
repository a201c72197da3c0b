"""The supervisor of ``mirt worker``: keeps its worker processes running and within their limits.

When a worker process dies, the supervisor ends its leases, so that its messages are run elsewhere
at once, and starts another one; the others are not touched. A task that may be the cause of such
deaths gets a process of its own. Worker processes that are due for recycling give way to their
successors one at a time.
"""

import shutil
import signal
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.connection import wait
from typing import Final

import structlog

from mirt.observe import multiprocess
from mirt.observe.multiprocess import ProcessNumbers
from mirt.settings import Settings
from mirt.store.engine.stores import stores
from service.processes.exporter import Exporter
from service.processes.fork import STOP_SIGNALS, warm_up
from service.processes.heartbeat import new_folder
from service.processes.quarantine import Quarantine
from service.processes.recycling import Limits
from service.processes.slot import WorkerSlot
from service.processes.stop_signal import StopFlag
from service.processes.worker_process import STOP_MARGIN_S, Releases, WorkerConfig

log = structlog.get_logger(__name__)

POLL_S: Final = 0.2


class Supervisor:
    """Parent process that keeps ``processes`` worker processes running until a stop signal.

    A worker process that dies young is replaced after a growing pause, of 30 s at most. ``module``
    declares the tasks. ``metrics_port`` serves the metrics of all processes together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queues: Sequence[str],
        processes: int,
        threads: int,
        grace_s: float,
        module: str = "actors",
        metrics_host: str = "",
        metrics_port: int | None = None,
    ) -> None:
        self._folder = new_folder()
        # The name begins with a dot: the check of heartbeats skips such names.
        self._metrics_folder = self._folder / ".metrics"
        self._metrics_folder.mkdir()
        self._exporter = (
            Exporter(self._metrics_folder, metrics_host, metrics_port) if metrics_port else None
        )
        self._grace_s = grace_s
        self._module = module
        config = WorkerConfig(
            module,
            queues,
            threads,
            grace_s,
            self._folder,
            timedelta(seconds=settings.lease_seconds),
            ProcessNumbers(self._metrics_folder),
        )
        limits = Limits.by_default(
            settings.worker_max_tasks, settings.worker_max_memory_mb, threads=threads
        )
        database = stores(settings).database
        self._releases = Releases()
        self._slots = [
            WorkerSlot(number, config, database, limits, self._releases)
            for number in range(processes)
        ]
        self._quarantine = Quarantine(config, database, self._releases)
        self._stop_flag = StopFlag()

    def run(self) -> int:
        """Keep the worker processes running until SIGTERM or SIGINT; return the exit code."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, lambda *_: self._stop_flag.set())
        multiprocess.init_parent(self._metrics_folder)
        self._export()
        warm_up(self._module)
        while not self._stop_flag.is_set():
            self._export()
            for slot in self._slots:
                slot.supervise()
                if slot.has_suspects():
                    self._quarantine.look()
            self._quarantine.supervise()
            self._releases.go_on()
            self._recycle()
            self._stop_flag.wait(POLL_S)
        self._stop()
        if self._exporter is not None:
            self._exporter.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return 0

    def _export(self) -> None:
        if self._exporter is not None:
            self._exporter.ensure_running()

    def _recycle(self) -> None:
        if any(slot.is_changing for slot in self._slots):
            return
        due = {since: slot for slot in self._slots if (since := slot.due_since) is not None}
        if due:
            due[min(due)].start_successor()

    def _stop(self) -> None:
        log.info("workers_stopping", processes=len(self._slots))
        workers = [worker for slot in self._slots for worker in slot.workers]
        workers += self._quarantine.workers
        for worker in workers:
            worker.stop(within_s=self._grace_s + STOP_MARGIN_S)
        # Hard limits and leases are kept until the last worker process has ended.
        while running := [worker for worker in workers if worker.exit_code is None]:
            for worker in running:
                worker.watch()
            wait([worker.process.sentinel for worker in running], POLL_S)
        for worker in workers:
            # Also after a clean exit: tasks that outran the grace period still have their leases.
            worker.release_leases()
