"""Quarantine: a message that kills its worker is started three times at most.

Starts that did not end are counted in the task's row. A process that dies takes its innocent
messages with it, and their starts are counted too; so the last start of a suspect runs alone in its
process. If the process dies then, there is one message that can have done it. Whoever waits to be
alone, or for the end of one who is, has not claimed its task yet: it counts no start, and another
process may run it.
"""

import threading
from typing import Final

from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.leases import Lease

STARTS: Final = 3


def is_last_start(lease: Lease) -> bool:
    """Whether this run must prove that the task does not kill its worker."""
    return lease.starts == STARTS


def fatal_error(lease: Lease) -> PermanentError | None:
    """What the task has failed with already, before it is started again."""
    if lease.error_code is not None:
        return PermanentError("it was stopped at its hard limit", lease.error_code)
    if lease.starts <= STARTS:
        return None
    return PermanentError(
        f"its worker died each of the {STARTS} times that it was started", ErrorCode.WORKER_LOST
    )


class SharedExclusiveLock:
    """Lets any number of tasks in together, or one alone, until it is closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._exclusive = False
        self._waiting_exclusive = 0
        self._closed = False

    def acquire(self, *, exclusive: bool) -> bool:
        """Wait until the task may run: for the end of the others if it is to be alone.

        False when the cell is closed, and it may not.
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
        """Let others in."""
        with self._changed:
            self._inside -= 1
            self._exclusive = False
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more, those who wait among them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
