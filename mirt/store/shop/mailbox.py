"""Read and change the mailbox of a conversation, and its head.

At most one task of a conversation is alive at any time: its *head*. Every transaction that moves
the head locks the row of the conversation first. So mail that arrives while a turn ends is either
seen by the transaction that ends the turn, or finds the conversation without a head.

The order of locks prevents deadlocks. A transaction that works on, ends or revives a task locks
the row of the task before the row of the conversation. So a transaction that has locked a
conversation must not claim or verify a task that another transaction may hold. It may add new tasks
and change tasks that are not running. A transaction that locks several conversations locks them in
the order of their ids, as Python sorts them.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, exists, func, select, update

from mirt.store.engine.database import upsert
from mirt.store.tables import conversations, history, inbox, tasks

LONGEST_NAME: Final = 100
"""Characters of a customer's name that are kept."""


class MailState(StrEnum):
    """The states of mail: waiting → answered, failed or cancelled."""

    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """An operator has cancelled its turn: the bot does not answer it."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A customer's message as it enters the mailbox. ``actor`` names the task that answers it."""

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
    """The W3C headers of the span context in which the message was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMail(Mail):
    """Mail that is in the mailbox, with its state and the turn that has taken it."""

    id: int
    state: MailState
    turn_id: str | None
    received_at: datetime


def add(tx: Connection, mail: Mail, *, now: datetime) -> bool:
    """Add mail to the mailbox; return whether it was new. A second copy changes nothing."""
    values = {**asdict(mail), "state": MailState.WAITING, "received_at": now}
    added = tx.execute(
        upsert(tx, inbox).values(values).on_conflict_do_nothing().returning(inbox.c.id)
    )
    return added.scalar_one_or_none() is not None


def customer_name(mail: Mail) -> str | None:
    """Return the name under which operators know the customer, as far as it fits into an index."""
    name = mail.metadata.get("first_name") or mail.metadata.get("username")
    return str(name)[:LONGEST_NAME] if name else None


@dataclass(frozen=True, slots=True)
class Locked:
    """A locked conversation: the id of its head, and whether it is with a person, not the bot."""

    head: str | None
    is_handed_over: bool

    @property
    def is_idle(self) -> bool:
        """Whether new mail becomes the head: nothing is being answered, and the bot answers."""
        return self.head is None and not self.is_handed_over


def record_activity_and_lock(tx: Connection, mail: Mail, *, now: datetime) -> Locked:
    """Record that the customer has written, and lock the conversation.

    This ends the silence that follow-ups and a summary wait for, and begins the next one. A
    conversation without a row gets one. A chat or user that the mail does not name stays known. A
    customer who was unreachable is reachable.
    """
    activity: dict[str, Any] = {
        "platform": mail.platform,
        "chat_id": mail.chat_id,
        "user_id": mail.user_id,
        "last_customer_at": now,
        "followups_taken": 0,
        "summary_awaited": True,
    }
    if name := customer_name(mail):
        activity["customer_name"] = name
    known = {name: value for name, value in activity.items() if value is not None}
    known["unreachable_since"] = None
    found = tx.execute(
        upsert(tx, conversations)
        .values(session_id=mail.session_id, created_at=now, **activity)
        .on_conflict_do_update(index_elements=[conversations.c.session_id], set_=known)
        .returning(conversations.c.head_task_id, conversations.c.handover_state)
    ).one()
    return Locked(found.head_task_id, found.handover_state is not None)


def head_of(tx: Connection, session_id: str) -> str | None:
    """Return the id of the head without a lock; a moment later it may be another."""
    query = select(conversations.c.head_task_id).where(conversations.c.session_id == session_id)
    head: str | None = tx.execute(query).scalar_one_or_none()
    return head


def lock_head(tx: Connection, session_id: str) -> str | None:
    """Lock the conversation until the transaction ends; return the id of its head, or None."""
    return tx.execute(
        select(conversations.c.head_task_id)
        .where(conversations.c.session_id == session_id)
        .with_for_update()
    ).scalar_one_or_none()


def set_head(tx: Connection, session_id: str, task_id: str | None) -> None:
    """Set or clear the head. This transaction must hold the lock of the conversation."""
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(head_task_id=task_id)
    )


def platform_of(tx: Connection, session_id: str) -> str | None:
    """Return the platform of a conversation; None if there is no such conversation."""
    query = select(conversations.c.platform).where(conversations.c.session_id == session_id)
    platform: str | None = tx.execute(query).scalar_one_or_none()
    return platform


def received_since(tx: Connection, session_id: str, since: datetime) -> list[KeptMail]:
    """Return the mail that a conversation received since then, in any state and order."""
    rows = tx.execute(
        select(inbox).where(inbox.c.session_id == session_id, inbox.c.received_at >= since)
    )
    return [_kept(row) for row in rows]


def find(tx: Connection, task_id: str) -> KeptMail | None:
    """Return the mail of this task; None if there is none."""
    row = tx.execute(select(inbox).where(inbox.c.task_id == task_id)).one_or_none()
    return None if row is None else _kept(row)


def waiting_mail(
    tx: Connection, session_id: str, *, limit: int | None, since_id: int = 0
) -> list[KeptMail]:
    """Return the mail that waits, the oldest first, from ``since_id`` on."""
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


def failed_since(tx: Connection, session_id: str, since: datetime) -> list[KeptMail]:
    """Return the mail of turns that have failed for good since then, the oldest first."""
    rows = tx.execute(
        select(inbox)
        .where(
            inbox.c.session_id == session_id,
            inbox.c.state == MailState.FAILED,
            inbox.c.finished_at >= since,
        )
        .order_by(inbox.c.id)
    )
    return [_kept(row) for row in rows]


def assign_to_turn(tx: Connection, ids: Collection[int], *, turn_id: str) -> None:
    """Record which waiting mail the turn answers."""
    tx.execute(update(inbox).where(inbox.c.id.in_(ids)).values(turn_id=turn_id))


def settle(tx: Connection, *, turn_id: str, task_id: str, state: MailState, now: datetime) -> None:
    """Waiting → answered, failed or cancelled: end the mail of the turn, and that of the task."""
    tx.execute(
        update(inbox)
        .where(
            (inbox.c.turn_id == turn_id) | (inbox.c.task_id == task_id),
            inbox.c.state == MailState.WAITING,
        )
        .values(state=state, turn_id=turn_id, finished_at=now)
    )


def withdraw(tx: Connection, task_id: str, *, now: datetime) -> str | None:
    """Waiting → cancelled: end mail that waits behind the head; return its conversation.

    None if there is no such mail, if it is over, or if a turn has taken it.
    """
    mail = find(tx, task_id)
    if mail is None:
        return None
    lock_head(tx, mail.session_id)
    withdrawn = tx.execute(
        update(inbox)
        .where(
            inbox.c.task_id == task_id,
            inbox.c.state == MailState.WAITING,
            inbox.c.turn_id.is_(None),
        )
        .values(state=MailState.CANCELLED, finished_at=now)
    )
    return mail.session_id if withdrawn.rowcount else None


def reopen(tx: Connection, turn_id: str) -> None:
    """Failed → waiting: let the mail of a failed turn wait again, without a turn."""
    tx.execute(
        update(inbox)
        .where(inbox.c.turn_id == turn_id, inbox.c.state == MailState.FAILED)
        .values(state=MailState.WAITING, turn_id=None, finished_at=None)
    )


def restart(tx: Connection, session_id: str) -> None:
    """Begin the conversation afresh: the LLM no longer gets the history and summary so far.

    A customer who wanted no follow-ups gets them again.
    """
    last = select(func.coalesce(func.max(history.c.id), 0)).where(
        history.c.session_id == session_id
    )
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(restarted_after=last.scalar_subquery(), summary=None, followups_off=False)
    )


def conversations_without_head(tx: Connection, *, limit: int) -> list[str]:
    """Return conversations with mail that waits for the bot, and no head. There should be none."""
    c = conversations.c
    rows = tx.execute(
        select(inbox.c.session_id)
        .join(conversations, c.session_id == inbox.c.session_id)
        .where(
            inbox.c.state == MailState.WAITING,
            c.head_task_id.is_(None),
            c.handover_state.is_(None),
        )
        .distinct()
        .limit(limit)
    )
    return list(rows.scalars())


def _has_dead_head() -> Any:
    """Return the condition that the task of the head does not go on: it is over, or it has no row.

    A conversation that waits like this waits for ever.
    """
    c = conversations.c
    alive = tasks.alias("alive")
    goes_on = exists().where(alive.c.id == c.head_task_id, alive.c.due_at.is_not(None))
    return and_(c.head_task_id.is_not(None), ~goes_on)


def count_dead_heads(tx: Connection) -> int:
    """Return the number of conversations whose head does not go on. There should be none."""
    return tx.execute(
        select(func.count()).select_from(conversations).where(_has_dead_head())
    ).scalar_one()


def conversations_with_dead_head(tx: Connection, *, limit: int) -> list[str]:
    """Return conversations whose head does not go on. There should be none."""
    query = select(conversations.c.session_id).where(_has_dead_head()).limit(limit)
    return list(tx.execute(query).scalars())


def lock_dead_head(tx: Connection, session_id: str) -> tuple[str, str | None] | None:
    """Lock the conversation; return its head and the state of the head's task, None without a row.

    Return None if the head goes on.
    """
    lock_head(tx, session_id)
    c = conversations.c
    row = tx.execute(
        select(c.head_task_id, tasks.c.state)
        .outerjoin(tasks, tasks.c.id == c.head_task_id)
        .where(c.session_id == session_id, _has_dead_head())
    ).one_or_none()
    return None if row is None else (row.head_task_id, row.state)


def _kept(row: Row[Any]) -> KeptMail:
    values = dict(row._mapping)
    del values["finished_at"]
    return KeptMail(**{**values, "state": MailState(values["state"])})
