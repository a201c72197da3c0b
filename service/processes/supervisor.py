"""``mirt worker``: a small parent that keeps its children running and within their limits.

It never takes the other children down when one dies: it ends the leases of the dead one, so that
its messages go on elsewhere at once, and starts another in its place. Children that are due for
recycling give way to their successors one at a time.
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
from service.processes.recycling import Limits
from service.processes.slot import WorkerSlot
from service.processes.stop_signal import Stop
from service.processes.worker_process import STOP_MARGIN_S, WorkerConfig

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2


class Supervisor:
    """Starts ``processes`` children and replaces those that die or are due, until told to stop.

    A child that dies young is replaced after a growing pause, of half a minute at most. ``child``
    is the module that declares its tasks. On ``metrics_port`` is served what all of them measure.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queues: Sequence[str],
        processes: int,
        threads: int,
        grace_s: float,
        child: str = "actors",
        metrics_port: int | None = None,
    ) -> None:
        self._folder = new_folder()
        # Out of sight of whoever looks for heartbeats.
        self._measured = self._folder / ".metrics"
        self._measured.mkdir()
        self._exporter = Exporter(self._measured, metrics_port) if metrics_port else None
        self._grace_s = grace_s
        self._child = child
        lease = timedelta(seconds=settings.lease_seconds)
        seats = ProcessNumbers(self._measured)
        how = WorkerConfig(child, queues, threads, grace_s, self._folder, lease, seats)
        limits = Limits.by_default(
            settings.worker_max_tasks, settings.worker_max_memory_mb, threads=threads
        )
        database = stores(settings).database
        self._slots = [WorkerSlot(number, how, database, limits) for number in range(processes)]
        self._stopping = Stop()

    def run(self) -> int:
        """Keep the children running until SIGTERM or SIGINT; the exit code of the process."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, lambda *_: self._stopping.ask())
        multiprocess.init_parent(self._measured)
        self._export()
        warm_up(self._child)
        while not self._stopping.is_asked():
            self._export()
            for slot in self._slots:
                slot.look_after()
            self._recycle()
            self._stopping.wait(LOOK_S)
        self._stop()
        if self._exporter is not None:
            self._exporter.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return 0

    def _export(self) -> None:
        if self._exporter is not None:
            self._exporter.look_after()

    def _recycle(self) -> None:
        if any(slot.is_changing for slot in self._slots):
            return
        due = {since: slot for slot in self._slots if (since := slot.due_since) is not None}
        if due:
            due[min(due)].succeed()

    def _stop(self) -> None:
        log.info("workers_stopping", processes=len(self._slots))
        running = [child for slot in self._slots for child in slot.children]
        for child in running:
            child.stop(within_s=self._grace_s + STOP_MARGIN_S)
        # To the very end: limits and leases hold for what still runs, too.
        while living := [child for child in running if child.code is None]:
            for child in living:
                child.watch()
            wait([child.process.sentinel for child in living], LOOK_S)
        for child in running:
            # Also after an end in order: what ran past the grace was left where it was.
            child.clear()
