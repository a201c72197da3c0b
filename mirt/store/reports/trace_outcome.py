"""Read how the message of a trace has ended, for a command that waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, or_, select

from mirt.store.shop.deliveries import DeliveryState, find_delivery, traced
from mirt.store.tables import dead_letters, inbox

_OPEN: Final = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


@dataclass(frozen=True, slots=True)
class TraceOutcome:
    """The replies that were sent, and the error code and text of a dead letter, if there is one."""

    is_known: bool
    """Whether the message of this trace is in this database."""
    is_over: bool
    """Whether it is answered or has failed, and nothing of it is still to be sent."""
    replies: Sequence[str]
    error_code: str | None
    error: str | None


def read_outcome(tx: Connection, trace_id: str) -> TraceOutcome:
    """Return how the message of a trace has ended, or that it has not.

    A message that was answered together with an earlier one has the outcome of that turn.
    """
    mail = tx.execute(select(inbox.c.turn_id).where(inbox.c.trace_id == trace_id)).first()
    turn_id = mail.turn_id if mail else None
    deliveries = {one.id: one for one in traced(tx, trace_id)}
    if turn_id and (reply := find_delivery(tx, turn_id)):
        deliveries[reply.id] = reply
    dead = tx.execute(
        select(dead_letters.c.error_code, dead_letters.c.exception)
        .where(or_(dead_letters.c.trace_id == trace_id, dead_letters.c.task_id == turn_id))
        .order_by(dead_letters.c.died_at)
    ).first()
    replies = [one.text for one in deliveries.values() if one.state is DeliveryState.SENT]
    is_open = any(one.state in _OPEN for one in deliveries.values())
    return TraceOutcome(
        is_known=mail is not None,
        is_over=bool(replies or dead) and not is_open,
        replies=replies,
        error_code=dead.error_code if dead else None,
        error=dead.exception if dead else None,
    )
