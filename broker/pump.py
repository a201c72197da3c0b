"""Publishes due tasks of the outbox while a worker lives."""

import threading
from typing import Any, Final

import structlog
from dramatiq import Middleware, Worker
from typing_extensions import override

from mirt.errors import DatabaseError

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 5.0
BATCH: Final = 500


class OutboxPump(Middleware):
    """Reads the outbox twice a second, in a thread of its own in each worker process.

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
                while broker.ready and broker.publish_due(BATCH) == BATCH:
                    pass
                pause = INTERVAL_S
            except DatabaseError as failed:
                log.warning("outbox_unreachable", why=failed.message)
                pause = min(2 * pause, LONGEST_INTERVAL_S)
            except Exception:
                # The thread must go on after any error: no other one in this process publishes.
                log.exception("outbox_failed")
                pause = min(2 * pause, LONGEST_INTERVAL_S)
