"""Figures of the whole service, read from the database when somebody asks."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from itertools import product
from typing import Final

from prometheus_client.core import Metric
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import ticks
from mirt.store.queue.health_checks import checks_of_workers
from mirt.store.queue.tasks import TaskState
from mirt.store.reports import counts
from mirt.store.reports.backlog import measure

HEALTH_LASTS: Final = timedelta(minutes=15)
"""Three health checks; who has not been heard of for longer is gone."""
COUNT_TO: Final = 100_000
STATES: Final[Mapping[str, str]] = {
    TaskState.QUEUED: "ready",
    TaskState.RUNNING: "running",
    TaskState.DELAYED: "delayed",
}
"""Of tasks that are not over, in the words of a queue."""


class StoreMetrics:
    """Reads the figures that the database knows, all in one transaction.

    ``queues`` says which queue each task is in, and ``known`` which queues there are.
    """

    def __init__(
        self, database: Database, clock: Clock, queues: Mapping[str, str], known: Collection[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._queues = queues
        self._known = known

    def read(self) -> Sequence[Metric]:
        """Look at the database.

        Raises:
            DatabaseError: it cannot be asked.
        """
        with self._database.transaction() as tx:
            read = [metric for one in _READERS for metric in one(tx, self._clock)]
            return [*read, *self._tasks(tx)]

    def _tasks(self, tx: Connection) -> Sequence[Metric]:
        found = list(counts.open_tasks(tx))
        # A queue in which nothing is has a zero, not a gap.
        of_queue = Counter(dict.fromkeys(product(self._known, STATES.values()), 0))
        for task, state, count in found:
            of_queue[self._queues.get(task, "unknown"), STATES.get(state, state)] += count
        return [
            metrics.OPEN_TASKS.of(*((task, state, count) for task, state, count in found)),
            metrics.QUEUE_TASKS.of(*((*key, count) for key, count in of_queue.items())),
        ]


def _backlog(tx: Connection, clock: Clock) -> Sequence[Metric]:
    found = measure(tx, count_to=COUNT_TO, now=clock())
    return [
        metrics.MAILBOX_MESSAGES.of((found.messages,)),
        metrics.LONGEST_WAIT.of((found.longest_wait_s,)),
    ]


def _dead(tx: Connection, _clock: Clock) -> Sequence[Metric]:
    return [metrics.DEAD_LETTERS.of(*counts.dead_by_code(tx))]


def _unknown(tx: Connection, _clock: Clock) -> Sequence[Metric]:
    return [metrics.UNKNOWN_OUTCOMES.of(*counts.unknown_outcomes(tx).items())]


def _ticks(tx: Connection, clock: Clock) -> Sequence[Metric]:
    now = clock()
    ages = ((task, (now - at).total_seconds()) for task, at in ticks.last_ticks(tx).items())
    return [metrics.LAST_TICK_AGE.of(*ages)]


def _health(tx: Connection, clock: Clock) -> Sequence[Metric]:
    now = clock()
    found = list(checks_of_workers(tx, since=now - HEALTH_LASTS))
    healthy = (
        (worker, dependency, float(verdict == "ok"))
        for worker, checks, _ in found
        for dependency, verdict in checks.items()
        if verdict != "off"
    )
    ages = ((worker, (now - at).total_seconds()) for worker, _, at in found)
    return [metrics.DEPENDENCY_HEALTHY.of(*healthy), metrics.HEALTH_CHECK_AGE.of(*ages)]


_READERS: Final[tuple[Callable[[Connection, Clock], Sequence[Metric]], ...]] = (
    _backlog,
    _dead,
    _unknown,
    _ticks,
    _health,
)
