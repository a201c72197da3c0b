"""Publishes due tasks of the outbox while a worker lives."""

import threading
import time
from datetime import timedelta
from math import inf
from typing import Any, Final

import structlog
from dramatiq import Middleware, Worker
from typing_extensions import override

from mirt.errors import DatabaseError

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 0.5
SHORTEST_INTERVAL_S: Final = 0.05
LONGEST_INTERVAL_S: Final = 5.0
BATCH: Final = 500
LONGEST_RENEWAL_S: Final = 4.0
"""Seconds that a renewal of leases may take when the database is back: it may have begun before,
and waits for a connection then."""


class OutboxPump(Middleware):
    """Reads the outbox twice a second, in a thread of its own in each worker process.

    It reads sooner if a task is due sooner: a pause that the other side asked for is kept to a few
    hundredths of a second.

    Any number of pumps may run: each takes different tasks. While the transport accepts no
    messages, the tasks stay due. After an error the pause grows up to ``LONGEST_INTERVAL_S``
    seconds, and the thread goes on.

    While the database was away no lease could be renewed. So after that running tasks are left
    alone for a moment, in which their owners, if they live, renew their leases.
    """

    def __init__(self, lease: timedelta = timedelta()) -> None:
        self._owners_have_s = max(lease.total_seconds() / 3, LONGEST_RENEWAL_S)
        self._leave_running_until = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @override
    def after_worker_boot(self, broker: Any, worker: Worker) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(broker,), name="outbox", daemon=True
        )
        self._thread.start()

    def before_worker_shutdown(self, broker: Any, worker: Worker) -> None:
        """Stop the pump: other workers publish what is due from now on."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=LONGEST_INTERVAL_S)

    def _run(self, broker: Any) -> None:
        pause = INTERVAL_S
        while not self._stopping.wait(pause):
            pause = self.look(broker, pause)

    def look(self, broker: Any, pause: float) -> float:
        """Publish what is due; return the seconds until the next look, after this ``pause``."""
        try:
            return self._publish(broker)
        except DatabaseError as failed:
            log.warning("outbox_unreachable", why=failed.message)
            self._leave_running_until = inf
        except Exception:
            # The thread must go on after any error: no other one in this process publishes.
            log.exception("outbox_failed")
        return min(2 * max(pause, INTERVAL_S), LONGEST_INTERVAL_S)

    def _publish(self, broker: Any) -> float:
        """Publish all that is due; return the seconds until the next look."""
        next_due_s = INTERVAL_S
        while broker.ready:
            broker.takes_running = time.monotonic() >= self._leave_running_until
            done = broker.publish_round(BATCH)
            if self._leave_running_until == inf:
                self._leave_running_until = time.monotonic() + self._owners_have_s
            next_due_s = done.next_due_s if broker.takes_running else INTERVAL_S
            if not done.is_full:
                break
        return min(max(next_due_s, SHORTEST_INTERVAL_S), INTERVAL_S)
