"""Write, list, replay and discard dead letters: tasks that failed for good, with their errors.

A dead letter stays until an operator replays or discards it.
"""

import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)

from mirt.store.engine.database import upsert
from mirt.store.queue import leases
from mirt.store.queue.causes import cause_of
from mirt.store.queue.events import EventKind, TaskEvent, add_events, first_event
from mirt.store.queue.leases import Lease
from mirt.store.queue.outbox import REPUBLISH_AFTER
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope, session_of
from mirt.store.tables import dead_letters, tasks

MOST_NAMED: Final = 5
"""Task ids that the description of a filter names."""
LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that are kept, counted from its end."""


_CAUSE: Final = func.coalesce(dead_letters.c.cause, "")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good, with the arguments that it was sent with."""

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
        """The conversation of the task, if it has one."""
        return session_of(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """A filter of dead letters: they match every criterion that is not None.

    ``until`` leaves out tasks that died after the operator counted the dead letters.
    """

    task_ids: Sequence[str] | None = None
    queue: str | None = None
    actor: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    session_id: str | None = None
    cause: str | None = None
    """As a group of dead letters has it (``group_dead``)."""
    argument: str | None = None
    """Text that the arguments contain."""

    def in_words(self) -> str:
        """Describe the criteria for the audit, without the moment of the count."""
        ids = self.task_ids or ()
        criteria = {
            "queue": self.queue,
            "task": self.actor,
            "code": self.error_code,
            "conversation": self.session_id,
            "of": None if self.cause is None else "one cause",
            "with": None if self.argument is None else "a text in the arguments",
            "since": None if self.since is None else f"{self.since:%Y-%m-%d %H:%M:%S} UTC",
        }
        words = [f"{name} {value}" for name, value in criteria.items() if value is not None]
        named = ", ".join(ids[:MOST_NAMED]) + (" and others" if len(ids) > MOST_NAMED else "")
        return ", ".join([named, *words] if ids else words) or "all dead letters"


def write_dead_letter(tx: Connection, dead_letter: DeadLetter, *, now: datetime) -> None:
    """Store the dead letter. A task has only one: a later death replaces the error."""
    died = {
        "error_code": dead_letter.error_code,
        "exception": dead_letter.exception,
        "cause": cause_of(dead_letter.exception),
        "traceback": dead_letter.traceback,
        "attempts": dead_letter.attempts,
        "died_at": now,
    }
    tx.execute(
        upsert(tx, dead_letters)
        .values(
            task_id=dead_letter.task.task_id,
            actor=dead_letter.task.actor,
            args=list(dead_letter.task.args),
            kwargs=dict(dead_letter.task.kwargs),
            options=dict(dead_letter.task.options),
            queue=dead_letter.queue,
            session_id=session_of(dead_letter.task),
            trace_id=dead_letter.trace_id,
            sent_at=dead_letter.sent_at,
            **died,
        )
        .on_conflict_do_update(index_elements=[dead_letters.c.task_id], set_=died)
    )


def wait_for_newer_version(
    tx: Connection, task: TaskMessage, *, patience: timedelta, now: datetime, due_at: datetime
) -> bool:
    """(none), queued → queued: publish a task again at ``due_at`` that this version does not know.

    A newer version may run it then. Return False, and change nothing, if no version has run it for
    ``patience`` since a worker first met it, or if it is not queued.
    """
    row = {
        **envelope(task),
        "state": TaskState.QUEUED,
        "due_at": due_at,
        "published_at": now,
        "publications": 1,
        "created_at": now,
        "waits_since": now,
    }
    tx.execute(upsert(tx, tasks).values(row).on_conflict_do_nothing())
    this = tasks.c.id == task.task_id
    kept = tx.execute(
        select(tasks.c.state, tasks.c.waits_since).where(this).with_for_update()
    ).one()
    if kept.state != TaskState.QUEUED:
        return False
    first = first_event(tx, task.task_id, EventKind.UNKNOWN_TASK, since=kept.waits_since)
    if first is None:
        add_events(tx, TaskEvent(task.task_id, EventKind.UNKNOWN_TASK, now, until=now + patience))
    elif first <= now - patience:
        return False
    tx.execute(update(tasks).where(this).values(due_at=due_at))
    return True


def bury_unbegun(tx: Connection, dead_letter: DeadLetter, *, now: datetime) -> bool:
    """(none), queued → dead, with this dead letter; return whether the task was ended.

    The age and the attempts come from the row of the task. Nothing is written if the row says that
    the task is running, delayed, done or dead.
    """
    ended = _ended(dead_letter, now)
    row = tx.execute(
        upsert(tx, tasks)
        .values(**envelope(dead_letter.task), **ended, created_at=dead_letter.sent_at)
        .on_conflict_do_update(
            index_elements=[tasks.c.id], set_=ended, where=tasks.c.state == TaskState.QUEUED
        )
        .returning(tasks.c.created_at, tasks.c.attempt)
    ).one_or_none()
    if row is None:
        return False
    dead_letter = replace(dead_letter, sent_at=row.created_at, attempts=row.attempt)
    write_dead_letter(tx, dead_letter, now=now)
    code, why = dead_letter.error_code, dead_letter.exception
    add_events(tx, TaskEvent(dead_letter.task.task_id, EventKind.DIED, now, row.attempt, code, why))
    return True


def bury_without_row(tx: Connection, dead_letter: DeadLetter, *, now: datetime) -> bool:
    """(none) → dead, with this dead letter; return whether the task had no row."""
    row = {
        **envelope(dead_letter.task),
        **_ended(dead_letter, now),
        "created_at": dead_letter.sent_at,
    }
    added = tx.execute(
        upsert(tx, tasks).values(row).on_conflict_do_nothing().returning(tasks.c.id)
    ).one_or_none()
    if added is None:
        return False
    write_dead_letter(tx, dead_letter, now=now)
    code, why = dead_letter.error_code, dead_letter.exception
    add_events(tx, TaskEvent(dead_letter.task.task_id, EventKind.DIED, now, 0, code, why))
    return True


def _ended(dead_letter: DeadLetter, now: datetime) -> dict[str, Any]:
    return {
        "state": TaskState.DEAD,
        "owner": None,
        "due_at": None,
        "finished_at": now,
        "held_by": None,
        "error_code": dead_letter.error_code,
    }


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
    """Running → dead, with a dead letter that has all an operator needs to understand the failure.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    leases.mark_dead(tx, lease, error_code=error_code, now=now)
    lines = "".join(traceback.format_exception(error))
    dead_letter = DeadLetter(
        task=task,
        queue=queue,
        error_code=error_code,
        exception=f"{type(error).__name__}: {error}",
        traceback=lines[-LONGEST_TRACEBACK:],
        attempts=lease.attempt + 1,
        trace_id=task.options.get("trace_id"),
        # The message is as old as its last publication. The row is as old as the task.
        sent_at=lease.created_at or now,
    )
    write_dead_letter(tx, dead_letter, now=now)
    why = str(error)
    add_events(tx, TaskEvent(lease.task_id, EventKind.DIED, now, lease.attempt, error_code, why))


def list_dead(
    tx: Connection, criteria: DeadLetterFilter, *, limit: int = 100, offset: int = 0
) -> list[DeadLetter]:
    """Return the dead letters that match, the latest first."""
    rows = tx.execute(
        select(dead_letters)
        .where(*_conditions(criteria))
        .order_by(dead_letters.c.died_at.desc(), dead_letters.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [_dead_letter(row) for row in rows]


def find_dead(tx: Connection, task_id: str) -> DeadLetter | None:
    """Return the dead letter of a task; None if the task has none."""
    return next(iter(list_dead(tx, DeadLetterFilter(task_ids=[task_id]), limit=1)), None)


def count_dead(tx: Connection, criteria: DeadLetterFilter) -> int:
    """Return the number of dead letters that match."""
    return tx.execute(
        select(func.count()).select_from(dead_letters).where(*_conditions(criteria))
    ).scalar_one()


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Dead letters of one task with the same code and cause, and when the first and last failed."""

    count: int
    error_code: str
    actor: str
    cause: str
    first_at: datetime
    last_at: datetime


def group_dead(
    tx: Connection, criteria: DeadLetterFilter, *, limit: int = 100
) -> list[DeadLetterGroup]:
    """Return the groups of the dead letters that match, the largest first."""
    c = dead_letters.c
    count = func.count()
    keys = (c.error_code, c.actor, _CAUSE)
    rows = tx.execute(
        select(count, *keys, func.min(c.died_at), func.max(c.died_at))
        .where(*_conditions(criteria))
        .group_by(*keys)
        .order_by(count.desc(), func.max(c.died_at).desc())
        .limit(limit)
    )
    return [DeadLetterGroup(*row) for row in rows]


def replace_arguments(tx: Connection, task_id: str, arguments: Mapping[str, Any]) -> None:
    """Give a task that was revived other arguments; all of them by name."""
    tx.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.state == TaskState.QUEUED)
        .values(args=[], kwargs=dict(arguments))
    )


