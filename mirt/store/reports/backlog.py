"""How much is waiting to be answered, and for how long."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, true

from mirt.store.queue.tasks import TaskState
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import inbox, tasks


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages that wait, counted up to some limit, and seconds that one waits for a worker."""

    messages: int
    longest_wait_s: float


def measure(
    tx: Connection, *, count_to: int, now: datetime, actors: Collection[str] | None = None
) -> Backlog:
    """Look at the backlog, by indexes that hold nothing else.

    The wait is that of tasks which no worker has begun: a conversation that waits for its retry is
    no backlog, and a delay, or the time that a task was dead before its replay, is no wait. With
    ``actors`` only their tasks count.
    """
    counts = true() if actors is None else tasks.c.actor.in_(actors)
    some = select(inbox.c.id).where(inbox.c.state == MailState.WAITING).limit(count_to)
    messages = tx.execute(select(func.count()).select_from(some.subquery())).scalar_one()
    oldest: datetime | None = tx.execute(
        select(func.min(tasks.c.waits_since)).where(
            tasks.c.due_at.is_not(None),
            tasks.c.state == TaskState.QUEUED,
            tasks.c.fence == 0,
            counts,
        )
    ).scalar()
    return Backlog(messages, 0.0 if oldest is None else (now - oldest).total_seconds())
