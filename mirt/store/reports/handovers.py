"""Read the conversations that people have, or are asked for, and what was said in one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from mirt.store.shop.handovers import HandoverState, find_handover, unanswered
from mirt.store.shop.mailbox import KeptMail, MailState
from mirt.store.tables import conversations, deliveries, history, inbox

_c: Final = conversations.c
_WAITS: Final = (inbox.c.session_id == _c.session_id, inbox.c.state == MailState.WAITING)


@dataclass(frozen=True, slots=True)
class OpenHandover:
    """A conversation that is not with the bot.

    ``waiting`` is the number of messages that wait for the person, ``oldest_at`` the time of the
    oldest of them.
    """

    session_id: str
    platform: str
    customer_name: str | None
    state: HandoverState
    by: str | None
    reason: str | None
    since: datetime
    until: datetime | None
    waiting: int
    oldest_at: datetime | None

    @property
    def waits_since(self) -> datetime | None:
        """Since when the customer waits for a person; None if no one waits."""
        if self.state is HandoverState.ASKED:
            return self.since
        return self.oldest_at


def open_handovers(tx: Connection, *, limit: int) -> list[OpenHandover]:
    """Return the conversations that are not with the bot, the oldest handover first.

    Uses a partial index.
    """
    rows = tx.execute(
        select(
            _c.session_id,
            _c.platform,
            _c.customer_name,
            _c.handover_state.label("state"),
            _c.handover_by.label("by"),
            _c.handover_reason.label("reason"),
            _c.handover_since.label("since"),
            _c.handover_until.label("until"),
            select(func.count()).where(*_WAITS).scalar_subquery().label("waiting"),
            select(func.min(inbox.c.received_at))
            .where(*_WAITS)
            .scalar_subquery()
            .label("oldest_at"),
        )
        .where(_c.handover_state.is_not(None))
        .order_by(_c.handover_since)
        .limit(limit)
    )
    return [OpenHandover(**{**r._mapping, "state": HandoverState(r.state)}) for r in rows]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a conversation: of the customer, of the bot, or of the person ``said_by``."""

    role: str
    text: str
    at: datetime
    said_by: str | None
    state: str | None = None
    """The state of the delivery of a person's reply."""


@dataclass(frozen=True, slots=True)
class Talk:
    """The last lines, the mail that no one has answered, and the id of the last mail."""

    lines: Sequence[Line]
    waiting: Sequence[KeptMail]
    last_mail_id: int


def talk_of(tx: Connection, session_id: str, *, lines: int) -> Talk:
    """Return the last lines of a conversation, and the mail that waits for an answer."""
    rows = tx.execute(
        select(
            history.c.role,
            history.c.content,
            history.c.created_at,
            history.c.said_by,
            deliveries.c.state,
        )
        .outerjoin(deliveries, deliveries.c.id == history.c.turn_id)
        .where(history.c.session_id == session_id)
        .order_by(history.c.id.desc())
        .limit(lines)
    ).all()
    handover = find_handover(tx, session_id)
    last = select(func.coalesce(func.max(inbox.c.id), 0)).where(inbox.c.session_id == session_id)
    return Talk(
        [Line(*row) for row in reversed(rows)],
        unanswered(tx, handover) if handover else [],
        tx.execute(last).scalar_one(),
    )
