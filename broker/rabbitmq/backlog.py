"""Tell a backlog from lost messages: RabbitMQ has a message for each task that waits."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from broker.durable import Depth
from middleware.policy import tasks_of
from mirt.errors import BrokerUnavailableError, DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import outbox

log = structlog.get_logger(__name__)

LOOK_AGAIN_S: Final = 2.0
"""Seconds for which an answer holds: a backlog is asked about twice a second."""


class Backlog:
    """Compares the messages of a queue with the tasks that wait for a worker. For one thread.

    While no message is missing, publishing one again would only make a copy, which costs a claim
    when the workers are behind already. A copy that is there may hide a lost message until a
    worker has taken it.
    """

    def __init__(
        self, database: Database, read_depths: Callable[[Iterable[str]], Mapping[str, Depth]]
    ) -> None:
        """``read_depths`` raises BrokerUnavailableError if RabbitMQ cannot be asked."""
        self._database = database
        self._read_depths = read_depths
        self._answers: dict[str, tuple[float, bool]] = {}

    def is_complete(self, queue: str) -> bool:
        """Return whether RabbitMQ has a message for each task that waits; if in doubt, False."""
        until, answer = self._answers.get(queue, (0.0, False))
        if time.monotonic() < until:
            return answer
        answer = self._look(queue)
        self._answers[queue] = time.monotonic() + LOOK_AGAIN_S, answer
        return answer

    def _look(self, queue: str) -> bool:
        try:
            ready = self._read_depths([queue])[queue].ready
            if not ready:
                return False
            with self._database.transaction() as tx:
                return outbox.count_queued(tx, tasks_of(queue)) <= ready
        except (BrokerUnavailableError, DatabaseError) as failed:
            log.info("backlog_not_read", queue=queue, why=str(failed))
            return False
