"""The pump of the outbox: publishes what has become due, for as long as a worker lives."""

import threading
from typing import Any, Final

import structlog
from dramatiq import Middleware, Worker

from mirt.errors import DatabaseError

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 5.0
BATCH: Final = 500


class OutboxPump(Middleware):
    """Looks into the outbox twice a second, on a thread of its own, beside each worker.

    Any number of workers may pump at once: each takes different tasks. While the transport takes
    nothing, the tasks stay due. Nothing that fails ends the thread.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def after_worker_boot(self, broker: Any, worker: Worker) -> None:
        """Begin to pump."""
        self._thread = threading.Thread(
            target=self._run, args=(broker,), name="outbox", daemon=True
        )
        self._thread.start()

    def before_worker_shutdown(self, broker: Any, worker: Worker) -> None:
        """Pump no more: what comes due is for others."""
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
                # Whatever it is: what comes due is published by nobody else.
                log.exception("outbox_failed")
                pause = min(2 * pause, LONGEST_INTERVAL_S)
