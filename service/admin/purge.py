"""Purge a queue: preview it, then move its waiting tasks to the dead letters."""

from dataclasses import dataclass

from middleware.policy import QUEUES, tasks_of
from mirt.errors import ErrorCode, PermanentError
from mirt.store.shop.purge import count_waiting
from service.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class Purge:
    """Preview of a purge: numbers of waiting tasks and of the conversations they belong to."""

    queue: str
    tasks: int
    conversations: int


def preview(context: AdminContext, queue: str) -> Purge:
    """Count what a purge of this queue would remove now.

    Raises:
        PermanentError: INVALID_INPUT, there is no such queue.
        DatabaseError: the database cannot be read.
    """
    _check(queue)
    with context.database.transaction() as tx:
        return Purge(queue, *count_waiting(tx, tasks_of(queue)))


def purge(context: AdminContext, queue: str) -> int:
    """Turn all waiting tasks of the queue into dead letters (PURGED); return their number.

    Tasks that run are left alone. Raises as ``preview``.
    """
    _check(queue)
    # Imported here: a preview needs no broker.
    from broker.task import registry
    from middleware.purge import purge as purge_queue

    return purge_queue(registry.broker, context.database, queue, context.clock)


def _check(queue: str) -> None:
    if queue not in QUEUES:
        known = ", ".join(QUEUES)
        raise PermanentError(f"queue: must be one of {known}", ErrorCode.INVALID_INPUT)
