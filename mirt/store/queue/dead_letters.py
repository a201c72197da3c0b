"""Dead letters: what failed for good, with its why, until somebody decides about it."""

import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select

from mirt.store.engine.database import upsert
from mirt.store.queue import leases
from mirt.store.queue.events import EventKind, TaskEvent, add_events
from mirt.store.queue.leases import Lease
from mirt.store.queue.outbox import REPUBLISH_AFTER
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope, session_of
from mirt.store.tables import dead_letters, tasks

LONGEST_TRACEBACK: Final = 20_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good. Its arguments are those that it was sent with."""

    task: TaskMessage
    queue: str
    error_code: str
    exception: str
    traceback: str
    attempts: int
    trace_id: str | None
    sent_at: datetime
    died_at: datetime | None = None

    @property
    def session_id(self) -> str | None:
        """The conversation that it is about."""
        return session_of(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant: those that match everything that is given.

    ``until`` leaves out what has died after somebody counted them.
    """

    task_ids: Sequence[str] | None = None
    queue: str | None = None
    actor: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    session_id: str | None = None


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
            session_id=session_of(letter.task),
            trace_id=letter.trace_id,
            sent_at=letter.sent_at,
            **died,
        )
        .on_conflict_do_update(index_elements=[dead_letters.c.task_id], set_=died)
    )


def bury_unbegun(tx: Connection, letter: DeadLetter, *, now: datetime) -> bool:
    """(none), queued → dead, with this letter; the row knows how old the task is, and its attempts.

    False, and nothing is written, when its row says that it is not for us to end: somebody has it,
    its delay is not over, or it is over.
    """
    ended = {
        "state": TaskState.DEAD,
        "owner": None,
        "due_at": None,
        "finished_at": now,
        "error_code": letter.error_code,
    }
    row = tx.execute(
        upsert(tx, tasks)
        .values(**envelope(letter.task), **ended, created_at=letter.sent_at)
        .on_conflict_do_update(
            index_elements=[tasks.c.id], set_=ended, where=tasks.c.state == TaskState.QUEUED
        )
        .returning(tasks.c.created_at, tasks.c.attempt)
    ).one_or_none()
    if row is None:
        return False
    letter = replace(letter, sent_at=row.created_at, attempts=row.attempt)
    write_dead_letter(tx, letter, now=now)
    code, why = letter.error_code, letter.exception
    add_events(tx, TaskEvent(letter.task.task_id, EventKind.DIED, now, row.attempt, code, why))
    return True


def write_failure(
    tx: Connection,
    lease: Lease,
    task: TaskMessage,
    error: BaseException,
    error_code: str,
    *,
    queue: str,
    now: datetime,
) -> None:
    """Running → dead, with a letter that says all that somebody needs to understand the failure."""
    leases.mark_dead(tx, lease, error_code=error_code, now=now)
    lines = "".join(traceback.format_exception(error))
    letter = DeadLetter(
        task=task,
        queue=queue,
        error_code=error_code,
        exception=f"{type(error).__name__}: {error}",
        traceback=lines[-LONGEST_TRACEBACK:],
        attempts=lease.attempt + 1,
        trace_id=task.options.get("trace_id"),
        # A message is of the last publication; the row is as old as the task.
        sent_at=lease.created_at or now,
    )
    write_dead_letter(tx, letter, now=now)
    why = str(error)
    add_events(tx, TaskEvent(lease.task_id, EventKind.DIED, now, lease.attempt, error_code, why))


def list_dead(
    tx: Connection, choice: DeadLetterFilter, *, limit: int = 100, offset: int = 0
) -> list[DeadLetter]:
    """The dead letters that are meant, the latest first."""
    rows = tx.execute(
        select(dead_letters)
        .where(*_meant(choice))
        .order_by(dead_letters.c.died_at.desc(), dead_letters.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [_letter(row) for row in rows]


def count_dead(tx: Connection, choice: DeadLetterFilter) -> int:
    """How many are meant."""
    return tx.execute(
        select(func.count()).select_from(dead_letters).where(*_meant(choice))
    ).scalar_one()


def discard_dead(tx: Connection, choice: DeadLetterFilter, *, now: datetime) -> int:
    """Forget them for good; how many there were. Their tasks stay dead."""
    gone = tx.execute(
        delete(dead_letters).where(*_meant(choice)).returning(dead_letters.c.task_id)
    ).scalars()
    events = [TaskEvent(task_id, EventKind.DISCARDED, now) for task_id in gone]
    add_events(tx, *events)
    return len(events)


def take_dead(
    tx: Connection, choice: DeadLetterFilter, *, actors: Collection[str], limit: int
) -> list[DeadLetter]:
    """Take dead letters of these actors out, to be run again; the others stay as they are.

    Two callers at once take different ones.
    """
    chosen = (
        select(dead_letters.c.id)
        .where(*_meant(choice), dead_letters.c.actor.in_(actors))
        .order_by(dead_letters.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = tx.execute(
        delete(dead_letters)
        .where(dead_letters.c.id.in_(chosen.scalar_subquery()))
        .returning(dead_letters)
    )
    return sorted(map(_letter, rows), key=lambda letter: letter.sent_at)


def revive(tx: Connection, task: TaskMessage, *, now: datetime) -> bool:
    """Dead → queued, as if it had never been started; False if it is alive or done by now."""
    fresh = {
        "state": TaskState.QUEUED,
        "owner": None,
        "attempt": 0,
        "starts": 0,
        "waited_s": 0,
        "error_code": None,
        "finished_at": None,
        "published_at": now,
        "waits_since": now,
        "due_at": now + REPUBLISH_AFTER,
    }
    revived = tx.execute(
        upsert(tx, tasks)
        .values(**envelope(task), **fresh, created_at=now)
        .on_conflict_do_update(
            index_elements=[tasks.c.id], set_=fresh, where=tasks.c.state == TaskState.DEAD
        )
        .returning(tasks.c.id)
    )
    return revived.scalar_one_or_none() is not None


def delete_revived(tx: Connection, task_id: str) -> None:
    """Take a revived task away: what it is about waits elsewhere, and comes back from there."""
    tx.execute(delete(tasks).where(tasks.c.id == task_id, tasks.c.state == TaskState.QUEUED))


def _meant(choice: DeadLetterFilter) -> list[ColumnElement[bool]]:
    c = dead_letters.c
    wanted = {
        c.queue: choice.queue,
        c.actor: choice.actor,
        c.error_code: choice.error_code,
        c.session_id: choice.session_id,
    }
    meant = [column == value for column, value in wanted.items() if value is not None]
    if choice.task_ids is not None:
        meant.append(c.task_id.in_(choice.task_ids))
    if choice.since is not None:
        meant.append(c.died_at >= choice.since)
    if choice.until is not None:
        meant.append(c.died_at <= choice.until)
    return meant


def _letter(row: Row[Any]) -> DeadLetter:
    task = TaskMessage(row.task_id, row.actor, row.args, row.kwargs, row.options)
    return DeadLetter(
        task=task,
        queue=row.queue,
        error_code=row.error_code,
        exception=row.exception,
        traceback=row.traceback,
        attempts=row.attempts,
        trace_id=row.trace_id,
        sent_at=row.sent_at,
        died_at=row.died_at,
    )
