"""What happened to a task on its way: each failure, wait and decision, for whoever asks why.

A task that is simply done leaves no event: its row says when it was sent, begun and finished.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select

from mirt.store.tables import task_events


class EventKind(StrEnum):
    """What can happen to a task."""

    RETRIED = "retried"
    """An attempt failed; the next is made at ``until``."""
    RESTARTED = "restarted"
    """It was begun again after a run that did not end: its worker was lost."""
    DIED = "died"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One of them. ``attempt`` counts from 0; ``code`` is an error code or an error's class."""

    task_id: str
    kind: EventKind
    at: datetime
    attempt: int = 0
    code: str | None = None
    why: str | None = None
    until: datetime | None = None


def add_events(tx: Connection, *events: TaskEvent) -> None:
    """Write events down, in the transaction in which they happen."""
    if events:
        names = TaskEvent.__slots__
        tx.execute(insert(task_events), [{n: getattr(e, n) for n in names} for e in events])


def events_of(tx: Connection, task_ids: Collection[str]) -> list[TaskEvent]:
    """What happened to these tasks, in its order."""
    rows = tx.execute(
        select(*(task_events.c[name] for name in TaskEvent.__slots__))
        .where(task_events.c.task_id.in_(task_ids))
        .order_by(task_events.c.id)
    )
    return [TaskEvent(**{**row._mapping, "kind": EventKind(row.kind)}) for row in rows]
