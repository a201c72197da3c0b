"""Remember which customers take no messages from us, until they write again.

``mailbox.record_activity_and_lock`` ends the state with the customer's next message.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, update

from mirt.store.tables import conversations


def mark_unreachable(
    tx: Connection, session_id: str, *, since: datetime, silent_since: datetime
) -> None:
    """Reachable → unreachable, unless the customer has written after ``silent_since``.

    A customer who has written again has unblocked us, however late the news of the block comes.
    """
    _set(tx, [session_id], None, since=since, silent_since=silent_since)


def change_reachability(
    tx: Connection,
    session_ids: Collection[str],
    platform: str,
    *,
    unreachable_since: datetime | None,
    silent_since: datetime,
) -> None:
    """Reachable ↔ unreachable: the platform says so of the conversations with these ids.

    Conversations on other platforms, and of customers who have written after ``silent_since``, do
    not change.
    """
    _set(tx, session_ids, platform, since=unreachable_since, silent_since=silent_since)


def _set(
    tx: Connection,
    session_ids: Collection[str],
    platform: str | None,
    *,
    since: datetime | None,
    silent_since: datetime,
) -> None:
    c = conversations.c
    conditions = [c.session_id.in_(session_ids), c.last_customer_at <= silent_since]
    if platform is not None:
        conditions.append(c.platform == platform)
    if since is not None:
        conditions.append(c.unreachable_since.is_(None))
    tx.execute(update(conversations).where(*conditions).values(unreachable_since=since))
