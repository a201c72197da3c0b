"""Publishes due tasks of the outbox while a worker lives."""

import threading
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


class OutboxPump(Middleware):
    """Reads the outbox twice a second, in a thread of its own in each worker process.

    It reads sooner if a task is due sooner: a pause that the other side asked for is kept to a few
    hundredths of a second.

    Any number of pumps may run: each takes different tasks. While the transport accepts no
    messages, the tasks stay due. After an error the pause grows up to ``LONGEST_INTERVAL_S``
    seconds, and the thread goes on.
    """

    def __init__(self) -> None:
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
            try:
                pause = self._publish(broker)
            except DatabaseError as failed:
                log.warning("outbox_unreachable", why=failed.message)
                pause = min(2 * max(pause, INTERVAL_S), LONGEST_INTERVAL_S)
            except Exception:
                # The thread must go on after any error: no other one in this process publishes.
                log.exception("outbox_failed")
                pause = min(2 * max(pause, INTERVAL_S), LONGEST_INTERVAL_S)

    def _publish(self, broker: Any) -> float:
        """Publish all that is due; return the seconds until the next look."""
        next_due_s = INTERVAL_S
        while broker.ready:
            done = broker.publish_round(BATCH)
            next_due_s = done.next_due_s
            if not done.is_full:
                break
        return min(max(next_due_s, SHORTEST_INTERVAL_S), INTERVAL_S)
