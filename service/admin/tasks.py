"""Cancel a task, or start a delayed one before its time."""

from enum import StrEnum

from middleware.cancelling import Cancelled
from mirt.store.queue import cancelling as store
from mirt.store.queue.audit import record_act
from mirt.store.queue.pauses import paused_subject
from mirt.store.queue.tasks import TaskState
from service.admin.context import AdminContext


class Hurried(StrEnum):
    """The outcomes of an attempt to run a task now."""

    DUE = "due"
    """The task was delayed, and runs as soon as a worker is free."""
    PAUSED = "paused"
    """An operator has paused it; nothing has changed."""
    NOT_DELAYED = "not delayed"
    """The task runs, waits for a worker, or is over; nothing has changed."""
    UNKNOWN = "unknown"
    """There is no such task."""


def cancel(context: AdminContext, task_id: str) -> Cancelled:
    """Cancel a task that waits or runs; see ``middleware.cancelling``.

    Raises:
        DatabaseError: nothing has changed.
    """
    # Imported here: reading needs no broker.
    from broker.task import registry
    from middleware.cancelling import cancel as cancel_task

    return cancel_task(registry.broker, context.database, task_id, context.clock)


def retry_now(context: AdminContext, task_id: str) -> Hurried:
    """Let a delayed task run now, as the attempt that it waits for.

    A task that an outage holds asks the service at once, and is held again if it still fails.

    Raises:
        DatabaseError: nothing has changed.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        task = store.lock_task(tx, task_id)
        if task is None:
            return Hurried.UNKNOWN
        if task.state is not TaskState.DELAYED:
            return Hurried.NOT_DELAYED
        if task.held_by is not None and paused_subject(task.held_by) is not None:
            return Hurried.PAUSED
        store.make_due_now(tx, task, now=now)
        record_act(tx, "retry", target=f"task {task_id}", session_id=task.session_id, now=now)
    return Hurried.DUE
