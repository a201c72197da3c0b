"""List the orders, and confirm or refuse one that waits for a person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from mirt.store.queue.audit import record_act
from mirt.store.reports import orders as lists
from mirt.store.shop import order_approvals as store
from mirt.store.shop.order_approvals import WaitingOrder
from mirt.store.shop.orders import OrderState
from service.admin.context import AdminContext

REASONS: Final[Mapping[str, str]] = {
    "orders_per_day": "more orders in a day than AGENT_MAX_ORDERS_PER_DAY",
    "order_total": "a sum above AGENT_MAX_ORDER_TOTAL",
    "order_items": "more pieces than AGENT_MAX_ORDER_ITEMS",
}


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order that waits for a person. ``customer`` and ``address`` are personal data."""

    external_id: str
    session_id: str
    platform: str
    since: datetime
    why: str
    total: Decimal
    items: Sequence[str]
    customer: str
    address: str


WORDS: Final[Mapping[str, str]] = {
    OrderState.NEEDS_APPROVAL: "to confirm",
    OrderState.REFUSED: "refused by a person",
    OrderState.CREATING: "on its way",
    OrderState.ASKING: "on its way",
    OrderState.UNKNOWN: "perhaps in the CRM",
    OrderState.CREATED: "in the CRM",
    OrderState.REJECTED: "refused by the CRM",
    OrderState.FAILED: "failed",
}
"""The states of an order in words."""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order in a list.

    ``words`` is its state, ``status`` what the CRM calls it, and ``dead_task_id`` its dead letter.
    """

    external_id: str
    session_id: str
    customer_name: str | None
    source: str
    state: str
    words: str
    status: str | None
    is_troubled: bool
    crm_order_id: str | None
    error: str | None
    total: Decimal
    created_at: datetime
    dead_task_id: str | None


@dataclass(frozen=True, slots=True)
class OrderLists:
    """The orders that need a person, and a page of all orders, or of those of one state."""

    troubled: Sequence[OrderRow]
    listed: Sequence[OrderRow]


def list_orders(
    context: AdminContext, *, state: str | None, limit: int, offset: int = 0
) -> OrderLists:
    """Return the troubled orders, and a page of the orders of a state; the latest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        troubled = lists.troubled_orders(tx, limit=limit)
        listed = lists.list_orders(tx, state=state, limit=limit, offset=offset)
    return OrderLists([_row(one) for one in troubled], [_row(one) for one in listed])


def _row(order: lists.ListedOrder) -> OrderRow:
    words = WORDS.get(order.state, order.state)
    is_created = order.state == OrderState.CREATED
    return OrderRow(
        external_id=order.external_id,
        session_id=order.session_id,
        customer_name=order.customer_name,
        source=order.source,
        state=order.state,
        words=words,
        status=order.status if is_created else None,
        is_troubled=order.state in lists.TROUBLED,
        crm_order_id=order.crm_order_id,
        error=order.error if order.state != OrderState.CREATED else None,
        total=total_of(order.order_data),
        created_at=order.created_at,
        dead_task_id=order.dead_task_id,
    )


def total_of(order_data: Mapping[str, Any]) -> Decimal:
    """Return the sum of an order's items."""
    items = order_data.get("items") or []
    return sum((Decimal(str(one["price"])) * one["quantity"] for one in items), Decimal(0))


def to_approve(context: AdminContext, *, limit: int = 100) -> list[OrderView]:
    """Return the orders that wait for a person, the oldest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return [_view(order) for order in store.waiting(tx, limit=limit)]


def approve(context: AdminContext, external_id: str) -> bool:
    """Let the CRM have an order that waits; return False if it does not wait any more."""
    return _decide(context, "approve", external_id, store.approve)


def refuse(context: AdminContext, external_id: str) -> bool:
    """Refuse an order that waits for good; return False if it does not wait any more."""
    return _decide(context, "refuse", external_id, store.refuse)


def _decide(
    context: AdminContext, act: str, external_id: str, decide: Callable[..., str | None]
) -> bool:
    now = context.clock()
    with context.database.transaction() as tx:
        session_id = decide(tx, external_id, now=now)
        if session_id is not None:
            target = f"order {external_id}"
            record_act(tx, f"{act} order", target=target, session_id=session_id, now=now)
    return session_id is not None


def _view(order: WaitingOrder) -> OrderView:
    data = order.order_data
    customer: Mapping[str, Any] = data.get("customer") or {}
    items = data.get("items") or []
    address = (customer.get("city"), customer.get("nova_poshta_branch"))
    return OrderView(
        external_id=order.external_id,
        session_id=order.session_id,
        platform=order.platform,
        since=order.since,
        why=REASONS.get(order.limit, order.limit),
        total=total_of(data),
        items=[
            f"{one['product_name']}, {one['size']}, {one['color']}, {one['quantity']} × "
            f"{one['price']}"
            for one in items
        ],
        customer=" ".join(filter(None, (customer.get("full_name"), customer.get("phone")))),
        address=", ".join(filter(None, address)),
    )
