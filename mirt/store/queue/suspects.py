"""Find suspects: tasks whose next start is their last, because no start before has ended."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from mirt.store.queue.outbox import TASK_COLUMNS
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import tasks


def find_suspects(
    tx: Connection,
    actors: Collection[str],
    *,
    starts: int,
    without: Collection[str],
    now: datetime,
    limit: int,
) -> list[TaskMessage]:
    """Return tasks with so many unfinished starts that no worker holds, the first due first.

    A task that was stopped at its hard limit is none: any worker may bury it. ``without``: ids of
    tasks that are taken care of.
    """
    is_free = or_(
        tasks.c.state == TaskState.QUEUED,
        and_(tasks.c.state == TaskState.RUNNING, tasks.c.due_at <= now),
    )
    rows = tx.execute(
        select(*(tasks.c[name] for name in TASK_COLUMNS))
        .where(
            tasks.c.due_at.is_not(None),  # it makes the index usable
            tasks.c.starts == starts,
            tasks.c.error_code.is_(None),
            is_free,
            tasks.c.actor.in_(actors),
            tasks.c.id.not_in(without),
        )
        .order_by(tasks.c.due_at)
        .limit(limit)
    )
    return [TaskMessage(*row) for row in rows]


def read_task(tx: Connection, task_id: str) -> TaskMessage | None:
    """Return the content of a task; None if there is no such task."""
    row = tx.execute(
        select(*(tasks.c[name] for name in TASK_COLUMNS)).where(tasks.c.id == task_id)
    ).one_or_none()
    return None if row is None else TaskMessage(*row)
