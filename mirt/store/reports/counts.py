"""Count rows of the whole service for the metrics, with one query each."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, func, select

from mirt.store.tables import conversations, dead_letters, deliveries, orders, tasks


def open_tasks(tx: Connection) -> Iterator[tuple[str, str, int]]:
    """Yield task, state and number of the tasks that are not over. Uses a partial index."""
    rows = tx.execute(
        select(tasks.c.actor, tasks.c.state, func.count())
        .where(tasks.c.due_at.is_not(None))
        .group_by(tasks.c.actor, tasks.c.state)
    )
    yield from ((actor, state, count) for actor, state, count in rows)


def outbox_due_since(tx: Connection) -> datetime | None:
    """Return when the task was due that is due for longest; None if there is none."""
    due_at: datetime | None = tx.execute(select(func.min(tasks.c.due_at))).scalar_one()
    return due_at


def unreachable_conversations(tx: Connection) -> int:
    """Return the number of conversations whose customers take no messages. A partial index."""
    unreachable = conversations.c.unreachable_since.is_not(None)
    return int(tx.execute(select(func.count()).where(unreachable)).scalar_one())


def dead_by_code(tx: Connection) -> Iterator[tuple[str, str, int]]:
    """Yield task, error code and number of dead letters."""
    rows = tx.execute(
        select(dead_letters.c.actor, dead_letters.c.error_code, func.count()).group_by(
            dead_letters.c.actor, dead_letters.c.error_code
        )
    )
    yield from ((actor, code, count) for actor, code, count in rows)


def unknown_outcomes(tx: Connection) -> dict[str, int]:
    """Return the number of requests with an unknown outcome, for replies and for orders.

    Uses partial indexes.
    """
    return {
        effect: int(
            tx.execute(select(func.coalesce(func.sum(unknown), 0)).where(unknown > 0)).scalar_one()
        )
        for effect, unknown in {"reply": deliveries.c.unknown, "order": orders.c.unknown}.items()
    }
