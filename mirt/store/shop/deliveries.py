"""Deliveries: what was sent to whom, and what is known of its outcome.

pending ──begin_part──► sending ──part_sent──► pending (more parts) or sent
                           ├──part_refused───► failed
                           ├──part_not_sent──► pending
                           └──(killed, or timed out)──► found sending: unknown, then again

Whoever settles a part may be late: its lease is lost, and another worker is at it. So what is sent
stays sent, and nobody but who has begun a part can end it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, case, select, update

from mirt.store.engine.database import upsert
from mirt.store.tables import deliveries


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A text for a chat. ``unknown`` counts the requests whose outcome nobody knows."""

    id: str
    session_id: str
    platform: str
    chat_id: str
    text: str
    trace_id: str
    reply_to: str | None = None
    state: DeliveryState = DeliveryState.PENDING
    parts_sent: int = 0
    unknown: int = 0
    error: str | None = None


def add_delivery(tx: Connection, delivery: Delivery, *, now: datetime) -> None:
    """Note what is to be delivered. A second time changes nothing."""
    tx.execute(
        upsert(tx, deliveries)
        .values(
            id=delivery.id,
            session_id=delivery.session_id,
            platform=delivery.platform,
            chat_id=delivery.chat_id,
            text=delivery.text,
            reply_to=delivery.reply_to,
            trace_id=delivery.trace_id,
            state=DeliveryState.PENDING,
            created_at=now,
        )
        .on_conflict_do_nothing()
    )


def find_delivery(tx: Connection, delivery_id: str) -> Delivery | None:
    """The delivery of this id."""
    row = tx.execute(
        select(*(deliveries.c[name] for name in Delivery.__slots__)).where(
            deliveries.c.id == delivery_id
        )
    ).one_or_none()
    return None if row is None else _delivery(row)


def traced(tx: Connection, trace_id: str) -> list[Delivery]:
    """The deliveries of a trace, the oldest first."""
    rows = tx.execute(
        select(*(deliveries.c[name] for name in Delivery.__slots__))
        .where(deliveries.c.trace_id == trace_id)
        .order_by(deliveries.c.created_at)
    )
    return [_delivery(row) for row in rows]


def begin_part(tx: Connection, delivery: Delivery) -> None:
    """Say that the next part is about to leave us. Committed before the request is made."""
    _set(tx, delivery, state=DeliveryState.SENDING)


def part_sent(
    tx: Connection, delivery: Delivery, *, last: bool, chat_id: str, now: datetime
) -> None:
    """Count a part that the channel has taken."""
    _set(
        tx,
        delivery,
        state=DeliveryState.SENT if last else DeliveryState.PENDING,
        parts_sent=delivery.parts_sent + 1,
        chat_id=chat_id,
        error=None,
        finished_at=now if last else None,
    )


def part_not_sent(tx: Connection, delivery: Delivery, *, error: str, unknown: bool) -> None:
    """Back to pending: the part did not leave us, or (``unknown``) nobody knows whether it did."""
    _set(
        tx,
        delivery,
        DeliveryState.SENDING,
        state=DeliveryState.PENDING,
        unknown=deliveries.c.unknown + int(unknown),
        error=error,
    )


def part_refused(tx: Connection, delivery: Delivery, *, error: str, now: datetime) -> None:
    """End the delivery: the channel will not take it."""
    _set(
        tx,
        delivery,
        DeliveryState.SENDING,
        state=DeliveryState.FAILED,
        error=error,
        finished_at=now,
    )


def abandon_delivery(tx: Connection, delivery_id: str, *, now: datetime) -> None:
    """Pending or sending → failed: the task that was to send it has failed for good.

    Of a part that was being sent nobody knows whether it has arrived.
    """
    open_ = (DeliveryState.PENDING, DeliveryState.SENDING)
    lost = case((deliveries.c.state == DeliveryState.SENDING, 1), else_=0)
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state.in_(open_))
        .values(state=DeliveryState.FAILED, unknown=deliveries.c.unknown + lost, finished_at=now)
    )


def reopen_delivery(tx: Connection, delivery_id: str) -> None:
    """Failed → pending: somebody has decided that it is to be tried again."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.FAILED)
        .values(state=DeliveryState.PENDING, finished_at=None)
    )


def _set(tx: Connection, delivery: Delivery, *only_from: DeliveryState, **values: Any) -> None:
    at_this_part = [
        deliveries.c.id == delivery.id,
        deliveries.c.parts_sent == delivery.parts_sent,
        deliveries.c.state != DeliveryState.SENT,
    ]
    if only_from:
        at_this_part.append(deliveries.c.state.in_(only_from))
    tx.execute(update(deliveries).where(*at_this_part).values(**values))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})
