"""Publishes again what RabbitMQ has lost: its disk, a queue that was deleted or purged."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from middleware.policy import tasks_of
from mirt.clock import Clock
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import outbox

log = structlog.get_logger(__name__)

JUST_PUBLISHED: Final = timedelta(seconds=5)
"""Age from which a queued task may count as lost. A younger one may just have been confirmed, or
failed with its connection and is due already; both take less time."""


class LostMessages:
    """Compares RabbitMQ's queues with the rows, in a thread of its own.

    Its callers own a connection to RabbitMQ and must not wait for a database.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._ready: dict[str, int] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def seek(self, ready: Mapping[str, int]) -> None:
        """Compare these queues, by their ready messages; return at once."""
        with self._lock:
            self._ready.update(ready)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="republish", daemon=True)
                self._thread.start()

    def finish(self, *, within_s: float) -> None:
        """Wait until the comparison that runs has ended, up to ``within_s`` seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(within_s)

    def _run(self) -> None:
        while True:
            with self._lock:
                ready, self._ready = self._ready, {}
                if not ready:
                    self._thread = None
                    return
            try:
                for queue, count in ready.items():
                    self._republish(queue, count)
            except DatabaseError as failed:
                log.warning("lost_messages_not_sought", why=failed.message)
            except Exception:
                # The thread must end as usual after any error, so that the next call starts one.
                log.exception("lost_messages_not_sought")

    def _republish(self, queue: str, ready: int) -> None:
        now = self._clock()
        with self._database.transaction() as tx:
            # Prefetched messages are not ready either, so a few are always missing.
            if outbox.count_queued(tx, tasks_of(queue)) <= 2 * ready:
                return
            lost = outbox.make_lost_due(
                tx, tasks_of(queue), published_before=now - JUST_PUBLISHED, now=now
            )
        if lost:
            log.warning("messages_lost_by_rabbitmq", queue=queue, published_again=lost)
