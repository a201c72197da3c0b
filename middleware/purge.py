"""Purges a queue: its waiting tasks become dead letters, so that a mistake loses nothing.

Running tasks go on. The business settles its own rows (``FailureHandler.purged``): a purged
conversation has no head and no waiting mail.
"""

from typing import Final

from middleware.policy import TASKS, tasks_of
from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import ErrorCode
from mirt.store.engine.database import Database
from mirt.store.queue.audit import count_more, record_act
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.events import EventKind, TaskEvent, add_events
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.purge import Removed, remove_waiting

BATCH: Final = 100
WHY: Final = "removed from its queue by an operator"


def purge(broker: TaskBroker, database: Database, queue: str, clock: Clock) -> int:
    """Move the waiting tasks of a queue to the dead letters; return their number.

    Raises:
        BrokerUnavailableError: the transport's queue could not be emptied; no task has moved.
        DatabaseError: the batches before have moved, the rest is unchanged.
    """
    removed, act_id = 0, None
    broker.drain(queue)
    while True:
        with database.transaction() as tx:
            batch = remove_waiting(
                tx, tasks_of(queue), error_code=ErrorCode.PURGED, now=clock(), limit=BATCH
            )
            to_publish: list[TaskMessage] = []
            for gone in batch:
                write_dead_letter(tx, _dead_letter(gone), now=clock())
                event = TaskEvent(gone.task.task_id, EventKind.PURGED, clock(), gone.attempts)
                add_events(tx, event)
                if handler := broker.failure_handlers.get(gone.task.actor):
                    to_publish += handler.purged(tx, gone.task.task_id)
            if act_id is None:
                count = len(batch)
                act_id = record_act(tx, "purge", target=f"queue {queue}", count=count, now=clock())
            else:
                count_more(tx, act_id, len(batch))
        broker.publish(to_publish)
        removed += len(batch)
        if len(batch) < BATCH:
            return removed


def _dead_letter(removed: Removed) -> DeadLetter:
    return DeadLetter(
        task=removed.task,
        queue=TASKS[removed.task.actor].queue,
        error_code=ErrorCode.PURGED,
        exception=WHY,
        traceback="",
        attempts=removed.attempts,
        trace_id=removed.trace_id,
        sent_at=removed.sent_at,
    )
