"""List the orders that wait for a person, and confirm or refuse one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from mirt.store.queue.audit import record_act
from mirt.store.shop import order_approvals as store
from mirt.store.shop.order_approvals import WaitingOrder
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
        total=sum((Decimal(one["price"]) * one["quantity"] for one in items), Decimal(0)),
        items=[
            f"{one['product_name']}, {one['size']}, {one['color']}, {one['quantity']} × "
            f"{one['price']}"
            for one in items
        ],
        customer=" ".join(filter(None, (customer.get("full_name"), customer.get("phone")))),
        address=", ".join(filter(None, address)),
    )
