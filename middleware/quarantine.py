"""Quarantine: starts a task that kills its worker three times at most.

The task's row counts starts that did not end. A process that dies takes other tasks with it, and
their starts count too. So the last start of a suspect runs alone in its process: if the process
dies then, only that task can be the cause.

A worker process with a supervisor gives a suspect back, and the supervisor starts a process for it
(``service.processes.quarantine``). Without a supervisor the suspect runs alone in the process that
met it, and the others wait. A task that waits to run alone, or for the end of one that does, has no
lease yet. Its wait counts as no start, and another process may run it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.leases import Lease

STARTS: Final = 3
"""Starts without an end after which a task is a dead letter."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Where the last start of a suspect runs: without any of both, alone in this process.

    ``report`` tells the supervisor that this process has met a suspect. ``is_here``: this process
    runs nothing but one suspect.
    """

    report: Callable[[], None] | None = None
    is_here: bool = False


def is_last_start(lease: Lease) -> bool:
    """Whether this is the last start of a suspect, which has to run alone."""
    is_over = lease.error_code is not None or lease.cancelled_by is not None
    return lease.starts == STARTS and not is_over


def fatal_error(lease: Lease) -> PermanentError | None:
    """Return the error that earlier runs have proved; None if the task may start."""
    if lease.error_code is not None:
        return PermanentError("it was stopped at its hard limit", lease.error_code)
    if lease.starts <= STARTS:
        return None
    return PermanentError(
        f"its worker died each of the {STARTS} times that it was started", ErrorCode.WORKER_LOST
    )


class SharedExclusiveLock:
    """A readers-writer lock for tasks: any number of them run together, or one runs alone.

    A task that waits to run alone holds back later ones. After ``close`` no task is admitted.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._exclusive = False
        self._waiting_exclusive = 0
        self._closed = False

    def acquire(self, *, exclusive: bool) -> bool:
        """Wait for admission; an ``exclusive`` task waits until no other task runs.

        Return False if the lock is closed.
        """
        with self._changed:
            if exclusive:
                self._waiting_exclusive += 1
                self._changed.wait_for(lambda: self._closed or not self._inside)
                self._waiting_exclusive -= 1
            else:
                self._changed.wait_for(
                    lambda: self._closed or not (self._exclusive or self._waiting_exclusive)
                )
            if self._closed:
                return False
            self._exclusive = exclusive
            self._inside += 1
            return True

    def release(self) -> None:
        """Leave, and wake the waiting tasks."""
        with self._changed:
            self._inside -= 1
            self._exclusive = False
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse admission from now on, also to tasks that wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
