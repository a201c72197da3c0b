"""Renews the leases of this process. After its death they run out, and others take the tasks."""

import os
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from middleware.interruption import Run
from mirt.clock import Clock
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.engine.database_clock import steady_s
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease

log = structlog.get_logger(__name__)

STOP_WITHIN_S: Final = 2.0
AGAIN_AFTER_S: Final = 0.3
"""Seconds until the next try after a renewal that failed. When the database is back, the renewals
come before other workers take the tasks (``broker.pump``)."""


def owner_name() -> str:
    """Return a unique worker id for this process: host, process id and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class LeaseKeeper:
    """Renews the leases of running tasks, three times within the duration of a lease.

    A process that is paused, cut off from the database or dead stops renewing. After ``lease`` its
    tasks go to other workers, and the fence refuses its late writes.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        owner: str,
        lease: timedelta,
        cancel: Callable[[Run], bool] = lambda _: False,
    ) -> None:
        """``cancel`` interrupts a run whose task an operator has cancelled."""
        self._cancel = cancel
        self.owner = owner
        self.lease = lease
        self._database = database
        self._clock = clock
        # By fence too: a run that lost its lease may go on beside its successor in one process.
        self._held: dict[tuple[str, int], Lease] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._held[lease.task_id, lease.fence] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, lease: Lease) -> None:
        """Stop renewing this lease: its run has ended."""
        with self._lock:
            self._held.pop((lease.task_id, lease.fence), None)

    @property
    def held(self) -> list[Lease]:
        """The leases of the tasks that run in this process."""
        with self._lock:
            return list(self._held.values())

    def stop(self) -> None:
        """Stop the renewals of all leases; wait up to ``STOP_WITHIN_S`` s for one that runs."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)

    def _run(self) -> None:
        regular_s = self.lease.total_seconds() / 3
        pause_s, is_failing = regular_s, False
        while not self._stopping.wait(pause_s):
            held = self.held
            try:
                if held:
                    self._renew(held)
            except DatabaseError as failed:
                if not is_failing:
                    log.warning("lease_renewal_failed", why=failed.message, tasks=len(held))
                pause_s, is_failing = min(AGAIN_AFTER_S, regular_s), True
            except Exception:
                # The thread must go on after any error: no other one renews these leases.
                log.exception("lease_renewal_failed", tasks=len(held))
                pause_s, is_failing = min(AGAIN_AFTER_S, regular_s), True
            else:
                pause_s, is_failing = regular_s, False

    def _renew(self, held: list[Lease]) -> None:
        asked_at = steady_s()
        with self._database.transaction() as tx:
            renewed = leases.renew(tx, held, until=self._clock() + self.lease)
        for lease in renewed.held:
            if lease.validity is not None:
                lease.validity.renewed(asked_at)
        for lease in set(self.held) & set(held) - renewed.held:
            log.warning("lease_lost", task_id=lease.task_id, trace_id=lease.trace_id)
        for lease in renewed.cancelled:
            self._cancel((lease.task_id, lease.fence))
