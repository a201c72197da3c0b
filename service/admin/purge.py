"""Emptying a queue: what it would remove, and doing it."""

from dataclasses import dataclass

from middleware.policy import QUEUES, tasks_of
from mirt.errors import ErrorCode, PermanentError
from mirt.store.shop.purge import count_waiting
from service.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class Purge:
    """What would be removed: tasks that wait, and the conversations they belong to."""

    queue: str
    tasks: int
    conversations: int


def preview(context: AdminContext, queue: str) -> Purge:
    """What a purge of this queue would remove now.

    Raises:
        PermanentError: INVALID_INPUT, there is no such queue.
        DatabaseError: it cannot be asked.
    """
    _check(queue)
    with context.database.transaction() as tx:
        return Purge(queue, *count_waiting(tx, tasks_of(queue)))


def purge(context: AdminContext, queue: str) -> int:
    """Make dead letters (PURGED) of all that waits in the queue; how many. Raises as above."""
    _check(queue)
    # Saying what it would do needs no broker.
    from broker.task import registry
    from middleware.purge import purge as purge_queue

    return purge_queue(registry.broker, context.database, queue, context.clock)


def _check(queue: str) -> None:
    if queue not in QUEUES:
        known = ", ".join(QUEUES)
        raise PermanentError(f"queue: must be one of {known}", ErrorCode.INVALID_INPUT)
