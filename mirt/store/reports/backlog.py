"""Measure the backlog: how much mail waits for an answer, and how long tasks wait for a worker."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, true

from mirt.store.queue.tasks import TaskState
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import inbox, tasks


@dataclass(frozen=True, slots=True)
class Backlog:
    """Number of waiting mail, up to a limit, and longest wait for a worker in seconds."""

    messages: int
    longest_wait_s: float


def measure(
    tx: Connection, *, count_to: int, now: datetime, actors: Collection[str] | None = None
) -> Backlog:
    """Measure the backlog. Both queries use partial indexes.

    Mail is counted up to ``count_to``. Only tasks that have never started count for the wait: a
    task that waits for its retry is no backlog, and a delay, or the time that a task was dead
    before its replay, is no wait. With ``actors`` only their tasks count for the wait.
    """
    of_actors = true() if actors is None else tasks.c.actor.in_(actors)
    waiting = select(inbox.c.id).where(inbox.c.state == MailState.WAITING).limit(count_to)
    messages = tx.execute(select(func.count()).select_from(waiting.subquery())).scalar_one()
    oldest: datetime | None = tx.execute(
        select(func.min(tasks.c.waits_since)).where(
            tasks.c.due_at.is_not(None),
            tasks.c.state == TaskState.QUEUED,
            tasks.c.fence == 0,
            of_actors,
        )
    ).scalar()
    return Backlog(messages, 0.0 if oldest is None else (now - oldest).total_seconds())
