"""Read all rows of a conversation, a trace or a task, for the timeline."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, literal, or_, select, union_all

from mirt.store.queue.events import TaskEvent, events_of
from mirt.store.tables import (
    conversations,
    dead_letters,
    deliveries,
    followups,
    handover_events,
    inbox,
    orders,
    tasks,
    turns,
)

Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a timeline: a conversation, one trace, or a task that has neither."""

    session_id: str | None
    trace_id: str | None = None
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The rows of a subject, the latest first in each kind that has a limit."""

    messages: Rows
    tasks: Rows
    turns: Rows
    deliveries: Rows
    orders: Rows
    followups: Rows
    handovers: Rows
    dead: Rows
    events: list[TaskEvent]


def find_subject(tx: Connection, name: str) -> Subject | None:
    """Return the subject that has this id of a conversation, a trace, a task or a message, or None.

    A conversation comes before all others. Of several messages with the same id, the latest counts.
    """
    c = conversations.c
    found = tx.execute(
        union_all(
            select(literal(0).label("rank"), c.session_id, literal(None).label("trace_id")).where(
                c.session_id == name
            ),
            *(_found_in(table, name) for table in (tasks, dead_letters, inbox)),
            *(_traced_in(table, name) for table in (deliveries, orders)),
        ).order_by("rank")
    ).first()
    if found is None:
        return None
    alone = found.session_id is None and found.trace_id is None
    return Subject(found.session_id, found.trace_id, name if alone else None)


def sessions_of_message(tx: Connection, message_id: str, *, limit: int = 10) -> list[str]:
    """Return the conversations that have a message of this id; each chat counts from 1."""
    query = select(inbox.c.session_id).where(inbox.c.message_id == message_id).distinct()
    return list(tx.execute(query.order_by(inbox.c.session_id).limit(limit)).scalars())


def known_of(tx: Connection, subject: Subject, *, limit: int) -> Known:
    """Return the rows of a subject: at most ``limit`` of each kind, the latest ones.

    A message that was answered together with others belongs to the turn of the first one. That
    turn, its task and its reply are included, even if they carry another trace id.
    """
    mail = _latest(tx, inbox, subject, inbox.c.id, limit)
    answered_in = {row.turn_id for row in mail if row.turn_id}
    task_rows = _latest(tx, tasks, subject, tasks.c.created_at, limit, also=answered_in)
    ids = {row.id for row in task_rows} | {row.task_id for row in mail}
    dead = _latest(tx, dead_letters, subject, dead_letters.c.died_at, limit)
    ids |= {row.task_id for row in dead}
    of_turns = ids | answered_in
    sent = _latest(tx, deliveries, subject, deliveries.c.created_at, limit, also=answered_in)
    return Known(
        messages=mail,
        tasks=task_rows,
        turns=tx.execute(
            select(turns).where(turns.c.id.in_(of_turns | {row.id for row in sent}))
        ).all(),
        deliveries=sent,
        orders=_latest(tx, orders, subject, orders.c.created_at, limit),
        followups=tx.execute(select(followups).where(followups.c.task_id.in_(ids))).all(),
        handovers=_handovers(tx, subject, limit=limit),
        dead=dead,
        events=events_of(tx, of_turns),
    )


def _handovers(tx: Connection, subject: Subject, *, limit: int) -> Rows:
    """Return the moves between bot and people; a trace has none."""
    if subject.session_id is None or subject.trace_id is not None:
        return []
    c = handover_events.c
    query = select(handover_events).where(c.session_id == subject.session_id)
    return tx.execute(query.order_by(c.id.desc()).limit(limit)).all()


def _latest(
    tx: Connection,
    table: Table,
    subject: Subject,
    by: Any,
    limit: int,
    *,
    also: Collection[str] = (),
) -> Rows:
    own_id: ColumnElement[str] = table.c["id" if table in {tasks, deliveries} else "task_id"]
    condition: ColumnElement[bool]
    if subject.trace_id is not None:
        condition = table.c.trace_id == subject.trace_id
    elif subject.session_id is not None:
        condition = table.c.session_id == subject.session_id
    else:
        condition = own_id == subject.task_id
    if also:
        condition = or_(condition, own_id.in_(also))
    return tx.execute(select(table).where(condition).order_by(by.desc()).limit(limit)).all()


def _found_in(table: Table, name: str) -> Any:
    names = [table.c.trace_id, table.c.id if table is tasks else table.c.task_id]
    if table is inbox:
        names.append(table.c.message_id)
    return (
        select(literal(1), table.c.session_id, table.c.trace_id)
        .where(or_(*(column == name for column in names)))
        .order_by(table.c.id.desc())
        .limit(1)
        .subquery()
        .select()
    )


def _traced_in(table: Table, name: str) -> Any:
    return (
        select(literal(1), table.c.session_id, table.c.trace_id)
        .where(table.c.trace_id == name)
        .limit(1)
        .subquery()
        .select()
    )
