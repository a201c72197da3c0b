"""Record an order on its way into the CRM, so that it is created once.

``unknown_since`` is the time of the last request whose outcome is unknown. Only the answer to that
request clears it: no end of a task and no later task does.

(none) ──begin──► creating ──ask──► asking ──created──► created
                     ▲                ├──not_created──► creating
                     │                ├──lost─────────► unknown (counted; looked up, then asked)
                     │                ├──rejected─────► rejected
                     │                └──(killed)─────► found asking: lost
                     └──begin, by a later task── failed, rejected, refused

An order that a person has to confirm is ``needs_approval`` before all of this
(``mirt.store.shop.order_approvals``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, case, or_, select, update

from mirt.store.engine.database import upsert
from mirt.store.queue.tasks import TaskState
from mirt.store.tables import conversations, orders, tasks


class OrderState(StrEnum):
    """The states of an order."""

    NEEDS_APPROVAL = "needs_approval"
    REFUSED = "refused"
    CREATING = "creating"
    ASKING = "asking"
    UNKNOWN = "unknown"
    CREATED = "created"
    REJECTED = "rejected"
    FAILED = "failed"


OVER: Final = frozenset({OrderState.REJECTED, OrderState.FAILED, OrderState.REFUSED})
"""States of an order that ended without being created; a later task may try it again."""


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """The stored state of an order. ``asked``: the CRM may know the order.

    ``unknown_since``: the time of the last request if its outcome is unknown.
    """

    external_id: str
    task_id: str
    state: OrderState
    asked: bool
    crm_order_id: str | None
    unknown_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """The data of an order that its task stores when it begins.

    ``approval`` is the limit for which a person has to confirm the order first.
    """

    external_id: str
    task_id: str
    session_id: str
    source: str
    order_data: Mapping[str, Any]
    trace_id: str
    approval: str | None = None


def is_under_way(tx: Connection, external_id: str, *, since: datetime) -> bool:
    """Whether there is such an order that is not over and was recorded after ``since``."""
    found = select(orders.c.external_id).where(
        orders.c.external_id == external_id,
        orders.c.created_at > since,
        orders.c.state.not_in(OVER),
    )
    return tx.execute(found).first() is not None


def data_of(tx: Connection, external_id: str) -> Mapping[str, Any]:
    """Return the data of an order as its task has recorded it; empty if there is none."""
    found = select(orders.c.order_data).where(orders.c.external_id == external_id)
    data: Mapping[str, Any] | None = tx.execute(found).scalar()
    return data or {}


def begin(tx: Connection, order: NewOrder, *, now: datetime) -> KeptOrder:
    """Store the order if it is new, lock it until the transaction ends, and return its state.

    The order belongs to this task from now on, unless it is created or belongs to another task that
    is not over. An unfinished request of this task, or of a task that is over, has an unknown
    outcome and is counted.
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
    this = orders.c.external_id == order.external_id
    row = tx.execute(select(orders).where(this).with_for_update()).one()
    state, is_mine = OrderState(row.state), row.task_id == order.task_id
    if state is OrderState.CREATED or not (is_mine or state in OVER or not _lives(tx, row.task_id)):
        return KeptOrder(row.external_id, row.task_id, state, row.asked, row.crm_order_id)
    since = _unknown_since(row)
    changes = {
        **values,
        "state": OrderState.CREATING if since is None else OrderState.UNKNOWN,
        "unknown": row.unknown + int(state is OrderState.ASKING),
        "unknown_since": since,
        "updated_at": since or now,
        "error": None,
    }
    tx.execute(update(orders).where(this).values(changes))
    return KeptOrder(
        order.external_id, order.task_id, changes["state"], row.asked, None, unknown_since=since
    )


def ask(tx: Connection, order: KeptOrder, *, now: datetime) -> KeptOrder:
    """Creating, unknown → asking: announce the request. The caller commits this before it.

    Return the order with the time of this request. Its answer is settled with that order, so a
    late answer cannot settle the request of another worker.
    """
    _set(tx, order, updated_at=now, state=OrderState.ASKING, asked=True, unknown_since=now)
    return replace(order, state=OrderState.ASKING, asked=True, unknown_since=now)


