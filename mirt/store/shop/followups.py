"""Find silent customers, and record which follow-ups were taken for each silence.

A *silence* begins with a customer's message and ends with the next one. Its follow-ups are numbered
from 0, and each number is recorded once.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from mirt.store.tables import conversations, followups, history, orders, tasks


@dataclass(frozen=True, slots=True)
class Silence:
    """A silent conversation; ``since`` is the time of the customer's last message."""

    session_id: str
    platform: str
    chat_id: str | None
    head_task_id: str | None
    since: datetime
    followups_taken: int
    followups_off: bool
    """Whether the customer wants no follow-ups."""
    unreachable_since: datetime | None
    handover_state: str | None
    """Set if a person has the conversation, or was asked for."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One follow-up: the task that sends it, its number, and the silence it belongs to."""

    task_id: str
    session_id: str
    since: datetime
    number: int
    asked: bool = False
    """Whether it was asked for, instead of its time having come."""


_SILENCE = select(
    conversations.c.session_id,
    conversations.c.platform,
    conversations.c.chat_id,
    conversations.c.head_task_id,
    conversations.c.last_customer_at,
    conversations.c.followups_taken,
    conversations.c.followups_off,
    conversations.c.unreachable_since,
    conversations.c.handover_state,
)


def lock_silent(
    tx: Connection, platforms: Collection[str], *, fewer_than: int, until: datetime, limit: int
) -> list[Silence]:
    """Lock silences that began by ``until`` and have fewer follow-ups than ``fewer_than``.

    A conversation that a person has taken over is left out.

    Concurrent callers get different silences. A silence without a follow-up recorded in this
    transaction is found again.
    """
    found: list[Silence] = []
    for taken in range(fewer_than):
        # One number a query, in the order of its index: the planner takes these conditions for
        # common, and would read the whole table to find the few.
        rows = tx.execute(
            _SILENCE.where(
                conversations.c.followups_taken == taken,
                conversations.c.last_customer_at <= until,
                conversations.c.chat_id.is_not(None),
                conversations.c.platform.in_(platforms),
                conversations.c.handover_state.is_(None),
            )
            .order_by(conversations.c.last_customer_at)
            .limit(limit - len(found))
            .with_for_update(skip_locked=True)
        )
        found.extend(Silence(*row) for row in rows)
        if len(found) == limit:
            break
    return found


def lock_silence(tx: Connection, session_id: str) -> Silence | None:
    """Lock the conversation until the transaction ends; return None if there is none."""
    row = tx.execute(
        _SILENCE.where(conversations.c.session_id == session_id).with_for_update()
    ).one_or_none()
    return None if row is None else Silence(*row)


def record(tx: Connection, new: Sequence[FollowUp], *, now: datetime) -> None:
    """Store follow-ups of one number. This transaction must have locked their conversations."""
    tx.execute(insert(followups), [{**asdict(followup), "taken_at": now} for followup in new])
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id.in_([followup.session_id for followup in new]))
        .values(followups_taken=new[0].number + 1)
    )


def release(tx: Connection, followup: FollowUp) -> None:
    """Forget that a follow-up was taken, so that it is due again.

    This transaction must have locked the conversation.
    """
    tx.execute(delete(followups).where(followups.c.task_id == followup.task_id))
    tx.execute(
        update(conversations)
        .where(
            conversations.c.session_id == followup.session_id,
            conversations.c.followups_taken == followup.number + 1,
        )
        .values(followups_taken=followup.number)
    )


def set_wanted(tx: Connection, session_id: str, *, wanted: bool) -> bool:
    """Store whether the customer wants follow-ups; return whether there is the conversation."""
    return (
        tx.execute(
            update(conversations)
            .where(conversations.c.session_id == session_id)
            .values(followups_off=not wanted)
        ).rowcount
        == 1
    )


def has_ordered(tx: Connection, session_id: str, *, since: datetime) -> bool:
    """Whether the conversation has an order that was made after ``since``."""
    order = select(orders.c.external_id).where(
        orders.c.session_id == session_id, orders.c.created_at > since
    )
    return tx.execute(order.limit(1)).first() is not None


def find(tx: Connection, task_id: str) -> FollowUp | None:
    """Return the follow-up that this task sends; None if none is recorded."""
    row = tx.execute(
        select(*(followups.c[name] for name in FollowUp.__slots__)).where(
            followups.c.task_id == task_id
        )
    ).one_or_none()
    return None if row is None else FollowUp(*row)


def created_at(tx: Connection, task_id: str) -> datetime | None:
    """Return the time at which the task was created; None if there is no such task."""
    return tx.execute(select(tasks.c.created_at).where(tasks.c.id == task_id)).scalar_one_or_none()


def add_to_history(tx: Connection, followup: FollowUp, text: str, *, now: datetime) -> None:
    """Add the text of the follow-up to the history, once, so that the LLM knows it."""
    line = select(history.c.id).where(
        history.c.session_id == followup.session_id, history.c.turn_id == followup.task_id
    )
    if tx.execute(line).first() is None:
        tx.execute(
            insert(history).values(
                session_id=followup.session_id,
                role="assistant",
                content=text,
                turn_id=followup.task_id,
                created_at=now,
            )
        )
