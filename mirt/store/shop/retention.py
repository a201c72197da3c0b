"""Delete old rows that are no longer needed, in batches: statements are short and lock little.

A table is walked in the order of an index, and each batch looks at a limited number of rows. So no
batch reads a whole table, and old rows that are still needed are looked at once in a walk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)

from mirt.store.queue.tasks import TaskState
from mirt.store.shop.orders import OVER, OrderState
from mirt.store.tables import (
    audit,
    conversations,
    dead_letters,
    deliveries,
    followups,
    handover_events,
    history,
    inbox,
    orders,
    task_events,
    tasks,
    turns,
)

Cursor = Sequence[Any]
"""The order columns of the last row that a walk has looked at."""


@dataclass(frozen=True, slots=True)
class OldRows:
    """The old rows of a table: how to walk them, and which of them may go.

    ``key`` is the primary key. ``order`` has the columns of the walk, the first one with an index.
    ``is_old`` limits the walk to rows from before a time.
    """

    table: Table
    key: ColumnElement[Any]
    order: tuple[ColumnElement[Any], ...]
    is_old: Callable[[datetime], ColumnElement[bool]]
    may_go: ColumnElement[bool] = true()  # noqa: RUF009 - immutable
    source: FromClause | None = None
    """The tables that the walk reads, if it needs more than its own."""
    emptied: Mapping[str, Any] | None = None
    """Values that a row gets instead of being deleted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The number of deleted rows, and the cursor of the next batch; None after the last one."""

    removed: int
    cursor: Cursor | None


def remove_batch(
    tx: Connection, rows: OldRows, *, before: datetime, cursor: Cursor | None, limit: int
) -> Batch:
    """Look at the next ``limit`` rows from before that time, and delete those that may go.

    Concurrent callers look at other rows.
    """
    walk = select(rows.key, *rows.order).where(rows.is_old(before))
    if rows.source is not None:
        walk = walk.select_from(rows.source)
    if cursor is not None:
        # The first condition is implied by the second, but only the first one uses the index.
        walk = walk.where(rows.order[0] >= cursor[0], tuple_(*rows.order) > tuple_(*cursor))
    found = tx.execute(
        walk.order_by(*rows.order).limit(limit).with_for_update(of=rows.table, skip_locked=True)
    ).all()
    keys = [row[0] for row in found]
    change = (
        delete(rows.table) if rows.emptied is None else update(rows.table).values(**rows.emptied)
    )
    removed = tx.execute(change.where(rows.key.in_(keys), rows.may_go)).rowcount
    return Batch(removed, found[-1][1:] if len(found) == limit else None)


def _is_unneeded(task_id: ColumnElement[str]) -> ColumnElement[bool]:
    # A task that waits or runs continues from these rows, and so does the replay of a dead letter.
    return and_(
        ~exists(select(dead_letters.c.id).where(dead_letters.c.task_id == task_id)),
        ~exists(select(tasks.c.id).where(tasks.c.id == task_id, tasks.c.due_at.is_not(None))),
    )


OLD: Final = (
    OldRows(
        inbox,
        inbox.c.id,
        (inbox.c.finished_at, inbox.c.id),
        lambda before: inbox.c.finished_at < before,
        _is_unneeded(func.coalesce(inbox.c.turn_id, inbox.c.task_id)),
    ),
    OldRows(
        deliveries,
        deliveries.c.id,
        (deliveries.c.finished_at, deliveries.c.id),
        lambda before: deliveries.c.finished_at < before,
        _is_unneeded(deliveries.c.id),
    ),
    OldRows(
        turns,
        turns.c.id,
        (turns.c.answered_at, turns.c.id),
        lambda before: turns.c.answered_at < before,
        # A turn is needed as long as its mail may ask for the reply, or its delivery exists.
        and_(
            _is_unneeded(turns.c.id),
            ~exists(select(inbox.c.id).where(inbox.c.turn_id == turns.c.id)),
            ~exists(select(deliveries.c.id).where(deliveries.c.id == turns.c.id)),
        ),
    ),
    OldRows(
        tasks,
        tasks.c.id,
        (tasks.c.finished_at, tasks.c.id),
        lambda before: tasks.c.finished_at < before,
        # The replay of a dead letter needs its task.
        or_(
            tasks.c.state == TaskState.DONE,
            ~exists(select(dead_letters.c.id).where(dead_letters.c.task_id == tasks.c.id)),
        ),
    ),
    OldRows(
        followups,
        followups.c.task_id,
        (followups.c.taken_at, followups.c.task_id),
        lambda before: followups.c.taken_at < before,
        _is_unneeded(followups.c.task_id),
    ),
    OldRows(
        history,
        history.c.id,
        (conversations.c.session_id, history.c.id),
        # The lines from before the customer began afresh: no summary will ever read them.
        lambda before: and_(
            conversations.c.restarted_after > 0,
            history.c.id <= conversations.c.restarted_after,
            history.c.created_at < before,
        ),
        source=conversations.join(history, history.c.session_id == conversations.c.session_id),
    ),
    OldRows(
        task_events,
        task_events.c.id,
        (task_events.c.at, task_events.c.id),
        lambda before: task_events.c.at < before,
    ),
    OldRows(
        handover_events,
        handover_events.c.id,
        (handover_events.c.at, handover_events.c.id),
        lambda before: handover_events.c.at < before,
    ),
)
"""The old rows of each table. Tables whose rows point at others come before them."""

ACTS: Final = OldRows(
    audit, audit.c.id, (audit.c.at, audit.c.id), lambda before: audit.c.at < before
)
"""The acts of operators, which have a retention of their own."""

SILENT: Final = (
    OldRows(
        history,
        history.c.id,
        (conversations.c.last_customer_at, conversations.c.session_id, history.c.id),
        lambda before: conversations.c.last_customer_at < before,
        source=conversations.join(history, history.c.session_id == conversations.c.session_id),
    ),
    OldRows(
        conversations,
        conversations.c.session_id,
        (conversations.c.last_customer_at, conversations.c.session_id),
        lambda before: conversations.c.last_customer_at < before,
        # A conversation in which something waits for an answer, or with a person, is not silent.
        and_(
            conversations.c.head_task_id.is_(None),
            conversations.c.handover_state.is_(None),
            ~exists(select(history.c.id).where(history.c.session_id == conversations.c.session_id)),
        ),
    ),
)
"""Conversations whose customer has been silent, with what was said in them."""

ORDERS: Final = OldRows(
    orders,
    orders.c.external_id,
    (orders.c.external_id,),
    lambda before: and_(
        orders.c.updated_at < before,
        orders.c.session_id != "",
        orders.c.state.in_([OrderState.CREATED, *OVER]),
    ),
    emptied={"order_data": {}, "session_id": "", "trace_id": "", "error": None},
)
"""Orders that are over. Their ids, state and status stay for the books."""

DEAD_LETTERS: Final = OldRows(
    dead_letters,
    dead_letters.c.id,
    (dead_letters.c.died_at, dead_letters.c.id),
    lambda before: dead_letters.c.died_at < before,
)
"""Tasks that failed for good. Their rows and texts follow with the next removal."""
