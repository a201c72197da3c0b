"""Purging a queue: what waits in it becomes dead letters, so that nothing is lost by a mistake.

What runs goes on. The business settles what a task was about (``on_purge``): a mailbox has no head
any more, and nobody waits in it.
"""

from typing import Any, Final

from middleware.policy import TASKS, tasks_of
from mirt.clock import Clock
from mirt.errors import ErrorCode
from mirt.store.engine.database import Database
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.events import EventKind, TaskEvent, note
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.purge import Removed, remove_waiting

BATCH: Final = 100
WHY: Final = "removed from its queue by an operator"


def purge(broker: Any, database: Database, queue: str, clock: Clock) -> int:
    """Remove what waits in a queue; how many tasks there were.

    Raises:
        DatabaseError: the rest is left as it is.
    """
    removed = 0
    broker.drain(queue)
    while True:
        with database.transaction() as tx:
            batch = remove_waiting(
                tx, tasks_of(queue), error_code=ErrorCode.PURGED, now=clock(), limit=BATCH
            )
            following: list[TaskMessage] = []
            for one in batch:
                write_dead_letter(tx, _letter(one), now=clock())
                event = TaskEvent(one.task.task_id, EventKind.PURGED, clock(), one.attempts)
                note(tx, event)
                options = broker.get_actor(one.task.actor).options
                settle = options.get("on_purge") or options.get("on_dead")
                following += settle(tx, one.task.task_id) if settle else []
        broker.publish(following)
        removed += len(batch)
        if len(batch) < BATCH:
            return removed


def _letter(one: Removed) -> DeadLetter:
    return DeadLetter(
        task=one.task,
        queue=TASKS[one.task.actor].queue,
        error_code=ErrorCode.PURGED,
        exception=WHY,
        traceback="",
        attempts=one.attempts,
        trace_id=one.trace_id,
        sent_at=one.sent_at,
    )
