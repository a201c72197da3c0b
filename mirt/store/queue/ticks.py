"""The last tick of each scheduled task, so that none runs twice and a missed one is noticed."""

from datetime import datetime

from sqlalchemy import Connection, select

from mirt.store.engine.database import upsert
from mirt.store.tables import ticks


def advance(tx: Connection, task: str, tick: datetime) -> bool:
    """Note the tick unless it, or a later one, was noted before; whether it was new.

    Two at once: one waits for the other's transaction, and then finds its tick.
    """
    noted = tx.execute(
        upsert(tx, ticks)
        .values(task=task, last_at=tick)
        .on_conflict_do_update(
            index_elements=[ticks.c.task],
            set_={"last_at": tick},
            where=ticks.c.last_at < tick,
        )
        .returning(ticks.c.task)
    )
    return noted.scalar_one_or_none() is not None


def last_ticks(tx: Connection) -> dict[str, datetime]:
    """The last tick of each task that has had one."""
    return {row.task: row.last_at for row in tx.execute(select(ticks))}
