"""Metrics of the whole service, read from the database when somebody asks."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.store import figures
from mirt.store.backlog import measure
from mirt.store.database import Database
from mirt.store.health import checks_of_workers

HEALTH_LASTS: Final = timedelta(minutes=15)
"""Three health checks; who has not been heard of for longer is gone."""
COUNT_TO: Final = 100_000


class StoreCollector(Collector):
    """A collector of Prometheus: every scrape is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Look at the database.

        Raises:
            DatabaseError: it cannot be asked.
        """
        with self._database.transaction() as tx:
            return [metric for read in _READERS for metric in read(tx, self._clock)]


def _backlog(tx: Connection, clock: Clock) -> Iterable[Metric]:
    found = measure(tx, count_to=COUNT_TO, now=clock())
    yield GaugeMetricFamily(
        "mirt_mailbox_messages", "Messages that wait to be answered.", value=found.messages
    )
    yield GaugeMetricFamily(
        "mirt_longest_wait_seconds",
        "How long a task has been waiting that no worker has begun.",
        value=found.longest_wait_s,
    )


def _tasks(tx: Connection, _clock: Clock) -> Iterable[Metric]:
    open_ = GaugeMetricFamily(
        "mirt_open_tasks", "Tasks that are not over.", labels=("task", "state")
    )
    for task, state, count in figures.open_tasks(tx):
        open_.add_metric((task, state), count)
    dead = GaugeMetricFamily(
        "mirt_dead_letters", "Tasks that failed for good, undecided.", labels=("task", "code")
    )
    for task, code, count in figures.dead_by_code(tx):
        dead.add_metric((task, code), count)
    yield from (open_, dead)


def _unknown(tx: Connection, _clock: Clock) -> Iterable[Metric]:
    unknown = GaugeMetricFamily(
        "mirt_unknown_outcomes", "Requests whose outcome nobody knew.", labels=("of",)
    )
    for what, count in figures.unknown_outcomes(tx).items():
        unknown.add_metric((what,), count)
    yield unknown


def _health(tx: Connection, clock: Clock) -> Iterable[Metric]:
    now = clock()
    healthy = GaugeMetricFamily(
        "mirt_dependency_healthy",
        "1 where a worker has reached it when it last looked.",
        labels=("worker", "dependency"),
    )
    age = GaugeMetricFamily(
        "mirt_health_check_age_seconds", "How long ago it looked.", labels=("worker",)
    )
    for worker, checks, at in checks_of_workers(tx, since=now - HEALTH_LASTS):
        age.add_metric((worker,), (now - at).total_seconds())
        for dependency, verdict in checks.items():
            if verdict != "off":
                healthy.add_metric((worker, dependency), float(verdict == "ok"))
    yield from (healthy, age)


_READERS: Final[tuple[Callable[[Connection, Clock], Iterable[Metric]], ...]] = (
    _backlog,
    _tasks,
    _unknown,
    _health,
)