def created(
    tx: Connection, order: KeptOrder, *, crm_order_id: str, status: str, now: datetime
) -> None:
    """→ created: store the CRM's id and status, and the status of the conversation, once."""
    is_new = _set(
        tx,
        order,
        updated_at=now,
        state=OrderState.CREATED,
        crm_order_id=crm_order_id,
        status=status,
        status_at=now,
        unknown_since=None,
        error=None,
    )
    if not is_new:
        return
    session = select(orders.c.session_id).where(orders.c.external_id == order.external_id)
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session.scalar_subquery())
        .values(order_status=status)
    )


def not_created(tx: Connection, order: KeptOrder, *, error: str, now: datetime) -> None:
    """Asking → creating: the order was not created, and the task tries again."""
    _settle(tx, order, updated_at=now, state=OrderState.CREATING, unknown_since=None, error=error)


def lost(tx: Connection, order: KeptOrder, *, error: str, now: datetime) -> None:
    """Asking → unknown: the outcome of the request is unknown, which is counted."""
    _settle(
        tx,
        order,
        updated_at=now,
        state=OrderState.UNKNOWN,
        error=error,
        unknown=orders.c.unknown + 1,
    )


def rejected(tx: Connection, order: KeptOrder, *, error: str, now: datetime) -> None:
    """Asking → rejected: the CRM refuses the order for good."""
    _settle(tx, order, updated_at=now, state=OrderState.REJECTED, unknown_since=None, error=error)


def failed(tx: Connection, task_id: str, *, now: datetime) -> None:
    """Creating, asking, unknown → failed: the task of the order has failed for good.

    A request that was being made counts as unknown. ``unknown_since`` stays for a later task.
    """
    is_lost = case((orders.c.state == OrderState.ASKING, 1), else_=0)
    tx.execute(
        update(orders)
        .where(
            orders.c.task_id == task_id,
            orders.c.state.in_([OrderState.CREATING, OrderState.ASKING, OrderState.UNKNOWN]),
        )
        .values(state=OrderState.FAILED, unknown=orders.c.unknown + is_lost, updated_at=now)
    )


def note_status(
    tx: Connection, *, crm_order_id: str, session_id: str, status: str, asked_at: datetime
) -> bool:
    """Store the status that the CRM gave at ``asked_at``; return False if a later one is known."""
    known = orders.c.crm_order_id == crm_order_id
    is_ours = tx.execute(select(orders.c.external_id).where(known).with_for_update()).first()
    changed = tx.execute(
        update(orders)
        .where(known, or_(orders.c.status_at.is_(None), orders.c.status_at <= asked_at))
        .values(status=status, status_at=asked_at, updated_at=asked_at)
    )
    if is_ours and not changed.rowcount:
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


def _unknown_since(row: Row[Any]) -> datetime | None:
    # A worker of the version before this column leaves it empty.
    is_unknown = row.state in {OrderState.ASKING, OrderState.UNKNOWN}
    since: datetime | None = row.unknown_since or (row.updated_at if is_unknown else None)
    return since


def _settle(tx: Connection, order: KeptOrder, **values: Any) -> None:
    # Only an order that is being asked for can have an answer of the CRM, and only to that request.
    this_request = orders.c.unknown_since == order.unknown_since
    _set(tx, order, orders.c.state == OrderState.ASKING, this_request, **values)


def _set(tx: Connection, order: KeptOrder, *only_if: ColumnElement[bool], **values: Any) -> bool:
    # An order that is created stays created; a late worker cannot change it.
    changed = tx.execute(
        update(orders)
        .where(
            orders.c.external_id == order.external_id,
            orders.c.task_id == order.task_id,
            orders.c.state != OrderState.CREATED,
            *only_if,
        )
        .values(**values)
    )
    return changed.rowcount == 1
