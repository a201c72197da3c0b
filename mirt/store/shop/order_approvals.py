"""Keep the orders of the agent that a person has to confirm before the CRM gets them.

(none), rejected, failed, refused ──add──► needs_approval ──approve──► creating
                                                 └──refuse──► refused

The task of an order exists from its approval on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from mirt.store.engine.database import upsert
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.orders import OVER, NewOrder, OrderState
from mirt.store.tables import orders
from mirt.task_names import TaskName

_WAITS: Final = orders.c.state == OrderState.NEEDS_APPROVAL


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order that waits for a person; ``limit`` is why."""

    external_id: str
    session_id: str
    platform: str
    limit: str
    order_data: Mapping[str, Any]
    since: datetime


def add(tx: Connection, order: NewOrder, *, now: datetime) -> None:
    """→ needs_approval, unless the order is under way or was created already."""
    values = {
        "task_id": order.task_id,
        "session_id": order.session_id,
        "source": order.source,
        "order_data": order.order_data,
        "trace_id": order.trace_id,
        "state": OrderState.NEEDS_APPROVAL,
        "error": order.approval,
        "created_at": now,
        "updated_at": now,
    }
    tx.execute(
        upsert(tx, orders)
        .values(external_id=order.external_id, **values)
        .on_conflict_do_update(
            index_elements=[orders.c.external_id], set_=values, where=orders.c.state.in_(OVER)
        )
    )


def waiting(tx: Connection, *, limit: int) -> list[WaitingOrder]:
    """Return the orders that wait for a person, the oldest first."""
    rows = tx.execute(
        select(
            orders.c.external_id,
            orders.c.session_id,
            orders.c.source,
            orders.c.error,
            orders.c.order_data,
            orders.c.updated_at,
        )
        .where(_WAITS)
        .order_by(orders.c.updated_at, orders.c.external_id)
        .limit(limit)
    )
    return [WaitingOrder(*row) for row in rows]


def count_waiting(tx: Connection) -> tuple[int, datetime | None]:
    """Return how many orders wait for a person, and since when the oldest does."""
    count, since = tx.execute(
        select(func.count(), func.min(orders.c.updated_at)).where(_WAITS)
    ).one()
    return count, since


def approve(tx: Connection, external_id: str, *, now: datetime) -> str | None:
    """Needs_approval → creating: add the task of the order; return its conversation.

    None if the order does not wait. The outbox publishes the task at once.
    """
    row = _decide(tx, external_id, OrderState.CREATING, now)
    if row is None:
        return None
    task = TaskMessage(
        row.task_id,
        TaskName.CREATE_CRM_ORDER,
        kwargs={"order_data": row.order_data},
        options={"trace_id": row.trace_id, "session_id": row.session_id},
    )
    outbox.add(tx, task, now=now, due_at=now)
    return str(row.session_id)


def refuse(tx: Connection, external_id: str, *, now: datetime) -> str | None:
    """Needs_approval → refused; return its conversation, None if the order does not wait."""
    row = _decide(tx, external_id, OrderState.REFUSED, now)
    return None if row is None else str(row.session_id)


def _decide(tx: Connection, external_id: str, state: OrderState, now: datetime) -> Any:
    return tx.execute(
        update(orders)
        .where(orders.c.external_id == external_id, _WAITS)
        .values(state=state, error=None, updated_at=now)
        .returning(orders.c.task_id, orders.c.order_data, orders.c.trace_id, orders.c.session_id)
    ).one_or_none()
