"""Cancels a task: it never runs, or it stops as at its soft limit. It makes no dead letter.

The business settles its own rows (``FailureHandler.cancelled``): the mail of a cancelled turn is
kept as cancelled, and the next mail of the conversation is the head.
"""

from enum import StrEnum

from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.operators import current_operator
from mirt.store.engine.database import Database
from mirt.store.queue import cancelling as store
from mirt.store.queue.audit import record_act
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.shop.mailbox import withdraw


class Cancelled(StrEnum):
    """The outcomes of a cancellation."""

    CANCELLED = "cancelled"
    """The task waited, and will not run."""
    ASKED = "asked"
    """The task runs. Its worker stops it within seconds, unless it ends by itself before."""
    OVER = "over"
    """The task is done or dead already; nothing has changed."""
    UNKNOWN = "unknown"
    """There is no such task."""


def cancel(broker: TaskBroker, database: Database, task_id: str, clock: Clock) -> Cancelled:
    """Cancel a task that waits or runs, or mail that waits behind another turn.

    Raises:
        DatabaseError: nothing has changed.
    """
    now, operator, to_publish = clock(), current_operator().name, list[TaskMessage]()
    with database.transaction() as tx:
        task = store.lock_task(tx, task_id)
        if task is None:
            session_id = withdraw(tx, task_id, now=now)
            if session_id is None:
                return Cancelled.UNKNOWN
            store.add_cancelled(tx, task_id, 0, operator, now=now)
            result = Cancelled.CANCELLED
        elif task.state in (TaskState.DONE, TaskState.DEAD):
            return Cancelled.OVER
        elif task.state is TaskState.RUNNING:
            session_id = task.session_id
            store.ask_to_stop(tx, task, operator=operator)
            result = Cancelled.ASKED
        else:
            session_id = task.session_id
            store.cancel_waiting(tx, task, operator=operator, now=now)
            if handler := broker.failure_handlers.get(task.actor):
                to_publish = handler.cancelled(tx, task_id)
            result = Cancelled.CANCELLED
        record_act(tx, "cancel", target=f"task {task_id}", session_id=session_id, now=now)
    broker.publish(to_publish)
    return result
