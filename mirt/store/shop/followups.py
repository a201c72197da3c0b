"""Follow-ups: who has been silent for long enough, and which follow-ups were taken for it.

A *silence* begins with a customer's message and ends with the next one. Its follow-ups are numbered
from 0, and each number is taken once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from mirt.store.tables import conversations, followups, history, tasks


@dataclass(frozen=True, slots=True)
class Silence:
    """A conversation in which the customer was last heard ``since`` then."""

    session_id: str
    platform: str
    chat_id: str | None
    head_task_id: str | None
    since: datetime
    followups_taken: int


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One follow-up: the task that sends it, and the how manieth of which silence it is."""

    task_id: str
    session_id: str
    since: datetime
    number: int


_SILENCE = select(
    conversations.c.session_id,
    conversations.c.platform,
    conversations.c.chat_id,
    conversations.c.head_task_id,
    conversations.c.last_customer_at,
    conversations.c.followups_taken,
)


def lock_silent(tx: Connection, *, fewer_than: int, until: datetime, limit: int) -> list[Silence]:
    """Lock silences that began by then, of which fewer follow-ups than that were taken.

    Found by an index. Two callers at once get different ones; what is not taken in this transaction
    is found again.
    """
    rows = tx.execute(
        _SILENCE.where(
            conversations.c.followups_taken.in_(range(fewer_than)),
            conversations.c.last_customer_at <= until,
            conversations.c.chat_id.is_not(None),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Silence(*row) for row in rows]


def lock_silence(tx: Connection, session_id: str) -> Silence | None:
    """Lock the conversation until the transaction ends; None when there is none."""
    row = tx.execute(
        _SILENCE.where(conversations.c.session_id == session_id).with_for_update()
    ).one_or_none()
    return None if row is None else Silence(*row)


def take(tx: Connection, taken: Sequence[FollowUp], *, now: datetime) -> None:
    """Note follow-ups of one number. Their conversations must be locked by this transaction."""
    tx.execute(insert(followups), [{**asdict(one), "taken_at": now} for one in taken])
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id.in_([one.session_id for one in taken]))
        .values(followups_taken=taken[0].number + 1)
    )


def find(tx: Connection, task_id: str) -> FollowUp | None:
    """The follow-up that this task sends, if it was taken."""
    row = tx.execute(
        select(*(followups.c[name] for name in FollowUp.__slots__)).where(
            followups.c.task_id == task_id
        )
    ).one_or_none()
    return None if row is None else FollowUp(*row)


def asked_at(tx: Connection, task_id: str) -> datetime | None:
    """When the task was asked for."""
    return tx.execute(select(tasks.c.created_at).where(tasks.c.id == task_id)).scalar_one_or_none()


def remember(tx: Connection, followup: FollowUp, text: str, *, now: datetime) -> None:
    """Write what was sent into the history, once, so that the agent knows what it has said."""
    said = select(history.c.id).where(
        history.c.session_id == followup.session_id, history.c.turn_id == followup.task_id
    )
    if tx.execute(said).first() is None:
        tx.execute(
            insert(history).values(
                session_id=followup.session_id,
                role="assistant",
                content=text,
                turn_id=followup.task_id,
                created_at=now,
            )
        )
