"""The queues and who works on them, as they are at this moment."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: tasks in each state, done a minute lately, and seconds that the oldest has waited.

    ``workers`` is how many processes work on it.
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
    """A task that runs: where, for whom, for how long, and how long it may."""

    task_id: str
    task: str
    queue: str
    worker_id: str | None
    session_id: str | None
    trace_id: str | None
    attempt: int
    """The how manieth it is, from 1."""
    running_s: float
    soft_s: float
    hard_s: float

    @property
    def is_late(self) -> bool:
        """Whether it has been running for longer than half of what it may."""
        return self.running_s > self.soft_s / 2


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process, and what it is doing."""

    worker: WorkerRow
    busy: int
    uptime_s: float
    seen_s_ago: float


@dataclass(frozen=True, slots=True)
class Activity:
    """Everything that is going on, looked at in one moment."""

    at: datetime
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]
    runs: Sequence[RunView]


def activity(context: AdminContext) -> Activity:
    """Look at queues, workers and what runs: four queries.

    Raises:
        DatabaseError: it cannot be asked.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        figures = overview.task_counts(tx, since=now - RATE_OVER)
        living = workers.living(tx, now=now)
        running = overview.running(tx, limit=MOST_RUNS)
    return Activity(
        at=now,
        queues=[_queue(name, figures, living, now) for name in QUEUES],
        workers=[_worker(one, running, now) for one in living],
        runs=[_run(one, now) for one in running if one.actor in TASKS],
    )


def _queue(
    name: str, figures: Sequence[TaskCounts], living: Sequence[WorkerRow], now: datetime
) -> QueueView:
    own = [one for one in figures if one.actor in tasks_of(name)]
    oldest = min((one.oldest_at for one in own if one.oldest_at is not None), default=now)
    return QueueView(
        name=name,
        ready=sum(one.ready for one in own),
        running=sum(one.running for one in own),
        delayed=sum(one.delayed for one in own),
        dead=sum(one.dead for one in own),
        done_per_minute=sum(one.done for one in own) / (RATE_OVER / timedelta(minutes=1)),
        oldest_wait_s=max(0.0, (now - oldest).total_seconds()),
        workers=sum(name in one.queues and not one.stopping for one in living),
    )


def _worker(worker: WorkerRow, running: Sequence[Run], now: datetime) -> WorkerView:
    return WorkerView(
        worker=worker,
        busy=sum(one.worker_id == worker.id for one in running),
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
    """What was answered and what failed in each of the last 60 minutes, the oldest first.

    Raises:
        DatabaseError: it cannot be asked.
    """
    now = context.clock().replace(second=0, microsecond=0)
    first = now - timedelta(minutes=MINUTES - 1)
    with context.database.transaction() as tx:
        found = {minute.at: minute for minute in overview.minutes(tx, since=first)}
    at = (first + timedelta(minutes=n) for n in range(MINUTES))
    return [found.get(minute) or Minute(minute) for minute in at]
