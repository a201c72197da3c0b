"""Show the schedule, with the last and next tick of each task, and run a task now."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from middleware.cron_line import CronLine, line_of
from middleware.policy import TASKS
from middleware.ticks import latest_tick, next_tick, run_id
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.ticks import Run, last_ticks, runs
from service.admin.context import AdminContext

LATE_AFTER: Final = timedelta(minutes=2)
"""A running scheduler sends a tick within its minute; twice that is late."""


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """A task of the schedule. ``is_late``: its latest tick was not sent, so no scheduler runs.

    ``last_run`` is the run of the last tick, as long as its row is kept.
    """

    task: str
    queue: str
    cron: str
    tz: str
    last_at: datetime | None
    next_at: datetime
    is_late: bool
    last_run: Run | None


def schedule(context: AdminContext) -> list[ScheduledTask]:
    """Return the schedule, the next tick first, with two queries.

    Raises:
        DatabaseError: the database cannot be read.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        last = last_ticks(tx)
        last_runs = runs(tx, [run_id(task, tick) for task, tick in last.items()])
    tasks = [
        ScheduledTask(
            task=policy.name,
            queue=policy.queue,
            cron=policy.schedule,
            tz=policy.tz,
            last_at=last.get(policy.name),
            next_at=next_tick(line_of(policy), now),
            is_late=_is_late(line_of(policy), last.get(policy.name), now),
            last_run=last_runs.get(policy.name),
        )
        for policy in TASKS.values()
        if policy.schedule
    ]
    return sorted(tasks, key=lambda task: (task.next_at, task.task))


def run_now(task: str) -> str:
    """Run a task of the schedule once more, now; return the task id of the run.

    Raises:
        PermanentError: INVALID_INPUT, the task is not in the schedule.
        DatabaseError: the run could not be stored.
    """
    if task not in TASKS or TASKS[task].schedule is None:
        raise PermanentError(f"task: {task} is not in the schedule", ErrorCode.INVALID_INPUT)
    # Imported here: reading the schedule needs no broker.
    from broker.task import registry

    task_id = f"{task}@now:{uuid.uuid4().hex[:12]}"
    registry.broker.get_actor(task).send_with_options(task_id=task_id)
    return task_id


def _is_late(line: CronLine, last: datetime | None, now: datetime) -> bool:
    latest = latest_tick(line, now - LATE_AFTER)
    return last is not None and latest is not None and last < latest
