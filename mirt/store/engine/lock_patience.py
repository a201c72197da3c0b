"""Wait for a lock of PostgreSQL in many short waits.

A statement that waits for an exclusive lock makes every later statement on that table wait behind
it. So it gives up soon, lets the others go on, and tries again.
"""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy.exc import OperationalError

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_S: Final = 0.3
"""Seconds that one statement may wait. A webhook that waits behind it has a second in all."""
PATIENCE_S: Final = 600.0
"""Seconds of attempts: a backup or a report may hold a table for minutes."""
PAUSE_S: Final = 1.0
"""Mean of the seconds between two attempts."""

T = TypeVar("T")


def with_lock_patience(work: Callable[[], T]) -> T:
    """Return what ``work`` returns. Repeat it while it fails by a lock that another holds.

    ``work`` must have changed nothing when it fails.

    Raises:
        OperationalError: the lock was not free for ``PATIENCE_S``, or another error of ``work``.
    """
    ends, has_waited = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            return work()
        except OperationalError as failed:
            is_locked = isinstance(failed.orig, LockNotAvailable | DeadlockDetected)
            if not is_locked or time.monotonic() > ends:
                raise
            if not has_waited:
                log.warning("migration_waits", why=str(failed.orig).partition("\n")[0])
            has_waited = True
        time.sleep(random.uniform(0.5, 1.5) * PAUSE_S)
