"""Count and remove waiting tasks for an operator: queued or delayed, and not running."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.shop.mailbox import lock_head
from mirt.store.tables import tasks


@dataclass(frozen=True, slots=True)
class Removed:
    """A task that was removed, with the number of its attempts and the time it was sent."""

    task: TaskMessage
    attempts: int
    trace_id: str | None
    sent_at: datetime


def count_waiting(tx: Connection, actors: Collection[str]) -> tuple[int, int]:
    """Return the number of waiting tasks of these actors, and the number of their conversations."""
    counted = select(func.count(), func.count(tasks.c.session_id.distinct()))
    count, sessions = tx.execute(counted.where(*_waiting(actors))).one()
    return count, sessions


def remove_waiting(
    tx: Connection, actors: Collection[str], *, error_code: str, now: datetime, limit: int
) -> list[Removed]:
    """Queued, delayed → dead: remove at most ``limit`` tasks and lock their conversations.

    The conversation is locked before the task. That is allowed for tasks that are not running
    (``mirt.store.shop.mailbox``).
    """
    query = select(tasks.c.id, tasks.c.session_id).where(*_waiting(actors)).limit(limit)
    found = tx.execute(query).all()
    for session_id in sorted({row.session_id for row in found if row.session_id}):
        lock_head(tx, session_id)
    rows = tx.execute(
        update(tasks)
        .where(*_waiting(actors), tasks.c.id.in_([row.id for row in found]))
        .values(
            state=TaskState.DEAD, due_at=None, finished_at=now, held_by=None, error_code=error_code
        )
        .returning(tasks)
    )
    return [
        Removed(
            TaskMessage(row.id, row.actor, row.args, row.kwargs, row.options),
            row.attempt,
            row.trace_id,
            row.created_at,
        )
        for row in rows
    ]


def _waiting(actors: Collection[str]) -> list[ColumnElement[Any]]:
    waits = tasks.c.state.in_([TaskState.QUEUED, TaskState.DELAYED])
    return [tasks.c.due_at.is_not(None), waits, tasks.c.actor.in_(actors)]
