"""The pump of the outbox: publishes what has become due, for as long as the process lives."""

import threading
from typing import Final

import structlog

from broker.durable import DurableBroker
from mirt.errors import DatabaseError

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 0.5
BATCH: Final = 500


class OutboxPump:
    """Looks into the outbox twice a second, on a thread of its own.

    Any number of processes may pump at once: each takes different tasks. While the transport takes
    nothing, the tasks stay due.
    """

    def __init__(self, broker: DurableBroker) -> None:
        self._broker = broker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to pump."""
        self._thread.start()

    def stop(self) -> None:
        """Pump no more; returns when the last round is over, in ten seconds at most."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        pause = INTERVAL_S
        while not self._stopping.wait(pause):
            try:
                while self._broker.ready and self._broker.publish_due(BATCH) == BATCH:
                    pass
                pause = INTERVAL_S
            except DatabaseError as failed:
                log.warning("outbox_unreachable", why=failed.message)
                pause = min(2 * pause, 6.0)
