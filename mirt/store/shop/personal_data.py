"""Find, read and erase everything that is stored about one customer.

A row that other processes still ask for is emptied instead of deleted: the row of a task or of a
message keeps its id and nothing else. So a wake-up call that is still in RabbitMQ, a webhook that
is sent once more, and a worker that is answering at this moment find that there is nothing to do,
and write nothing back. ``mirt.store.shop.retention`` removes these rows later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from mirt.store.queue.audit import forget_in_audit
from mirt.store.queue.pauses import PauseKind, Subject
from mirt.store.queue.tasks import TaskState
from mirt.store.shop.mailbox import MailState
from mirt.store.shop.orders import OrderState
from mirt.store.tables import (
    conversations,
    dead_letters,
    deliveries,
    followups,
    handover_events,
    history,
    inbox,
    orders,
    pauses,
    task_events,
    tasks,
    turns,
)
from mirt.task_names import TaskName

BATCH: Final = 500
"""Ids in one statement."""

_TASK_OF: Final[Mapping[Table, ColumnElement[str]]] = {
    tasks: tasks.c.id,
    inbox: inbox.c.task_id,
    turns: turns.c.id,
    deliveries: deliveries.c.id,
    orders: orders.c.task_id,
    followups: followups.c.task_id,
    dead_letters: dead_letters.c.task_id,
}
"""The tables that name both a conversation and a task."""
_BY_TASK: Final[Mapping[Table, ColumnElement[str]]] = {
    task_events: task_events.c.task_id,
    dead_letters: dead_letters.c.task_id,
    tasks: tasks.c.id,
}
"""The tables whose rows are found by their task, in the order in which they are erased."""
_BY_SESSION: Final = (
    deliveries,
    turns,
    history,
    followups,
    handover_events,
    orders,
    inbox,
    pauses,
    conversations,
)
"""The tables whose rows are found by their conversation, in the order in which they are erased."""
PERSONAL: Final = (*_BY_TASK, *_BY_SESSION)
"""All tables with personal data. The audit names a conversation, and is emptied of it too."""


@dataclass(frozen=True, slots=True)
class Person:
    """A customer: the names of the conversation, and the actors of all tasks about them, by id.

    The actor is empty for a task that has no row any more.
    """

    names: Sequence[str]
    tasks: Mapping[str, str] = field(default_factory=dict)

    def batches(self) -> Iterator[Sequence[str]]:
        """Yield the ids of the tasks in order, some at a time."""
        ids = sorted(self.tasks)
        for start in range(0, len(ids), BATCH):
            yield ids[start : start + BATCH]


def find_person(tx: Connection, session_id: str) -> Person:
    """Return the customer of a conversation, who may be unknown.

    A reply that was sent to the chat without naming a conversation is named for the chat. It is
    the customer's, unless others write in the same chat.
    """
    c = conversations.c
    chat = tx.execute(select(c.chat_id, c.platform).where(c.session_id == session_id)).first()
    names = [session_id]
    if chat is not None and chat.chat_id not in (None, session_id):
        others = select(c.session_id).where(
            or_(c.session_id == chat.chat_id, c.chat_id == chat.chat_id), c.session_id != session_id
        )
        if tx.execute(others.limit(1)).first() is None:
            names.append(chat.chat_id)
    found = {
        task_id: ""
        for table, column in _TASK_OF.items()
        for task_id in tx.execute(select(column).where(_is_about(table, names))).scalars()
    }
    for ids in Person(names, found).batches():
        rows = tx.execute(select(tasks.c.id, tasks.c.actor).where(tasks.c.id.in_(ids)))
        found |= {row.id: row.actor for row in rows}
    return Person(names, found)


def count_rows(tx: Connection, person: Person) -> dict[str, int]:
    """Return how many rows of each table are about the customer, without the tables of none."""
    return {table.name: count for table in PERSONAL if (count := _count(tx, table, person))}


def read_rows(tx: Connection, person: Person) -> dict[str, list[dict[str, Any]]]:
    """Return all rows about the customer, by table, as they are stored."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in PERSONAL:
        rows = [
            dict(row)
            for condition in _conditions(table, person)
            for row in tx.execute(select(table).where(condition)).mappings()
        ]
        if rows:
            found[table.name] = rows
    return found


def lock_person(tx: Connection, person: Person) -> None:
    """Lock the tasks and the conversation, in the order in which a turn locks them."""
    for ids in person.batches():
        locked = select(tasks.c.id).where(tasks.c.id.in_(ids)).order_by(tasks.c.id)
        tx.execute(locked.with_for_update()).all()
    locked = select(conversations.c.session_id).where(_is_about(conversations, person.names))
    tx.execute(locked.with_for_update()).all()


