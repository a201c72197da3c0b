"""Record how far a task has come, so that its next attempt, or a replay, goes on from there.

The number belongs to the task: what it counts is the business of the task.
"""

from sqlalchemy import Connection, select, update

from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.tables import tasks


def read_progress(tx: Connection, lease: Lease) -> int:
    """Return how many steps of the task are done.

    Raises:
        LeaseLostError: another worker has claimed the task.
    """
    leases.verify(tx, lease)
    return int(tx.execute(select(tasks.c.progress).where(tasks.c.id == lease.task_id)).scalar_one())


def record_progress(tx: Connection, lease: Lease, done: int) -> None:
    """Store how many steps are done. Raises as ``read_progress``; then nothing is written."""
    leases.verify(tx, lease)
    tx.execute(update(tasks).where(tasks.c.id == lease.task_id).values(progress=done))
