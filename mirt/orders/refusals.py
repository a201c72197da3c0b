"""Tell the staff and the customer that an order of the agent has failed for good.

The customer has confirmed it, and the agent has promised it. An order from elsewhere is the concern
of the system that sent it.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.deliveries import Delivery, add_delivery
from mirt.store.shop.delivery_task import send_response_task
from mirt.store.shop.orders import OrderState
from mirt.store.shop.staff_task import tell_staff_task
from mirt.store.tables import conversations, orders, turns

REJECTED: Final = "CRM не приймає замовлення {order}"
NOT_CREATED: Final = "замовлення {order} не вдалося створити"
UNKNOWN: Final = "невідомо, чи створено замовлення {order}"


def tell_of_failure(tx: Connection, task_id: str, text: str, *, now: datetime) -> list[TaskMessage]:
    """Plan what the staff and the customer get, each once; return the tasks to publish.

    The customer gets ``text``, unless the order may have been created, or a person has the
    conversation.
    """
    order = _order_of_an_agent(tx, task_id)
    if order is None:
        return []
    is_rejected = order.state == OrderState.REJECTED
    may_exist = not is_rejected and order.unknown_since is not None
    if is_rejected:
        _note_rejected(tx, order.session_id)
    reason = REJECTED if is_rejected else UNKNOWN if may_exist else NOT_CREATED
    why = reason.format(order=order.external_id)
    told = [tell_staff_task(task_id, order.session_id, why)]
    if not may_exist and _hears_the_bot(order):
        delivery = Delivery(
            id=f"{task_id}:failed",
            session_id=order.session_id,
            platform=order.platform,
            chat_id=order.chat_id,
            text=text,
            trace_id=order.trace_id,
        )
        add_delivery(tx, delivery, now=now)
        told.append(send_response_task(delivery))
    # After a replay that fails again they have been told.
    return [task for task in told if outbox.add(tx, task, now=now)]


def _order_of_an_agent(tx: Connection, task_id: str) -> Any:
    """Return the order of this task with its conversation; None if no turn has asked for it."""
    turn_id = task_id.rpartition(":")[0]
    of_conversation = ("platform", "chat_id", "handover_state", "unreachable_since")
    found: Any = tx.execute(
        select(
            *(orders.c[name] for name in ("external_id", "session_id", "state", "unknown_since")),
            orders.c.trace_id,
            *(conversations.c[name] for name in of_conversation),
        )
        .join(conversations, conversations.c.session_id == orders.c.session_id)
        .join(turns, turns.c.id == turn_id)
        .where(orders.c.task_id == task_id)
    ).one_or_none()
    return found


def _hears_the_bot(order: Any) -> bool:
    silent = order.handover_state is not None or order.unreachable_since is not None
    return order.chat_id is not None and not silent


def _note_rejected(tx: Connection, session_id: str) -> None:
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(order_status=OrderState.REJECTED)
    )
