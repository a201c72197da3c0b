"""Store the answers of outside services even if the database is away for a while.

A completion that was paid for, or the known outcome of an effect, cannot be had a second time. All
other work fails at once while the database is away, and is retried from what is stored.
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
"""Seconds between two attempts."""
LONGEST_S: Final = 120.0
"""Seconds of retries if no deadline is set."""

T = TypeVar("T")


def commit_with_retry(database: Database, write: Callable[[Connection], T]) -> T:
    """Commit what ``write`` does; while the database is away, repeat it until the task's deadline.

    A commit may have succeeded although its confirmation was lost, so ``write`` must change nothing
    the second time. It must verify its preconditions, like the lease, each time.

    >>> def write(tx):
    ...     leases.verify(tx, lease)
    ...     return outbox.add(tx, task, now=now)
    >>> commit_with_retry(database, write)
    True

    Raises:
        DatabaseError: the database was away until the deadline. It also replaces the soft time
            limit, since the task itself did not take so long.
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
