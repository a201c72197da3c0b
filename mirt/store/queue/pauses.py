"""Pause work by an operator: a row for each paused queue, task, channel or conversation.

A task of a paused subject is a delayed row that names it in ``held_by``, as an outage holds its
tasks (``mirt.store.queue.holds``). Its ``due_at`` lies in a far future, so the outbox leaves it
alone, and any number of paused tasks costs nothing.

    queued ──hold_paused──► delayed ──resume──► due, in their order, spread over some seconds

``claim`` starts no task of a paused subject, whatever a worker knows. A task is held under a lock
of the row of its pause, and ``resume`` locks the row first. So no task is held by a pause that is
over.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, or_, select

from mirt.store.engine.database import upsert
from mirt.store.engine.statements import Query, Statement
from mirt.store.queue.holds import release_held
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope
from mirt.store.tables import pauses, tasks

NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""When a paused task is due: unfinished tasks have a time, or nothing would find them."""
_HELD_BY: Final = "pause of "


class PauseKind(StrEnum):
    """The kinds of subjects that can be paused."""

    QUEUE = "queue"
    TASK = "task"
    CHANNEL = "channel"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Subject:
    """A queue, task, channel or conversation; its text, as ``queue llm``, is the key of a pause."""

    kind: PauseKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"

    @classmethod
    def read(cls, key: str) -> "Subject":
        """Return the subject of a key."""
        kind, _, name = key.partition(" ")
        return cls(PauseKind(kind), name)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause: since when, by which operator, and how many tasks it holds of how many.

    ``conversations`` counts a task of no conversation as one.
    """

    subject: Subject
    since: datetime
    operator: str
    tasks: int
    conversations: int


def pause(tx: Connection, subject: Subject, *, operator: str, now: datetime) -> bool:
    """Pause a subject; return False if it is paused already. Running tasks go on."""
    new = tx.execute(
        upsert(tx, pauses)
        .values(subject=str(subject), since=now, operator=operator)
        .on_conflict_do_nothing()
        .returning(pauses.c.subject)
    )
    return new.one_or_none() is not None


def resume(tx: Connection, subject: Subject, *, now: datetime) -> int | None:
    """End a pause: its tasks become due in the order of their age, spread over some seconds.

    Return their number; None if the subject is not paused.
    """
    ended = tx.execute(
        delete(pauses).where(pauses.c.subject == str(subject)).returning(pauses.c.subject)
    )
    if ended.one_or_none() is None:
        return None
    return release_held(tx, _HELD_BY + str(subject), now=now)


_READ: Final = Statement(lambda _: select(pauses.c.subject))


def reading_paused() -> Query:
    """Return the query for the keys of all paused subjects."""
    return _READ, {}


def hold_paused(
    tx: Connection, task: TaskMessage, subjects: Collection[str], *, now: datetime
) -> str | None:
    """(none), queued, due → delayed: hold a task if one of these subjects is paused.

    Return the key of the subject; None if none of them is paused. A task that runs, has ended or
    waits for something else stays as it is.
    """
    key = tx.execute(
        select(pauses.c.subject)
        .where(pauses.c.subject.in_(subjects))
        .order_by(pauses.c.since)
        .limit(1)
        .with_for_update(read=True)
    ).scalar_one_or_none()
    if key is None:
        return None
    held = {
        "state": TaskState.DELAYED,
        "owner": None,
        "due_at": NEVER,
        "held_by": _HELD_BY + str(key),
    }
    may_start = or_(
        tasks.c.state == TaskState.QUEUED,
        and_(tasks.c.state == TaskState.DELAYED, tasks.c.due_at <= now),
    )
    tx.execute(
        upsert(tx, tasks)
        .values(**envelope(task), **held, created_at=now)
        .on_conflict_do_update(index_elements=[tasks.c.id], set_=held, where=may_start)
    )
    return str(key)


def all_pauses(tx: Connection) -> list[Pause]:
    """Return all pauses, the oldest first, with the number of tasks that each holds."""
    is_held = and_(
        tasks.c.held_by == _HELD_BY + pauses.c.subject, tasks.c.state == TaskState.DELAYED
    )
    counts: tuple[Any, ...] = (
        func.count(tasks.c.id),
        func.count(func.coalesce(tasks.c.session_id, tasks.c.id).distinct()),
    )
    rows = tx.execute(
        select(pauses.c.subject, pauses.c.since, pauses.c.operator, *counts)
        .outerjoin(tasks, is_held)
        .group_by(pauses.c.subject, pauses.c.since, pauses.c.operator)
        .order_by(pauses.c.since)
    )
    return [Pause(Subject.read(key), *rest) for key, *rest in rows]


def paused_subject(held_by: str) -> Subject | None:
    """Return the paused subject that holds a task; None if an outage holds it."""
    if not held_by.startswith(_HELD_BY):
        return None
    return Subject.read(held_by.removeprefix(_HELD_BY))
