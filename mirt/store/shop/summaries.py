"""Read the history that a summary is made of, and replace it with the summary."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from mirt.store.shop.turns import Said
from mirt.store.tables import conversations, history


@dataclass(frozen=True, slots=True)
class Unsummarised:
    """The summary so far, and the history since: ids and lines, the oldest first."""

    summary: str | None
    ids: Collection[int]
    lines: list[Said]


def take_silent(tx: Connection, *, until: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Take conversations that await a summary and have been silent since ``until``.

    Return their ids and the times of the last message. Uses an index. Concurrent callers take
    different conversations.
    """
    silent = (
        select(conversations.c.session_id)
        .where(conversations.c.summary_awaited, conversations.c.last_customer_at <= until)
        .order_by(conversations.c.last_customer_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = tx.execute(
        update(conversations)
        .where(conversations.c.session_id.in_(silent.scalar_subquery()))
        .values(summary_awaited=False)
        .returning(conversations.c.session_id, conversations.c.last_customer_at)
    )
    return [(row.session_id, row.last_customer_at) for row in rows]


def last_line(tx: Connection, session_id: str) -> int:
    """Return the id of the last line of the history; 0 if there is none."""
    last = select(func.max(history.c.id)).where(history.c.session_id == session_id)
    return tx.execute(last).scalar() or 0


def read_unsummarised(
    tx: Connection, session_id: str, *, until_id: int, characters: int
) -> Unsummarised | None:
    """Return the lines since the last summary, the oldest first; None if there are none.

    The lines have at most ``characters`` in all, but the first one is always included.
    """
    known = tx.execute(
        select(conversations.c.summary, conversations.c.restarted_after).where(
            conversations.c.session_id == session_id
        )
    ).one_or_none()
    if known is None:
        return None
    rows = tx.execute(
        select(history.c.id, history.c.role, history.c.content)
        .where(
            history.c.session_id == session_id,
            history.c.id > known.restarted_after,
            history.c.id <= until_id,
        )
        .order_by(history.c.id)
        .limit(characters)
    )
    ids: list[int] = []
    lines: list[Said] = []
    for row in rows:
        characters -= len(row.content)
        if lines and characters < 0:
            break
        ids.append(row.id)
        lines.append(Said(row.role, row.content))
    return Unsummarised(known.summary, ids, lines) if lines else None


def replace_with_summary(
    tx: Connection, session_id: str, unsummarised: Unsummarised, summary: str, *, now: datetime
) -> bool:
    """Store the summary and delete the lines that it replaces; return False if it is too late.

    It is too late, and nothing changes, if another summary has been stored since, or the
    conversation was begun afresh. A second call with the same arguments changes nothing and
    returns True.
    """
    lock = select(
        conversations.c.summary, conversations.c.summarised_at, conversations.c.restarted_after
    )
    known = tx.execute(lock.where(conversations.c.session_id == session_id).with_for_update()).one()
    there = select(func.count()).select_from(history).where(history.c.id.in_(unsummarised.ids))
    lines = tx.execute(there).scalar_one()
    if (known.summary, known.summarised_at, lines) == (summary, now, 0):
        return True
    if (
        known.summary != unsummarised.summary
        or known.restarted_after >= min(unsummarised.ids)
        or lines != len(unsummarised.ids)
    ):
        return False
    tx.execute(delete(history).where(history.c.id.in_(unsummarised.ids)))
    tx.execute(
        update(conversations)
        .where(conversations.c.session_id == session_id)
        .values(summary=summary, summarised_at=now)
    )
    return True
