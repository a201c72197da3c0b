"""Record deliveries: each part of a reply before and after its request, with its outcome.

pending ──begin_part──► sending ──part_sent──► pending (more parts) or sent
                           ├──part_refused───► failed
                           ├──part_blocked───► unreachable, and so is the conversation
                           ├──part_not_sent──► pending
                           └──(killed, or timed out)──► found sending: unknown, then again
pending ──withhold──► withheld: a person has taken the conversation over

A worker may settle a part late, after another worker has claimed the task. So a delivery that is
sent stays sent, and an outcome other than sent changes only the part that was begun.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, case, delete, select, update

from mirt.store.engine.database import upsert
from mirt.store.shop.reachability import mark_unreachable
from mirt.store.tables import deliveries


class DeliveryState(StrEnum):
    """The states of a delivery."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """The customer takes no messages from us. No worker sends the delivery again."""
    WITHHELD = "withheld"
    """A person has the conversation (``mirt.store.shop.handovers``). What was not sent stays so."""


STAFF: Final = "staff"
"""The conversation of deliveries to the staff."""
ENDED: Final = frozenset({DeliveryState.SENT, DeliveryState.UNREACHABLE, DeliveryState.WITHHELD})
"""States in which nothing is left to send."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A text for a chat. ``unknown`` counts the requests with an unknown outcome.

    ``said_by`` is the person who wrote it, None for the bot.
    """

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
    said_by: str | None = None


def add_delivery(tx: Connection, delivery: Delivery, *, now: datetime) -> None:
    """Store a new delivery as pending. A second copy changes nothing."""
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
    """Return the delivery; None if there is none."""
    row = tx.execute(
        select(*(deliveries.c[name] for name in Delivery.__slots__)).where(
            deliveries.c.id == delivery_id
        )
    ).one_or_none()
    return None if row is None else _delivery(row)


def forget_unsent(tx: Connection, delivery_id: str) -> bool:
    """Delete a delivery whose text reached no customer; return False if a part of it may have."""
    kept = find_delivery(tx, delivery_id)
    if kept is not None and (kept.parts_sent or kept.unknown):
        return False
    tx.execute(delete(deliveries).where(deliveries.c.id == delivery_id))
    return True


def traced(tx: Connection, trace_id: str) -> list[Delivery]:
    """Return the deliveries of a trace, the oldest first."""
    rows = tx.execute(
        select(*(deliveries.c[name] for name in Delivery.__slots__))
        .where(deliveries.c.trace_id == trace_id)
        .order_by(deliveries.c.created_at)
    )
    return [_delivery(row) for row in rows]


def begin_part(tx: Connection, delivery: Delivery) -> bool:
    """Pending → sending: announce the next part; return False if it is not there to be sent.

    The caller commits this before the request.
    """
    unsent = (state for state in DeliveryState if state not in ENDED)
    return _set(tx, delivery, *unsent, state=DeliveryState.SENDING) == 1


def part_sent(
    tx: Connection, delivery: Delivery, *, last: bool, chat_id: str, now: datetime
) -> None:
    """Count a part that the channel accepted: → sent after the ``last`` part, else → pending."""
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
    """Sending → pending: the part was not sent, or its outcome is ``unknown``, which is counted."""
    _set(
        tx,
        delivery,
        DeliveryState.SENDING,
        state=DeliveryState.PENDING,
        unknown=deliveries.c.unknown + int(unknown),
        error=error,
    )


def part_refused(tx: Connection, delivery: Delivery, *, error: str, now: datetime) -> None:
    """Sending → failed: the channel refuses the part for good."""
    _set(
        tx,
        delivery,
        DeliveryState.SENDING,
        state=DeliveryState.FAILED,
        error=error,
        finished_at=now,
    )


def part_blocked(
    tx: Connection, delivery: Delivery, *, error: str, began: datetime, now: datetime
) -> None:
    """Sending → unreachable: the customer takes no messages. ``began`` is before the request."""
    _set(
        tx,
        delivery,
        DeliveryState.SENDING,
        state=DeliveryState.UNREACHABLE,
        error=error,
        finished_at=now,
    )
    mark_unreachable(tx, delivery.session_id, since=now, silent_since=began)


def abandon_delivery(tx: Connection, delivery_id: str, *, now: datetime) -> None:
    """Pending, sending → failed: the task of the delivery has failed for good.

    A part that was being sent counts as unknown.
    """
    open_ = (DeliveryState.PENDING, DeliveryState.SENDING)
    lost = case((deliveries.c.state == DeliveryState.SENDING, 1), else_=0)
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state.in_(open_))
        .values(state=DeliveryState.FAILED, unknown=deliveries.c.unknown + lost, finished_at=now)
    )


def reopen_delivery(tx: Connection, delivery_id: str) -> None:
    """Failed → pending: an operator has decided to send the delivery again."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.FAILED)
        .values(state=DeliveryState.PENDING, finished_at=None)
    )


def _set(tx: Connection, delivery: Delivery, *only_from: DeliveryState, **values: Any) -> int:
    at_this_part = [
        deliveries.c.id == delivery.id,
        deliveries.c.parts_sent == delivery.parts_sent,
        deliveries.c.state != DeliveryState.SENT,
    ]
    if only_from:
        at_this_part.append(deliveries.c.state.in_(only_from))
    return tx.execute(update(deliveries).where(*at_this_part).values(**values)).rowcount


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})
