"""The outbox: which tasks are to be published, now or later, and again when a message was lost."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, case, func, select, update

from mirt.store.engine.database import upsert
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope
from mirt.store.tables import tasks

REPUBLISH_AFTER: Final = timedelta(seconds=10)
REPUBLISH_DOUBLINGS: Final = 9
"""A queued task that nobody claims is published again after 10 s, 20 s, 40 s … 85 min.

Soon, since whoever was to publish it may have died before it did; ever later, so that its copies
stay few while it waits in a backlog.
"""


def add(
    tx: Connection, task: TaskMessage, *, now: datetime, due_at: datetime | None = None
) -> bool:
    """Put a task into the outbox; whether it was new.

    With ``due_at`` it is a delayed task. Without, the caller publishes it after the commit, and the
    outbox does so again after ``REPUBLISH_AFTER`` if nobody has claimed it by then.
    """
    delayed = due_at is not None
    added = tx.execute(
        upsert(tx, tasks)
        .values(
            **envelope(task),
            state=TaskState.DELAYED if delayed else TaskState.QUEUED,
            due_at=due_at if delayed else now + REPUBLISH_AFTER,
            published_at=None if delayed else now,
            publications=0 if delayed else 1,
            created_at=now,
            waits_since=None if delayed else now,
        )
        .on_conflict_do_nothing()
        .returning(tasks.c.id)
    )
    return added.scalar_one_or_none() is not None


def take_due(tx: Connection, *, now: datetime, limit: int) -> list[TaskMessage]:
    """Take what is due to be published: delays that are over, lost messages, lost leases.

    Two callers at once take different ones. What is taken comes up again after a growing pause if
    nobody claims it. Whoever held a lease that ran out keeps the task until another claims it.
    """
    due = (
        select(tasks.c.id)
        .where(tasks.c.due_at <= now)
        .order_by(tasks.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    again = case(
        {n: now + REPUBLISH_AFTER * 2**n for n in range(REPUBLISH_DOUBLINGS)},
        value=tasks.c.publications,
        else_=now + REPUBLISH_AFTER * 2**REPUBLISH_DOUBLINGS,
    )
    rows = tx.execute(
        update(tasks)
        .where(tasks.c.id.in_(due.scalar_subquery()))
        .values(
            state=TaskState.QUEUED,
            published_at=now,
            publications=tasks.c.publications + 1,
            due_at=again,
            # A message that was lost does not begin to wait anew; one that is due at last does.
            waits_since=case((tasks.c.state == TaskState.DELAYED, now), else_=tasks.c.waits_since),
        )
        .returning(tasks.c.id, tasks.c.actor, tasks.c.args, tasks.c.kwargs, tasks.c.options)
    )
    return [TaskMessage(*row) for row in rows]


def make_due(tx: Connection, ids: Collection[str], *, now: datetime) -> None:
    """Have these queued tasks published again soon: their publication is known to have failed."""
    tx.execute(
        update(tasks)
        .where(tasks.c.id.in_(ids), tasks.c.state == TaskState.QUEUED)
        .values(due_at=now)
    )


def make_lost_due(
    tx: Connection, actors: Collection[str], *, published_before: datetime, now: datetime
) -> int:
    """Have all queued tasks published before that time published again: the broker lost them."""
    return tx.execute(
        update(tasks)
        .where(
            tasks.c.state == TaskState.QUEUED,
            tasks.c.due_at > now,
            tasks.c.published_at < published_before,
            tasks.c.actor.in_(actors),
        )
        .values(due_at=now)
    ).rowcount


def count_queued(tx: Connection, actors: Collection[str]) -> int:
    """How many tasks of these actors should be waiting in the broker."""
    return tx.execute(
        select(func.count())
        .select_from(tasks)
        .where(tasks.c.state == TaskState.QUEUED, tasks.c.actor.in_(actors))
    ).scalar_one()


def delay_unstarted(tx: Connection, task_id: str, *, until: datetime, at_most: timedelta) -> None:
    """Put off a delayed task that was never started, at most to ``at_most`` after its birth."""
    unstarted = (
        tasks.c.id == task_id,
        tasks.c.state == TaskState.DELAYED,
        tasks.c.fence == 0,
    )
    born = tx.execute(select(tasks.c.created_at).where(*unstarted)).scalar_one_or_none()
    if born is not None:
        tx.execute(update(tasks).where(*unstarted).values(due_at=min(until, born + at_most)))


def take_retry(tx: Connection, task_id: str, *, now: datetime) -> TaskMessage | None:
    """Take a task that waits for its next attempt, without waiting for it to be due."""
    row = tx.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.state == TaskState.DELAYED, tasks.c.fence > 0)
        .values(state=TaskState.QUEUED, published_at=now, waits_since=now)
        .returning(tasks.c.id, tasks.c.actor, tasks.c.args, tasks.c.kwargs, tasks.c.options)
    ).one_or_none()
    return None if row is None else TaskMessage(*row)


def make_all_due(tx: Connection, *, now: datetime) -> int:
    """Have everything that is not over published again: the process that held it is gone.

    Only for the embedded mode, where there is one process and its queues were in its memory.
    """
    return tx.execute(
        update(tasks)
        .where(tasks.c.state.in_([TaskState.QUEUED, TaskState.RUNNING]))
        .values(due_at=now)
    ).rowcount
