"""Record the last tick of each scheduled task: none runs twice, and a missed one is noticed."""

from datetime import datetime

from sqlalchemy import Connection, select

from mirt.store.engine.database import upsert
from mirt.store.tables import ticks


def advance(tx: Connection, task: str, tick: datetime) -> bool:
    """Record the tick; return False if it, or a later one, is recorded already.

    Of two callers at once, one waits for the transaction of the other and then finds its tick.
    """
    advanced = tx.execute(
        upsert(tx, ticks)
        .values(task=task, last_at=tick)
        .on_conflict_do_update(
            index_elements=[ticks.c.task],
            set_={"last_at": tick},
            where=ticks.c.last_at < tick,
        )
        .returning(ticks.c.task)
    )
    return advanced.scalar_one_or_none() is not None


def last_ticks(tx: Connection) -> dict[str, datetime]:
    """Return the last tick of each task that has one."""
    return {row.task: row.last_at for row in tx.execute(select(ticks))}
