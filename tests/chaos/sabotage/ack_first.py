"""Acknowledge before work: a task is done from the moment in which it is claimed.

The row is what is acknowledged; RabbitMQ's message is no more than a wake-up call.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from mirt.store.queue import leases
from mirt.store.queue.leases import Claim
from mirt.store.queue.tasks import Publication, TaskState
from mirt.store.tables import tasks

_claim = leases.claim


def _claim_and_finish(
    tx: Connection, task: Publication, *, now: datetime, **how: Any
) -> Claim | None:
    claim = _claim(tx, task, now=now, **how)
    if claim is not None:
        over = {"state": TaskState.DONE, "due_at": None, "finished_at": now}
        tx.execute(update(tasks).where(tasks.c.id == claim.task_id).values(over))
    return claim


def _renew_nothing(_: Connection, claims: Collection[Claim], *, until: datetime) -> set[Claim]:
    return set(claims)


leases.claim = _claim_and_finish
leases.renew = _renew_nothing  # type: ignore[assignment]
leases.HELD = (*leases.HELD, TaskState.DONE)  # type: ignore[assignment, misc]
