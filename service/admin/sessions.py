"""End the session of an operator before its cookie expires."""

from datetime import timedelta

from mirt.store.queue import ended_sessions as store
from mirt.store.queue.audit import record_act
from service.admin.context import AdminContext


def end(context: AdminContext, session_id: str, *, lasts_s: float) -> None:
    """Refuse this session for ``lasts_s`` seconds, after which its cookie has expired anyway.

    Raises:
        DatabaseError: the end could not be stored.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        store.end_session(tx, session_id, until=now + timedelta(seconds=lasts_s), now=now)
        record_act(tx, "log out", now=now)


def has_ended(context: AdminContext, session_id: str) -> bool:
    """Whether the operator of this session has logged out.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return store.is_ended(tx, session_id)