def discard_dead(tx: Connection, criteria: DeadLetterFilter, *, now: datetime) -> int:
    """Delete the dead letters that match; return their number. Their tasks stay dead."""
    discarded = tx.execute(
        delete(dead_letters).where(*_conditions(criteria)).returning(dead_letters.c.task_id)
    ).scalars()
    events = [TaskEvent(task_id, EventKind.DISCARDED, now) for task_id in discarded]
    add_events(tx, *events)
    return len(events)


def take_dead(
    tx: Connection, criteria: DeadLetterFilter, *, actors: Collection[str], limit: int
) -> list[DeadLetter]:
    """Delete and return dead letters of these actors, for their replay; others stay.

    Concurrent callers take different dead letters. The result is ordered by the age of the tasks.
    """
    chosen = (
        select(dead_letters.c.id)
        .where(*_conditions(criteria), dead_letters.c.actor.in_(actors))
        .order_by(dead_letters.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = tx.execute(
        delete(dead_letters)
        .where(dead_letters.c.id.in_(chosen.scalar_subquery()))
        .returning(dead_letters)
    )
    return sorted(map(_dead_letter, rows), key=lambda dead_letter: dead_letter.sent_at)


def revive(tx: Connection, task: TaskMessage, *, now: datetime) -> bool:
    """Dead → queued, as if the task had never started; return False if it is not dead any more."""
    fresh = {
        "state": TaskState.QUEUED,
        "owner": None,
        "attempt": 0,
        "starts": 0,
        "waited_s": 0,
        "held_by": None,
        "held_since": None,
        "cancelled_by": None,
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
    """Delete a revived task that is queued: its mail waits in the mailbox and gets a task there."""
    tx.execute(delete(tasks).where(tasks.c.id == task_id, tasks.c.state == TaskState.QUEUED))


def _conditions(criteria: DeadLetterFilter) -> list[ColumnElement[bool]]:
    c = dead_letters.c
    wanted = {
        c.queue: criteria.queue,
        c.actor: criteria.actor,
        c.error_code: criteria.error_code,
        c.session_id: criteria.session_id,
    }
    conditions = [column == value for column, value in wanted.items() if value is not None]
    if criteria.cause is not None:
        conditions.append(_CAUSE.in_([criteria.cause]))
    if criteria.argument is not None:
        written = (cast(column, Text) for column in (c.kwargs, c.args))
        conditions.append(
            or_(*(one.contains(criteria.argument, autoescape=True) for one in written))
        )
    if criteria.task_ids is not None:
        conditions.append(c.task_id.in_(criteria.task_ids))
    if criteria.since is not None:
        conditions.append(c.died_at >= criteria.since)
    if criteria.until is not None:
        conditions.append(c.died_at <= criteria.until)
    return conditions


def _dead_letter(row: Row[Any]) -> DeadLetter:
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
