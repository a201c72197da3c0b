"""Find the orders in the CRM whose status may still change, and store what the CRM says of them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from mirt.store.tables import conversations, orders
from mirt.store.tables.effects import ORDER_IS_OPEN


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order in the CRM, with the status that is known."""

    external_id: str
    crm_order_id: str
    session_id: str
    status: str


def open_orders(tx: Connection, *, since: datetime, limit: int) -> list[OpenOrder]:
    """Return open orders that were made after ``since``, first those not looked at for longest."""
    columns = (orders.c[name] for name in OpenOrder.__slots__)
    found = (
        select(*columns)
        .where(
            ORDER_IS_OPEN,
            orders.c.created_at > since,
            orders.c.crm_order_id.is_not(None),
        )
        .order_by(orders.c.status_at)
        .limit(limit)
    )
    return [OpenOrder(**row._mapping) for row in tx.execute(found)]


def note_look(tx: Connection, order: OpenOrder, *, status: str, asked_at: datetime) -> bool:
    """Store the status that the CRM gave at ``asked_at``; return whether it is another one.

    The answer to an earlier request never overwrites that to a later one. The conversation gets the
    status too, unless it has that of another order.
    """
    this = orders.c.external_id == order.external_id
    is_earlier = or_(orders.c.status_at.is_(None), orders.c.status_at <= asked_at)
    changes = {"status": status, "status_at": asked_at}
    if status != order.status:
        changes["updated_at"] = asked_at
    is_stored = tx.execute(update(orders).where(this, is_earlier).values(changes)).rowcount == 1
    if not is_stored or status == order.status:
        return False
    tx.execute(
        update(conversations)
        .where(
            conversations.c.session_id == order.session_id,
            conversations.c.order_status == order.status,
        )
        .values(order_status=status)
    )
    return True
