"""Read the current state of queues, running tasks and workers, and the last hour."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from middleware.policy import QUEUES, TASKS, tasks_of
from mirt.store.queue import workers
from mirt.store.queue.workers import WorkerRow
from mirt.store.reports import overview
from mirt.store.reports.overview import Minute, Run, TaskCounts
from service.admin.context import AdminContext

RATE_OVER: Final = timedelta(minutes=5)
MOST_RUNS: Final = 500
MAX_CLOCK_SKEW_S: Final = 2.0
"""Difference of two clocks from which it is named. Tasks go by the database's clock, but logs and
traces carry the time of their machine."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: its tasks in each state, its rate, and how long its oldest ready task has waited.

    ``done_per_minute`` is the mean of the last ``RATE_OVER``; ``workers`` is the number of worker
    processes that receive from the queue and are not stopping.
    """

    name: str
    ready: int
    running: int
    delayed: int
    dead: int
    done_per_minute: float
    oldest_wait_s: float
    workers: int


@dataclass(frozen=True, slots=True)
class RunView:
    """A running task: its worker and conversation, its running time and its limits in seconds."""

    task_id: str
    task: str
    queue: str
    worker_id: str | None
    session_id: str | None
    trace_id: str | None
    attempt: int
    """Attempt number, starting at 1."""
    running_s: float
    soft_s: float
    hard_s: float

    @property
    def is_late(self) -> bool:
        """Whether the task has used more than half of its soft limit."""
        return self.running_s > self.soft_s / 2


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process: its row, the number of busy threads, its uptime and age of its report."""

    worker: WorkerRow
    busy: int
    uptime_s: float
    seen_s_ago: float

    @property
    def clock_is_off(self) -> bool:
        """Whether the clock of its machine differs from the database's by seconds."""
        return abs(self.worker.clock_ahead_s or 0) > MAX_CLOCK_SKEW_S


@dataclass(frozen=True, slots=True)
class Activity:
    """Queues, workers and running tasks at one moment."""

    at: datetime
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]
    runs: Sequence[RunView]
    dead: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The dead letters of each queue by their error code, the most frequent first."""


def activity(context: AdminContext) -> Activity:
    """Read queues, workers and running tasks, with four queries in one transaction.

    Raises:
        DatabaseError: the database cannot be read.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        counts = overview.task_counts(tx, since=now - RATE_OVER)
        living = workers.living(tx, now=now)
        running = overview.running(tx, limit=MOST_RUNS)
    return Activity(
        at=now,
        queues=[_queue(name, counts, living, now) for name in QUEUES],
        workers=[_worker(worker, running, now) for worker in living],
        runs=[_run(run, now) for run in running if run.actor in TASKS],
        dead={name: _codes(name, counts) for name in QUEUES},
    )


@dataclass(frozen=True, slots=True)
class TransportProblem:
    """A reason of RabbitMQ, the queues that some workers do not receive for it, and their hosts.

    ``queues`` holds ``PUBLISHING`` if these workers cannot publish.
    """

    why: str
    queues: tuple[str, ...]
    hosts: tuple[str, ...]


def transport_problems(living: Iterable[WorkerRow]) -> list[TransportProblem]:
    """Return the problems that workers have with RabbitMQ, one for each reason."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for worker in living:
        for queue, why in sorted((worker.problems or {}).items()):
            hosts.setdefault((why, queue), []).append(worker.host)
    queues: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (why, queue), those in hosts.items():
        queues.setdefault((why, tuple(those)), []).append(queue)
    return [TransportProblem(why, tuple(names), those) for (why, those), names in queues.items()]


def _queue(
    name: str, counts: Sequence[TaskCounts], living: Sequence[WorkerRow], now: datetime
) -> QueueView:
    own = [task for task in counts if task.actor in tasks_of(name)]
    oldest = min((task.oldest_at for task in own if task.oldest_at is not None), default=now)
    return QueueView(
        name=name,
        ready=sum(task.ready for task in own),
        running=sum(task.running for task in own),
        delayed=sum(task.delayed for task in own),
        dead=sum(sum(task.codes.values()) for task in own),
        done_per_minute=sum(task.done for task in own) / (RATE_OVER / timedelta(minutes=1)),
        oldest_wait_s=max(0.0, (now - oldest).total_seconds()),
        workers=sum(worker.receives(name) for worker in living),
    )


def _codes(queue: str, counts: Sequence[TaskCounts]) -> dict[str, int]:
    codes = Counter[str]()
    for task in counts:
        if task.actor in tasks_of(queue):
            codes.update(task.codes)
    return dict(codes.most_common())


def _worker(worker: WorkerRow, running: Sequence[Run], now: datetime) -> WorkerView:
    return WorkerView(
        worker=worker,
        busy=sum(run.worker_id == worker.id for run in running),
        uptime_s=(now - worker.started_at).total_seconds(),
        seen_s_ago=max(0.0, (now - worker.seen_at).total_seconds()),
    )


def _run(run: Run, now: datetime) -> RunView:
    policy = TASKS[run.actor]
    return RunView(
        task_id=run.task_id,
        task=run.actor,
        queue=policy.queue,
        worker_id=run.worker_id,
        session_id=run.session_id,
        trace_id=run.trace_id,
        attempt=run.attempt + 1,
        running_s=max(0.0, (now - run.started_at).total_seconds()),
        soft_s=policy.soft_s,
        hard_s=policy.hard_s,
    )


MINUTES: Final = 60


def hour(context: AdminContext) -> list[Minute]:
    """Return the answers and failures of each of the last 60 minutes, the oldest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    now = context.clock().replace(second=0, microsecond=0)
    first = now - timedelta(minutes=MINUTES - 1)
    with context.database.transaction() as tx:
        found = {minute.at: minute for minute in overview.minutes(tx, since=first)}
    at = (first + timedelta(minutes=n) for n in range(MINUTES))
    return [found.get(minute) or Minute(minute) for minute in at]
