"""Record and read the events of tasks: each failure, restart and decision of an operator.

A task that is simply done has no event: its row says when it was sent, started and finished.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select

from mirt.store.tables import task_events


class EventKind(StrEnum):
    """The kinds of events of a task."""

    RETRIED = "retried"
    """An attempt failed; the next one is due at ``until``."""
    RESTARTED = "restarted"
    """The task was started again after a run that did not end: its worker was lost."""
    UNKNOWN_TASK = "unknown_task"
    """A worker met the task that does not know it; others may run it ``until`` then."""
    DIED = "died"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    PURGED = "purged"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event. ``attempt`` counts from 0; ``code`` is an error code or the class of an error."""

    task_id: str
    kind: EventKind
    at: datetime
    attempt: int = 0
    code: str | None = None
    why: str | None = None
    until: datetime | None = None


def add_events(tx: Connection, *events: TaskEvent) -> None:
    """Store events, in the transaction in which they happen."""
    if events:
        names = TaskEvent.__slots__
        tx.execute(insert(task_events), [{n: getattr(e, n) for n in names} for e in events])


def first_event(
    tx: Connection, task_id: str, kind: EventKind, *, since: datetime | None
) -> datetime | None:
    """Return the time of the first event of this kind, from ``since`` on; None if there is none."""
    first = select(func.min(task_events.c.at)).where(
        task_events.c.task_id == task_id, task_events.c.kind == kind
    )
    if since is not None:
        first = first.where(task_events.c.at >= since)
    found: datetime | None = tx.execute(first).scalar()
    return found


def events_of(tx: Connection, task_ids: Collection[str]) -> list[TaskEvent]:
    """Return the events of these tasks, in the order in which they happened."""
    rows = tx.execute(
        select(*(task_events.c[name] for name in TaskEvent.__slots__))
        .where(task_events.c.task_id.in_(task_ids))
        .order_by(task_events.c.id)
    )
    return [TaskEvent(**{**row._mapping, "kind": EventKind(row.kind)}) for row in rows]
