"""Acknowledge before work: a task is done from the moment in which it is claimed.

The row is what is acknowledged; RabbitMQ's message is no more than a wake-up call.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from mirt.store.engine.group_commit import GroupCommit
from mirt.store.engine.statements import Query, Row
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease, Renewed
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import tasks

_claim_and_read, _claim_first = leases.claim_and_read, leases.claim_first_and_commit


def _claim_read_and_finish(
    tx: Connection, task: TaskMessage, reads: Sequence[Query], **how: Any
) -> tuple[Lease | None, list[list[Row]]]:
    lease, found = _claim_and_read(tx, task, reads, **how)
    if lease is not None:
        _finish(tx, lease, how["now"])
    return lease, found


def _claim_first_and_finish(commits: GroupCommit, task: TaskMessage, **how: Any) -> Lease | None:
    lease = _claim_first(commits, task, **how)
    if lease is not None:
        with commits._transaction() as tx:
            _finish(tx, lease, how["now"])
    return lease


def _finish(tx: Connection, lease: Lease, now: datetime) -> None:
    over = {"state": TaskState.DONE, "due_at": None, "finished_at": now}
    tx.execute(update(tasks).where(tasks.c.id == lease.task_id).values(over))


def _renew_nothing(tx: Connection, held: Collection[Lease], *, until: datetime) -> Renewed:
    return Renewed(set(held), set())


leases.claim_and_read = _claim_read_and_finish
leases.claim_first_and_commit = _claim_first_and_finish
leases.renew = _renew_nothing
leases.HELD = (*leases.HELD, TaskState.DONE)  # type: ignore[assignment, misc]
