"""Remember the sessions of operators who logged out: their cookies are refused until they expire.

The cookies themselves are signed and stored nowhere (``service.admin_ui.auth.sessions``).
"""

from datetime import datetime

from sqlalchemy import Connection, delete, exists, select

from mirt.store.engine.database import upsert
from mirt.store.tables import ended_sessions


def end_session(tx: Connection, session_id: str, *, until: datetime, now: datetime) -> None:
    """Refuse a session from now on, until its cookie expires; forget those that have expired."""
    tx.execute(delete(ended_sessions).where(ended_sessions.c.until < now))
    row = {"id": session_id, "until": until}
    tx.execute(upsert(tx, ended_sessions).values(row).on_conflict_do_nothing())


def is_ended(tx: Connection, session_id: str) -> bool:
    """Whether the operator of this session has logged out."""
    found = select(exists().where(ended_sessions.c.id == session_id))
    return bool(tx.execute(found).scalar_one())
