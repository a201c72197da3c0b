"""Report and list the worker processes: a row each, which lives while its worker renews it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from mirt.store.engine.database import upsert
from mirt.store.tables import workers

PUBLISHING: Final = "publishing"
"""The key of a problem of a worker that is about no queue: it cannot publish."""
REPORT_EVERY: Final = timedelta(seconds=4)
"""Time between two reports of a worker."""
GONE_AFTER: Final = timedelta(seconds=12)
"""Three missing reports: a dead worker disappears within a quarter of a minute."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process as it reports itself. ``id`` is the name under which it holds leases.

    ``problems`` says why it receives nothing from a queue, or why it cannot publish (``PUBLISHING``
    is the key then).
    """

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
    clock_ahead_s: float | None = None
    """Seconds by which the clock of its machine is ahead of the database's; None if not told."""
    problems: Mapping[str, str] | None = None

    def receives(self, queue: str) -> bool:
        """Whether messages of the queue reach this worker."""
        return queue in self.queues and not self.stopping and queue not in (self.problems or {})


def report(tx: Connection, worker: WorkerRow) -> None:
    """Store the report of a living worker; delete workers that have long been gone."""
    tx.execute(delete(workers).where(workers.c.seen_at < worker.seen_at - 5 * GONE_AFTER))
    problems = dict(worker.problems) if worker.problems else None
    values = {**asdict(worker), "queues": list(worker.queues), "problems": problems}
    tx.execute(
        upsert(tx, workers)
        .values(values)
        .on_conflict_do_update(index_elements=[workers.c.id], set_=values)
    )


def leave(tx: Connection, worker_id: str) -> None:
    """Delete a worker that has stopped, or is known to be dead."""
    tx.execute(delete(workers).where(workers.c.id == worker_id))


def living(tx: Connection, *, now: datetime) -> list[WorkerRow]:
    """Return the workers that reported within ``GONE_AFTER``, by host and age."""
    rows = tx.execute(
        select(*(workers.c[name] for name in WorkerRow.__slots__))
        .where(workers.c.seen_at > now - GONE_AFTER)
        .order_by(workers.c.host, workers.c.started_at)
    )
    return [WorkerRow(*row) for row in rows]
