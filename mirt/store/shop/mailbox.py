"""The mailbox of a conversation: who waits, whose turn it is, who is next.

At most one task of a conversation is alive at any time: its *head*. Everybody who moves the head
locks the conversation's row first, so that a message which arrives while a turn ends is either seen
by the one who ends it or finds the conversation idle.

Who works on a task, ends or revives it holds the task's row before it locks the conversation, so
nobody may hold a conversation and wait for a task that somebody else may be at: neither claim one
nor hold it. Who has locked a conversation adds new tasks, and changes those that only wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from mirt.store.engine.database import upsert
from mirt.store.tables import conversations, history, inbox


class MailState(StrEnum):
    """Where a customer's message is: waiting → answered, or → failed."""

    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mail:
    """A customer's message, as the mailbox keeps it. ``actor`` is the task that answers it."""

    task_id: str
    session_id: str
    actor: str
    text: str
    platform: str
    trace_id: str
    chat_id: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trace_context: Mapping[str, str] = field(default_factory=dict)
    """The W3C headers of the place in the trace at which it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMail(Mail):
    """… and how far it has come."""

    id: int
    state: MailState
    turn_id: str | None
    received_at: datetime


def keep(tx: Connection, mail: Mail, *, now: datetime) -> bool:
    """Put a message into the mailbox; whether it was new. A second copy changes nothing."""
    values = {**asdict(mail), "state": MailState.WAITING, "received_at": now}
    added = tx.execute(
        upsert(tx, inbox).values(values).on_conflict_do_nothing().returning(inbox.c.id)
    )
    return added.scalar_one_or_none() is not None


def record_activity_and_lock(tx: Connection, mail: Mail, *, now: datetime) -> str | None:
    """Note that the customer has written, and lock the conversation; the id of its head.

    That ends the silence which follow-ups and a summary waited for, and begins the next one.
    """
    seen = {
        "platform": mail.platform,
        "chat_id": mail.chat_id,
        "user_id": mail.user_id,
        "last_customer_at": now,
        "followups_taken": 0,
        "summary_awaited": True,
    }
    if name := mail.metadata.get("first_name") or mail.metadata.get("username"):
        seen["customer_name"] = str(name)
    head: str | None = tx.execute(
        upsert(tx, conversations)
        .values(session_id=mail.session_id, created_at=now, **seen)
        .on_conflict_do_update(index_elements=[conversations.c.session_id], set_=seen)
        .returning(conversations.c.head_task_id)
    ).scalar_one()
    return head


def head_of(tx: Connection, session_id: str) -> str | None:
    """The id of the head just now, for who only looks; a moment later it may be another."""
    asked = select(conversations.c.head_task_id).where(conversations.c.session_id == session_id)
    head: str | None = tx.execute(asked).scalar_one_or_none()
    return head


def lock_head(tx: Connection, session_id: str) -> str | None:
    """Lock the conversation until the transaction ends; the id of its head."""
    return tx.execute(
        select(conversations.c.head_task_id)
        .where(conversations.c.session_id == session_id)
        .with_for_update()
    ).scalar_one_or_none()


def set_head(tx: Connection, session_id: str, task_id: str | None) -> None:
    """Say whose turn it is. The conversation must be locked by this transaction."""
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(head_task_id=task_id)
    )


def platform_of(tx: Connection, session_id: str) -> str | None:
    """The platform that a conversation came from; None when there is no such conversation."""
    asked = select(conversations.c.platform).where(conversations.c.session_id == session_id)
    platform: str | None = tx.execute(asked).scalar_one_or_none()
    return platform


def received_since(tx: Connection, session_id: str, since: datetime) -> list[KeptMail]:
    """What a customer has written since then."""
    rows = tx.execute(
        select(inbox).where(inbox.c.session_id == session_id, inbox.c.received_at >= since)
    )
    return [_kept(row) for row in rows]


def find(tx: Connection, task_id: str) -> KeptMail | None:
    """The message of this task."""
    row = tx.execute(select(inbox).where(inbox.c.task_id == task_id)).one_or_none()
    return None if row is None else _kept(row)


def waiting(
    tx: Connection, session_id: str, *, limit: int | None, since_id: int = 0
) -> list[KeptMail]:
    """Those who wait, in the order in which they came, from ``since_id`` on."""
    rows = tx.execute(
        select(inbox)
        .where(
            inbox.c.session_id == session_id,
            inbox.c.state == MailState.WAITING,
            inbox.c.id >= since_id,
        )
        .order_by(inbox.c.id)
        .limit(limit)
    )
    return [_kept(row) for row in rows]


def take(tx: Connection, ids: Collection[int], *, turn_id: str) -> None:
    """Note which waiting messages the turn has taken with it."""
    tx.execute(update(inbox).where(inbox.c.id.in_(ids)).values(turn_id=turn_id))


def settle(tx: Connection, *, turn_id: str, task_id: str, state: MailState, now: datetime) -> None:
    """Answer, or fail, all that the turn has taken and that still waits."""
    tx.execute(
        update(inbox)
        .where(
            (inbox.c.turn_id == turn_id) | (inbox.c.task_id == task_id),
            inbox.c.state == MailState.WAITING,
        )
        .values(state=state, turn_id=turn_id, finished_at=now)
    )


def reopen(tx: Connection, turn_id: str) -> None:
    """Let all that a failed turn had taken wait again."""
    tx.execute(
        update(inbox)
        .where(inbox.c.turn_id == turn_id, inbox.c.state == MailState.FAILED)
        .values(state=MailState.WAITING, turn_id=None, finished_at=None)
    )


def restart(tx: Connection, session_id: str) -> None:
    """Begin the conversation afresh: what was said before is no longer told to the agent."""
    last = select(func.coalesce(func.max(history.c.id), 0)).where(
        history.c.session_id == session_id
    )
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(restarted_after=last.scalar_subquery(), summary=None)
    )


def stranded(tx: Connection, *, limit: int) -> list[str]:
    """Sessions in which somebody waits and nobody's turn it is. There should be none."""
    rows = tx.execute(
        select(inbox.c.session_id)
        .join(conversations, conversations.c.session_id == inbox.c.session_id)
        .where(inbox.c.state == MailState.WAITING, conversations.c.head_task_id.is_(None))
        .distinct()
        .limit(limit)
    )
    return list(rows.scalars())


def _kept(row: Row[Any]) -> KeptMail:
    values = dict(row._mapping)
    del values["finished_at"]
    return KeptMail(**{**values, "state": MailState(values["state"])})
