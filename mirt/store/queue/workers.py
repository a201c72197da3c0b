"""The workers, as they report themselves: a row each, for as long as it is renewed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from mirt.store.engine.database import upsert
from mirt.store.tables import workers

REPORT_EVERY: Final = timedelta(seconds=4)
GONE_AFTER: Final = timedelta(seconds=12)
"""Three reports that did not come: whoever is dead disappears within a quarter of a minute."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that runs tasks. ``id`` is the name under which it holds leases."""

    id: str
    host: str
    pid: int
    queues: Sequence[str]
    threads: int
    finished: int
    memory_mb: int
    stopping: bool
    started_at: datetime
    seen_at: datetime


def report(tx: Connection, worker: WorkerRow) -> None:
    """Say that it lives, and how it is. Those that have long been gone are forgotten."""
    tx.execute(delete(workers).where(workers.c.seen_at < worker.seen_at - 5 * GONE_AFTER))
    values = {**asdict(worker), "queues": list(worker.queues)}
    tx.execute(
        upsert(tx, workers)
        .values(values)
        .on_conflict_do_update(index_elements=[workers.c.id], set_=values)
    )


def leave(tx: Connection, worker_id: str) -> None:
    """Forget a worker that has stopped, or is known to be dead."""
    tx.execute(delete(workers).where(workers.c.id == worker_id))


def living(tx: Connection, *, now: datetime) -> list[WorkerRow]:
    """Those that have reported lately, by host and age."""
    rows = tx.execute(
        select(*(workers.c[name] for name in WorkerRow.__slots__))
        .where(workers.c.seen_at > now - GONE_AFTER)
        .order_by(workers.c.host, workers.c.started_at)
    )
    return [WorkerRow(*row) for row in rows]
