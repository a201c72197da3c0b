"""Delete old rows that are no longer needed, in batches: statements are short and lock little."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, select

from mirt.store.queue.tasks import TaskState
from mirt.store.tables import deliveries, followups, inbox, task_events, tasks, turns

Old = Callable[[datetime], ColumnElement[bool]]
"""Condition of the rows that are older than a time."""


def _unreferenced(before: datetime) -> ColumnElement[bool]:
    # A turn is needed as long as its mail may ask for the reply, or its delivery exists.
    return and_(
        turns.c.answered_at < before,
        ~exists(select(inbox.c.id).where(inbox.c.turn_id == turns.c.id)),
        ~exists(select(deliveries.c.id).where(deliveries.c.id == turns.c.id)),
    )


OLD: Final[tuple[tuple[Table, Any, Old], ...]] = (
    (inbox, inbox.c.id, lambda before: inbox.c.finished_at < before),
    (deliveries, deliveries.c.id, lambda before: deliveries.c.finished_at < before),
    (turns, turns.c.id, _unreferenced),
    # A dead task stays: the replay of its dead letter needs it.
    (
        tasks,
        tasks.c.id,
        lambda before: and_(tasks.c.finished_at < before, tasks.c.state == TaskState.DONE),
    ),
    (followups, followups.c.task_id, lambda before: followups.c.taken_at < before),
    (task_events, task_events.c.id, lambda before: task_events.c.at < before),
)
"""Tables with their keys and the rows to delete, in the order of deletion. Conversations, orders
and dead letters stay."""


def remove_old(
    tx: Connection, table: Table, key: Any, old: Old, *, before: datetime, limit: int
) -> int:
    """Delete at most ``limit`` rows; return their number. Concurrent callers delete others."""
    chosen = select(key).where(old(before)).limit(limit).with_for_update(skip_locked=True)
    return tx.execute(delete(table).where(key.in_(chosen.scalar_subquery()))).rowcount
