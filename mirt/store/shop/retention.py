"""What is over and old goes, in batches: no statement runs long, none locks much."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, select

from mirt.store.queue.tasks import TaskState
from mirt.store.tables import deliveries, followups, inbox, task_events, tasks, turns

Old = Callable[[datetime], ColumnElement[bool]]


def _unheard(before: datetime) -> ColumnElement[bool]:
    # A turn is needed for as long as a message may ask for its reply, or its delivery is not over.
    return and_(
        turns.c.answered_at < before,
        ~exists(select(inbox.c.id).where(inbox.c.turn_id == turns.c.id)),
        ~exists(select(deliveries.c.id).where(deliveries.c.id == turns.c.id)),
    )


OLD: Final[tuple[tuple[Table, Any, Old], ...]] = (
    (inbox, inbox.c.id, lambda before: inbox.c.finished_at < before),
    (deliveries, deliveries.c.id, lambda before: deliveries.c.finished_at < before),
    (turns, turns.c.id, _unheard),
    # A dead task is what its dead letter would be replayed with.
    (
        tasks,
        tasks.c.id,
        lambda before: and_(tasks.c.finished_at < before, tasks.c.state == TaskState.DONE),
    ),
    (followups, followups.c.task_id, lambda before: followups.c.taken_at < before),
    (task_events, task_events.c.id, lambda before: task_events.c.at < before),
)
"""Tables with the rows that go, in the order in which they may. Conversations, orders and dead
letters stay."""


def remove_old(
    tx: Connection, table: Table, key: Any, old: Old, *, before: datetime, limit: int
) -> int:
    """Remove at most ``limit`` rows; how many there were. Two at once remove different ones."""
    chosen = select(key).where(old(before)).limit(limit).with_for_update(skip_locked=True)
    return tx.execute(delete(table).where(key.in_(chosen.scalar_subquery()))).rowcount
