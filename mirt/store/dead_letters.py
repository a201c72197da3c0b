"""Dead letters: what failed for good, with its why, until somebody decides about it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mirt.store.tables import dead_letters
from mirt.store.tasks import Publication
from mirt.store.upsert import upsert


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good. Its arguments are those that it was sent with."""

    task: Publication
    queue: str
    error_code: str
    exception: str
    traceback: str
    attempts: int
    trace_id: str | None
    sent_at: datetime


def write_dead_letter(tx: Connection, letter: DeadLetter, *, now: datetime) -> None:
    """Keep it; a task that died before and was run again has one dead letter, the latest."""
    died = {
        "error_code": letter.error_code,
        "exception": letter.exception,
        "traceback": letter.traceback,
        "attempts": letter.attempts,
        "died_at": now,
    }
    tx.execute(
        upsert(tx, dead_letters)
        .values(
            task_id=letter.task.task_id,
            actor=letter.task.actor,
            args=list(letter.task.args),
            kwargs=dict(letter.task.kwargs),
            options=dict(letter.task.options),
            queue=letter.queue,
            trace_id=letter.trace_id,
            sent_at=letter.sent_at,
            **died,
        )
        .on_conflict_do_update(index_elements=[dead_letters.c.task_id], set_=died)
    )
