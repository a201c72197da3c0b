"""Record the last tick of each scheduled task: none runs twice, and a missed one is noticed."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mirt.clock import format_duration
from mirt.store.engine.database import upsert
from mirt.store.queue.tasks import TaskState
from mirt.store.tables import tasks, ticks


@dataclass(frozen=True, slots=True)
class Run:
    """The run of a tick: its state now, and how it has ended."""

    task_id: str
    state: TaskState
    took_s: float | None
    """Seconds of the last attempt, once it is over."""
    error_code: str | None

    @property
    def in_words(self) -> str:
        """The state for people: ``running``, ``done in 0.2 s``, ``dead (TIME_LIMIT)``."""
        if self.state is TaskState.DONE and self.took_s is not None:
            return f"done in {format_duration(self.took_s)}"
        return f"{self.state} ({self.error_code})" if self.error_code else str(self.state)


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


def runs(tx: Connection, task_ids: Collection[str]) -> dict[str, Run]:
    """Return the runs with these ids, by task; without those that retention has removed."""
    columns = (tasks.c.actor, tasks.c.id, tasks.c.state, tasks.c.error_code)
    times = (tasks.c.started_at, tasks.c.finished_at)
    found = tx.execute(select(*columns, *times).where(tasks.c.id.in_(task_ids)))
    return {
        row.actor: Run(
            row.id, TaskState(row.state), _took_s(row.started_at, row.finished_at), row.error_code
        )
        for row in found
    }


def _took_s(started_at: datetime | None, finished_at: datetime | None) -> float | None:
    if started_at is None or finished_at is None:
        return None
    return (finished_at - started_at).total_seconds()


def last_ticks(tx: Connection) -> dict[str, datetime]:
    """Return the last tick of each task that has one."""
    return {row.task: row.last_at for row in tx.execute(select(ticks))}
