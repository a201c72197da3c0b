"""Read the figures of a shop between two moments: messages, replies, orders, tokens, follow-ups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, exists, extract, func, select

from mirt.store.shop.deliveries import DeliveryState
from mirt.store.tables import deliveries, followups, handover_events, inbox, orders, turns

APOLOGY: Final = "%:apology"
"""Ids of the deliveries of apologies, as a pattern."""
BROUGHT_BACK_WITHIN: Final = timedelta(hours=72)
"""Time after a follow-up in which a message of the customer counts as its answer."""
DELIVERED_WITHIN: Final = timedelta(days=1)
STEPS_PER_S: Final = 4
MOST_ORDERS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Span:
    """The time from ``since`` to before ``until``."""

    since: datetime
    until: datetime

    def holds(self, at: Any) -> Any:
        """Return the condition that a column lies in this time."""
        return and_(at >= self.since, at < self.until)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that the answers of one model have cost."""

    model: str
    turns: int
    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a time. A message counts when its story ends: answered, failed or cancelled.

    ``replies`` has the number of replies by the quarter seconds from the first message that they
    answer to their delivery. ``orders`` has state and data of each order.
    """

    conversations: int
    messages: Mapping[str, int]
    replies: Mapping[int, int]
    apologies: int
    handed_over: int
    orders: Sequence[tuple[str, Mapping[str, Any]]]
    tokens: Sequence[Tokens]
    followups_sent: int
    followups_answered: int


def figures(tx: Connection, span: Span) -> Figures:
    """Return the figures of a time, with eight queries along indexes of time."""
    by_state = select(inbox.c.state, func.count()).where(span.holds(inbox.c.finished_at))
    messages = {str(state): count for state, count in tx.execute(by_state.group_by(inbox.c.state))}
    conversations = select(func.count(inbox.c.session_id.distinct())).where(
        span.holds(inbox.c.finished_at)
    )
    handed_over = select(func.count(handover_events.c.session_id.distinct())).where(
        span.holds(handover_events.c.at)
    )
    sent, answered = _followups(tx, span)
    return Figures(
        conversations=tx.execute(conversations).scalar_one(),
        messages=messages,
        replies=_replies(tx, span),
        apologies=tx.execute(
            select(func.count()).where(
                span.holds(deliveries.c.finished_at),
                deliveries.c.state == DeliveryState.SENT,
                deliveries.c.id.like(APOLOGY),
            )
        ).scalar_one(),
        handed_over=tx.execute(handed_over).scalar_one(),
        orders=[
            (str(state), data)
            for state, data in tx.execute(
                select(orders.c.state, orders.c.order_data)
                .where(span.holds(orders.c.created_at))
                .limit(MOST_ORDERS)
            )
        ],
        tokens=_tokens(tx, span),
        followups_sent=sent,
        followups_answered=answered,
    )


def _replies(tx: Connection, span: Span) -> dict[int, int]:
    first = func.min(extract("epoch", inbox.c.received_at))
    took = (
        select((extract("epoch", deliveries.c.finished_at) - first).label("took_s"))
        .join(inbox, inbox.c.turn_id == deliveries.c.id)
        .where(
            span.holds(deliveries.c.finished_at),
            deliveries.c.state == DeliveryState.SENT,
            # A reply is stored up to a day before it is delivered. Both sides use an index of time.
            inbox.c.finished_at >= span.since - DELIVERED_WITHIN,
            inbox.c.finished_at < span.until,
        )
        .group_by(deliveries.c.id, deliveries.c.finished_at)
        .subquery()
    )
    step = func.floor(took.c.took_s * STEPS_PER_S)
    return {
        int(steps): count for steps, count in tx.execute(select(step, func.count()).group_by(step))
    }


def _tokens(tx: Connection, span: Span) -> list[Tokens]:
    rows = tx.execute(
        select(
            turns.c.model,
            func.count(),
            func.sum(turns.c.prompt_tokens),
            func.sum(turns.c.completion_tokens),
        )
        .where(span.holds(turns.c.answered_at))
        .group_by(turns.c.model)
        .order_by(func.sum(turns.c.completion_tokens).desc())
    )
    return [Tokens(model, count, int(prompt), int(done)) for model, count, prompt, done in rows]


def _followups(tx: Connection, span: Span) -> tuple[int, int]:
    is_sent = and_(deliveries.c.id == followups.c.task_id, deliveries.c.state == DeliveryState.SENT)
    # One message after it, and no later than the window: times are compared as epochs, since
    # SQLite has no intervals.
    age_s = extract("epoch", inbox.c.received_at) - extract("epoch", deliveries.c.finished_at)
    came_back = exists().where(
        inbox.c.session_id == followups.c.session_id,
        inbox.c.received_at > deliveries.c.finished_at,
        age_s <= BROUGHT_BACK_WITHIN.total_seconds(),
    )
    query = select(func.count()).select_from(followups).join(deliveries, is_sent)
    query = query.where(
        span.holds(followups.c.taken_at),
        # Both sides use an index of time, as above.
        deliveries.c.finished_at >= span.since,
        deliveries.c.finished_at < span.until + DELIVERED_WITHIN,
    )
    return tx.execute(query).scalar_one(), tx.execute(query.where(came_back)).scalar_one()
