"""Cancel a task for an operator, or start a delayed one before its time."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from mirt.errors import ErrorCode
from mirt.store.queue.events import EventKind, TaskEvent, add_events
from mirt.store.queue.tasks import TaskState
from mirt.store.tables import tasks


@dataclass(frozen=True, slots=True)
class LockedTask:
    """A task whose row is locked until the transaction ends."""

    task_id: str
    actor: str
    session_id: str | None
    state: TaskState
    held_by: str | None
    attempt: int


def lock_task(tx: Connection, task_id: str) -> LockedTask | None:
    """Lock the row of a task and return it; None if there is none."""
    row = tx.execute(
        select(
            tasks.c.id,
            tasks.c.actor,
            tasks.c.session_id,
            tasks.c.state,
            tasks.c.held_by,
            tasks.c.attempt,
        )
        .where(tasks.c.id == task_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    task_id, actor, session_id, state, held_by, attempt = row
    return LockedTask(task_id, actor, session_id, TaskState(state), held_by, attempt)


def cancel_waiting(tx: Connection, task: LockedTask, *, operator: str, now: datetime) -> None:
    """Queued, delayed → done, with the code CANCELLED and an event. The caller has locked it."""
    tx.execute(
        update(tasks)
        .where(tasks.c.id == task.task_id)
        .values(
            state=TaskState.DONE,
            owner=None,
            due_at=None,
            finished_at=now,
            held_by=None,
            error_code=ErrorCode.CANCELLED,
            cancelled_by=operator,
        )
    )
    add_cancelled(tx, task.task_id, task.attempt, operator, now=now)


def add_cancelled(
    tx: Connection, task_id: str, attempt: int, operator: str, *, now: datetime
) -> None:
    """Add the event that an operator has cancelled a task."""
    event = TaskEvent(
        task_id, EventKind.CANCELLED, now, attempt, ErrorCode.CANCELLED, f"by {operator}"
    )
    add_events(tx, event)


def ask_to_stop(tx: Connection, task: LockedTask, *, operator: str) -> None:
    """Ask the worker of a running task to stop it. The caller has locked it.

    The worker reads this when it renews its lease; so does the next claim of the task.
    """
    tx.execute(update(tasks).where(tasks.c.id == task.task_id).values(cancelled_by=operator))


def make_due_now(tx: Connection, task: LockedTask, *, now: datetime) -> None:
    """Let a delayed task run now, as the attempt that it waits for. The caller has locked it."""
    tx.execute(update(tasks).where(tasks.c.id == task.task_id).values(due_at=now, held_by=None))
