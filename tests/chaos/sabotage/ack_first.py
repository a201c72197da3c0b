"""Acknowledge before work: a task is done from the moment in which it is claimed.

The row is what is acknowledged; RabbitMQ's message is no more than a wake-up call.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import tasks

_claim = leases.claim


def _claim_and_finish(
    tx: Connection, task: TaskMessage, *, now: datetime, **how: Any
) -> Lease | None:
    lease = _claim(tx, task, now=now, **how)
    if lease is not None:
        over = {"state": TaskState.DONE, "due_at": None, "finished_at": now}
        tx.execute(update(tasks).where(tasks.c.id == lease.task_id).values(over))
    return lease


def _renew_nothing(_: Connection, held: Collection[Lease], *, until: datetime) -> set[Lease]:
    return set(held)


leases.claim = _claim_and_finish
leases.renew = _renew_nothing  # type: ignore[assignment]
leases.HELD = (*leases.HELD, TaskState.DONE)  # type: ignore[assignment, misc]
