"""Read the metrics of the whole service from the database, at the moment of a scrape."""

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
"""Three intervals of the health check. A worker without a check for longer counts as gone."""
COUNT_TO: Final = 100_000
"""Most messages that the backlog counts."""
STATES: Final[Mapping[str, str]] = {
    TaskState.QUEUED: "ready",
    TaskState.RUNNING: "running",
    TaskState.DELAYED: "delayed",
}
"""Label value for each state of an open task."""


class StoreMetrics:
    """The metrics that come from the database, all read in one transaction.

    ``queues`` maps each task to its queue, and ``known`` lists all queues.
    """

    def __init__(
        self, database: Database, clock: Clock, queues: Mapping[str, str], known: Collection[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._queues = queues
        self._known = known

    def read(self) -> Sequence[Metric]:
        """Query the database and return all metrics.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        with self._database.transaction() as tx:
            found = [metric for reader in _READERS for metric in reader(tx, self._clock)]
            return [*found, *self._tasks(tx)]

    def _tasks(self, tx: Connection) -> Sequence[Metric]:
        found = list(counts.open_tasks(tx))
        # An empty queue has a zero, so that its series has no gap.
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
        (worker, dependency, float(result == "ok"))
        for worker, checks, _ in found
        for dependency, result in checks.items()
        if result != "off"
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
