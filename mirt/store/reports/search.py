"""Find conversations by the beginning of a name or an id, or by their problem."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, tuple_, union

from mirt.store.shop.mailbox import MailState
from mirt.store.tables import conversations, dead_letters, deliveries, inbox, orders, tasks


class Kind(StrEnum):
    """The kinds of conversations that can be listed."""

    ALL = "all"
    WAITING = "waiting"
    """A customer waits for an answer: the conversation has a head."""
    FAILED = "failed"
    """The conversation has a dead letter."""
    UNKNOWN = "unknown"
    """A reply or an order of the conversation had an unknown outcome."""
    HANDED_OVER = "handed_over"
    """A person has the conversation, or was asked for."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation in a list. ``state`` and the fields after it belong to its head."""

    session_id: str
    platform: str
    chat_id: str | None
    user_id: str | None
    customer_name: str | None
    last_customer_at: datetime
    order_status: str | None
    unreachable_since: datetime | None
    handover_state: str | None
    """Set if a person has the conversation, or was asked for."""
    handover_by: str | None
    handover_reason: str | None
    handover_since: datetime | None
    handover_until: datetime | None
    head_task_id: str | None
    waiting: int
    state: str | None
    attempt: int | None
    started_at: datetime | None
    due_at: datetime | None
    held_by: str | None


Cursor = tuple[datetime, str]
"""The last entry of a page of a list: time of the last message, and conversation."""

_c: Final = conversations.c
_WAITING: Final = (
    select(func.count())
    .where(inbox.c.session_id == _c.session_id, inbox.c.state == MailState.WAITING)
    .correlate(conversations)
    .scalar_subquery()
    .label("waiting")
)
_CONVERSATION: Final = select(
    *(_c[name] for name in Conversation.__slots__[:14]),
    _WAITING,
    tasks.c.state,
    tasks.c.attempt,
    tasks.c.started_at,
    tasks.c.due_at,
    tasks.c.held_by,
).outerjoin(tasks, tasks.c.id == _c.head_task_id)


def conversations_found(
    tx: Connection,
    *,
    text: str = "",
    kind: Kind = Kind.ALL,
    after: Cursor | None = None,
    limit: int,
) -> list[Conversation]:
    """Return the conversations that match, the latest message first.

    ``text`` is the beginning of a conversation's id, user id or customer name.
    """
    query = (
        _of_kind(_CONVERSATION, kind)
        .where(*_named(text.strip()))
        .order_by(_c.last_customer_at.desc(), _c.session_id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(_c.last_customer_at, _c.session_id) < after)
    return [Conversation(**row._mapping) for row in tx.execute(query)]


def conversation(tx: Connection, session_id: str) -> Conversation | None:
    """Return the conversation of this id; None if there is none."""
    row = tx.execute(_CONVERSATION.where(_c.session_id == session_id)).one_or_none()
    return None if row is None else Conversation(**row._mapping)


def _named(text: str) -> list[ColumnElement[bool]]:
    if not text:
        return []
    # Names begin with a capital letter; operators often type them without.
    names = (_c.customer_name.startswith(x, autoescape=True) for x in (text, text.capitalize()))
    ids = (_c[name].startswith(text, autoescape=True) for name in ("session_id", "user_id"))
    return [or_(*ids, *names)]


def _of_kind(query: Select[Any], kind: Kind) -> Select[Any]:
    if kind is Kind.WAITING:
        return query.where(_c.head_task_id.is_not(None))
    if kind is Kind.HANDED_OVER:
        return query.where(_c.handover_state.is_not(None))
    if kind is Kind.ALL:
        return query
    # Select the few matching conversations first. A scan of all conversations until enough match
    # takes long if the matches are old.
    if kind is Kind.FAILED:
        matches = select(dead_letters.c.session_id).distinct().subquery("meant")
    else:
        matches = union(
            *(select(t.c.session_id).where(t.c.unknown > 0) for t in (deliveries, orders))
        ).subquery("meant")
    return query.join(matches, matches.c.session_id == _c.session_id)


@dataclass(frozen=True, slots=True)
class WaitingConversation:
    """A conversation with a head: its waiting mail, and the state of the head."""

    session_id: str
    customer_name: str | None
    messages: int
    since: datetime
    task_id: str
    actor: str | None
    state: str | None
    attempt: int | None
    owner: str | None
    fence: int | None
    started_at: datetime | None
    due_at: datetime | None
    held_by: str | None
    held_since: datetime | None


def waiting_longest(tx: Connection, *, limit: int) -> list[WaitingConversation]:
    """Return the conversations that have waited the longest, the longest first."""
    since = func.coalesce(inbox.c.received_at, tasks.c.created_at, _c.last_customer_at)
    rows = tx.execute(
        select(
            _c.session_id,
            _c.customer_name,
            _WAITING,
            since,
            _c.head_task_id,
            *(tasks.c[name] for name in WaitingConversation.__slots__[5:]),
        )
        .outerjoin(tasks, tasks.c.id == _c.head_task_id)
        .outerjoin(inbox, inbox.c.task_id == _c.head_task_id)
        .where(_c.head_task_id.is_not(None))
        .order_by(since)
        .limit(limit)
    )
    return [WaitingConversation(*row) for row in rows]
