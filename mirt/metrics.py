"""Read the metrics of the whole service from the database, at the moment of a scrape."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from mirt.store.queue.holds import open_holds
from mirt.store.queue.pauses import PauseKind, all_pauses
from mirt.store.queue.tasks import TaskState
from mirt.store.reports import counts
from mirt.store.reports.backlog import measure
from mirt.store.reports.handovers import open_handovers
from mirt.store.shop import webhooks
from mirt.store.shop.handovers import HandoverState
from mirt.webhooks import problems_of

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
SERVICES: Final = ("llm", "telegram", "manychat", "crm", "staff")
"""The outside services."""
UNKNOWN_QUEUE: Final = "unknown"
"""Label value for tasks that this version does not know."""


class StoreMetrics:
    """The metrics that come from the database, all read in one transaction.

    ``queues`` maps each task of this version to its queue.
    """

    def __init__(self, database: Database, clock: Clock, queues: Mapping[str, str]) -> None:
        self._database = database
        self._clock = clock
        self._queues = queues

    def read(self) -> Sequence[Metric]:
        """Query the database and return all metrics.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        with self._database.transaction() as tx:
            found = [metric for reader in _READERS for metric in reader(tx, self._clock)]
            return [*found, self._tasks(tx)]

    def _tasks(self, tx: Connection) -> Metric:
        # Each known task has a zero for each state, so that no series has a gap.
        numbers = dict.fromkeys(product(self._queues, STATES.values()), 0)
        for task, state, number in counts.open_tasks(tx):
            numbers[task, STATES.get(state, state)] = number
        return metrics.TASKS.of(
            *(
                (self._queues.get(task, UNKNOWN_QUEUE), task, state, number)
                for (task, state), number in numbers.items()
            )
        )


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


def _outbox(tx: Connection, clock: Clock) -> Sequence[Metric]:
    since, now = counts.outbox_due_since(tx), clock()
    lag_s = 0.0 if since is None else max(0.0, (now - since).total_seconds())
    return [
        metrics.OUTBOX_LAG.of((lag_s,)),
        metrics.UNREACHABLE.of((counts.unreachable_conversations(tx),)),
    ]


def _holds(tx: Connection, _clock: Clock) -> Sequence[Metric]:
    # Each service has a zero while it works, so that no series has a gap.
    found = dict.fromkeys(SERVICES, 0)
    found |= {hold.service: 1 if hold.setting is None else 2 for hold in open_holds(tx)}
    return [metrics.HOLDS.of(*found.items())]


def _pauses(tx: Connection, _clock: Clock) -> Sequence[Metric]:
    found = Counter(pause.subject.kind for pause in all_pauses(tx))
    return [metrics.PAUSES.of(*((kind.value, found[kind]) for kind in PauseKind))]


def _handovers(tx: Connection, clock: Clock) -> Sequence[Metric]:
    now, numbers = clock(), dict.fromkeys((HandoverState.ASKED, HandoverState.PERSON), 0)
    waits = [0.0]
    for one in open_handovers(tx, limit=COUNT_TO):
        numbers[one.state] += 1
        if one.waits_since is not None:
            waits.append((now - one.waits_since).total_seconds())
    of_states = ((state.value, number) for state, number in numbers.items())
    return [metrics.HANDOVERS.of(*of_states), metrics.HANDOVER_WAIT.of((max(waits),))]


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


def _webhooks(tx: Connection, clock: Clock) -> Sequence[Metric]:
    now = clock()
    states = webhooks.read(tx)
    pending = [(one.pending,) for one in states if one.channel == "telegram"]
    ages = (
        (one.channel, (now - one.last_message_at).total_seconds())
        for one in states
        if one.last_message_at is not None
    )
    problems = ((one.channel, len(list(problems_of(one, now)))) for one in states)
    return [
        metrics.PENDING_UPDATES.of(*pending),
        metrics.WEBHOOK_AGE.of(*ages),
        metrics.WEBHOOK_PROBLEMS.of(*problems),
    ]


_READERS: Final[tuple[Callable[[Connection, Clock], Sequence[Metric]], ...]] = (
    _backlog,
    _dead,
    _unknown,
    _outbox,
    _holds,
    _handovers,
    _pauses,
    _ticks,
    _health,
    _webhooks,
)
