"""The life of an order on its way into the CRM.

(none) ──begin──► creating ──ask──► asking ──created──► created
                     ▲                ├──not_created──► creating (unknown: counted)
                     │                ├──rejected─────► rejected
                     │                └──(killed)─────► found asking: unknown, looked up
                     └──begin, by a later task── failed, rejected
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, or_, select, update

from mirt.store.tables import conversations, orders, tasks
from mirt.store.tasks import TaskState, storable
from mirt.store.upsert import upsert


class OrderState(StrEnum):
    """Where an order is."""

    CREATING = "creating"
    ASKING = "asking"
    CREATED = "created"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """An order as far as it has come. ``asked``: the CRM may know it."""

    external_id: str
    task_id: str
    state: OrderState
    asked: bool
    crm_order_id: str | None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What is kept of an order when its task begins."""

    external_id: str
    task_id: str
    session_id: str
    source: str
    order_data: Mapping[str, Any]
    trace_id: str


def begin(tx: Connection, order: NewOrder, *, now: datetime) -> KeptOrder:
    """Keep the order, unless it is kept; lock it until the transaction ends.

    It is this task's from now on, unless it is created or another living task's.
    """
    values = {
        "task_id": order.task_id,
        "session_id": order.session_id,
        "source": order.source,
        "order_data": order.order_data,
        "trace_id": order.trace_id,
        "updated_at": now,
    }
    tx.execute(
        upsert(tx, orders)
        .values(external_id=order.external_id, state=OrderState.CREATING, created_at=now, **values)
        .on_conflict_do_nothing()
    )
    mine = orders.c.external_id == order.external_id
    row = tx.execute(select(orders).where(mine).with_for_update()).one()
    taken_over = row.task_id != order.task_id and not _lives(tx, row.task_id)
    if row.state in {OrderState.FAILED, OrderState.REJECTED} or (
        row.state != OrderState.CREATED and taken_over
    ):
        state = OrderState.ASKING if row.state == OrderState.ASKING else OrderState.CREATING
        tx.execute(update(orders).where(mine).values(state=state, error=None, **values))
        return KeptOrder(order.external_id, order.task_id, state, row.asked, None)
    return KeptOrder(
        row.external_id, row.task_id, OrderState(row.state), row.asked, row.crm_order_id
    )


def ask(tx: Connection, order: KeptOrder, *, now: datetime) -> None:
    """Say that the request is about to leave us. Committed before it is made."""
    _set(tx, order, now, state=OrderState.ASKING, asked=True)


def created(
    tx: Connection, order: KeptOrder, *, crm_order_id: str, status: str, now: datetime
) -> None:
    """The CRM has it; its conversation is told."""
    _set(
        tx,
        order,
        now,
        state=OrderState.CREATED,
        crm_order_id=crm_order_id,
        status=status,
        status_at=now,
        error=None,
    )
    session = select(orders.c.session_id).where(orders.c.external_id == order.external_id)
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session.scalar_subquery())
        .values(order_status=status)
    )


def not_created(
    tx: Connection, order: KeptOrder, *, error: str, unknown: bool, now: datetime
) -> None:
    """It was not created now, or (``unknown``) nobody knows whether it was."""
    _set(
        tx,
        order,
        now,
        state=OrderState.CREATING,
        error=storable(error),
        unknown=orders.c.unknown + int(unknown),
    )


def rejected(tx: Connection, order: KeptOrder, *, error: str, now: datetime) -> None:
    """The CRM will not have it."""
    _set(tx, order, now, state=OrderState.REJECTED, error=storable(error))


def failed(tx: Connection, task_id: str, *, now: datetime) -> None:
    """The task that was to create it has failed for good."""
    tx.execute(
        update(orders)
        .where(
            orders.c.task_id == task_id,
            orders.c.state.in_([OrderState.CREATING, OrderState.ASKING]),
        )
        .values(state=OrderState.FAILED, updated_at=now)
    )


def note_status(
    tx: Connection, *, crm_order_id: str, session_id: str, status: str, asked_at: datetime
) -> bool:
    """Write down what the CRM said when it was asked then; False when something later is known."""
    known = orders.c.crm_order_id == crm_order_id
    is_known = tx.execute(select(orders.c.external_id).where(known).with_for_update()).first()
    noted = tx.execute(
        update(orders)
        .where(known, or_(orders.c.status_at.is_(None), orders.c.status_at <= asked_at))
        .values(status=status, status_at=asked_at, updated_at=asked_at)
    )
    if is_known and not noted.rowcount:
        return False
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(order_status=status)
    )
    return True


def _lives(tx: Connection, task_id: str) -> bool:
    over = (TaskState.DONE, TaskState.DEAD)
    return (
        tx.execute(
            select(tasks.c.id).where(tasks.c.id == task_id, tasks.c.state.not_in(over))
        ).first()
        is not None
    )


def _set(tx: Connection, order: KeptOrder, now: datetime, **values: Any) -> None:
    # What is created stays created, whatever a late worker says.
    tx.execute(
        update(orders)
        .where(
            orders.c.external_id == order.external_id,
            orders.c.task_id == order.task_id,
            orders.c.state != OrderState.CREATED,
        )
        .values(updated_at=now, **values)
    )
