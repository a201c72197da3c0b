"""List the orders, those that need a person first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from mirt.store.shop.orders import OrderState
from mirt.store.tables import conversations, dead_letters, orders

TROUBLED: Final = (OrderState.REJECTED, OrderState.FAILED, OrderState.UNKNOWN)
"""States of an order that an operator has to look at."""


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order with its conversation, and the task of its dead letter, if it has one."""

    external_id: str
    session_id: str
    source: str
    state: str
    crm_order_id: str | None
    status: str | None
    error: str | None
    order_data: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    customer_name: str | None
    dead_task_id: str | None


def list_orders(
    tx: Connection, *, state: str | None = None, limit: int, offset: int = 0
) -> list[ListedOrder]:
    """Return orders of a state, or of any, the latest first."""
    query = _ORDERS if state is None else _ORDERS.where(orders.c.state == state)
    rows = tx.execute(query.order_by(orders.c.created_at.desc()).limit(limit).offset(offset))
    return [ListedOrder(**row._mapping) for row in rows]


def troubled_orders(tx: Connection, *, limit: int) -> list[ListedOrder]:
    """Return the orders that were refused, failed or have an unknown outcome, the latest first."""
    rows = tx.execute(
        _ORDERS.where(orders.c.state.in_(TROUBLED))
        .order_by(orders.c.updated_at.desc())
        .limit(limit)
    )
    return [ListedOrder(**row._mapping) for row in rows]


_ORDERS: Final[Select[Any]] = (
    select(
        *(orders.c[name] for name in ListedOrder.__slots__[:-2]),
        conversations.c.customer_name,
        dead_letters.c.task_id.label("dead_task_id"),
    )
    .outerjoin(conversations, conversations.c.session_id == orders.c.session_id)
    .outerjoin(dead_letters, dead_letters.c.task_id == orders.c.task_id)
)
