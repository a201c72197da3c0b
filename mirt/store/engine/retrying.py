"""What the world outside has answered is written down, though the database may be away just now.

An answer that was paid for, or an effect that is known, cannot be had a second time; everything
else fails at once, and is tried again from what is stored.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection

from mirt.clock import time_left
from mirt.errors import DatabaseError, SoftTimeLimitExceeded
from mirt.store.engine.database import Database

log = structlog.get_logger(__name__)

AGAIN_S: Final = 0.3
LONGEST_S: Final = 120.0
"""For how long, in work that has no deadline."""

T = TypeVar("T")


def commit_with_retry(database: Database, write: Callable[[Connection], T]) -> T:
    """Commit what ``write`` does, and repeat that while the deadline of the work allows it.

    A commit may have succeeded though its confirmation was lost: ``write`` must change nothing the
    second time. What it checks, as the lease, is checked each time.

    Raises:
        DatabaseError: the database was away until the end; also in place of the soft time limit,
            since the work is not what has taken so long.
    """
    ends = time.monotonic() + time_left(LONGEST_S)
    away: DatabaseError | None = None
    while True:
        try:
            with database.transaction() as tx:
                return write(tx)
        except DatabaseError as failed:
            if away is None:
                log.warning("database_away", why=failed.message)
            away = failed
        except SoftTimeLimitExceeded:
            if away is None:
                raise
            raise away from None
        if time.monotonic() + AGAIN_S >= ends:
            raise away
        time.sleep(AGAIN_S)