def erase(tx: Connection, person: Person, *, now: datetime) -> dict[str, int]:
    """Erase the customer, and return how many rows of each table were about them.

    The caller has locked the customer. A task that runs loses its lease. An order that is not in
    the CRM yet is never created; of the others only the sum is kept.
    """
    found = count_rows(tx, person)
    for condition in _conditions(orders, person):
        tx.execute(delete(orders).where(condition, orders.c.state == OrderState.NEEDS_APPROVAL))
    for table in PERSONAL:
        for condition in _conditions(table, person):
            _erase(tx, table, condition, now)
    acts = sum(forget_in_audit(tx, name) for name in person.names)
    return found | ({"audit": acts} if acts else {})


def _erase(tx: Connection, table: Table, condition: ColumnElement[bool], now: datetime) -> None:
    if table is tasks:
        tx.execute(update(tasks).where(condition).values(**_EMPTY_TASK, finished_at=now))
    elif table is inbox:
        finished = func.coalesce(inbox.c.finished_at, now)
        tx.execute(update(inbox).where(condition).values(**_EMPTY_MAIL, finished_at=finished))
    elif table is orders:
        _empty_orders(tx, condition, now)
    else:
        tx.execute(delete(table).where(condition))


_EMPTY_TASK: Final[Mapping[str, Any]] = {
    "args": [],
    "kwargs": {},
    "options": {},
    "trace_id": None,
    "session_id": None,
    "state": TaskState.DONE,
    "due_at": None,
    "owner": None,
    "fence": tasks.c.fence + 1,
    "starts": 0,
    "held_by": None,
    "error_code": None,
    "cancelled_by": None,
}
_EMPTY_MAIL: Final[Mapping[str, Any]] = {
    "session_id": "",
    "text": "",
    "chat_id": None,
    "user_id": None,
    "message_id": None,
    "metadata": {},
    "trace_id": "",
    "trace_context": {},
    "state": MailState.ANSWERED,
    "turn_id": None,
}


def _empty_orders(tx: Connection, condition: ColumnElement[bool], now: datetime) -> None:
    """Keep what the books need of each order: its ids, its state and its sum."""
    is_lost = orders.c.state == OrderState.ASKING
    is_open = orders.c.state.in_([OrderState.CREATING, OrderState.ASKING, OrderState.UNKNOWN])
    rows = tx.execute(select(orders.c.external_id, orders.c.order_data).where(condition)).all()
    for external_id, data in rows:
        tx.execute(
            update(orders)
            .where(orders.c.external_id == external_id)
            .values(
                order_data=_sum_of(data or {}),
                session_id="",
                trace_id="",
                error=None,
                unknown=orders.c.unknown + case((is_lost, 1), else_=0),
                state=case((is_open, OrderState.FAILED), else_=orders.c.state),
                updated_at=case((is_open, now), else_=orders.c.updated_at),
            )
        )


def _sum_of(data: Mapping[str, Any]) -> dict[str, Any]:
    items = [
        {"price": item.get("price"), "quantity": item.get("quantity")}
        for item in data.get("items") or ()
    ]
    return {"items": items} if items else {}


def _count(tx: Connection, table: Table, person: Person) -> int:
    counted = select(func.count()).select_from(table)
    return sum(
        tx.execute(counted.where(condition)).scalar_one()
        for condition in _conditions(table, person)
    )


def _conditions(table: Table, person: Person) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that no row meets twice: together they are the rows about the customer."""
    if table not in _BY_TASK:
        yield _is_about(table, person.names)
    if (task_id := _TASK_OF.get(table, _BY_TASK.get(table))) is None:
        return
    for ids in person.batches():
        is_found = task_id.in_(ids)
        # What the staff is told of a customer is a delivery of their own conversation.
        yield is_found if table in _BY_TASK else and_(is_found, ~_is_about(table, person.names))


def _is_about(table: Table, names: Sequence[str]) -> ColumnElement[bool]:
    if table is pauses:
        return pauses.c.subject.in_([str(Subject(PauseKind.CONVERSATION, one)) for one in names])
    is_named = table.c.session_id.in_(names)
    if table is not tasks:
        return is_named
    # A text that Python code sends to a chat names no conversation.
    chats = (tasks.c.kwargs["chat_id"].as_string(), tasks.c.args[1].as_string())
    is_sent = and_(
        tasks.c.session_id.is_(None),
        tasks.c.actor == TaskName.SEND_RESPONSE,
        or_(*(chat.in_(names) for chat in chats)),
    )
    return or_(is_named, is_sent)
