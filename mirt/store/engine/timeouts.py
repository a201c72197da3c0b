"""Bound the wait for an answer of PostgreSQL, even if the server sends nothing at all.

The timeouts of the server hold only while it works. A server that is stopped, or behind a network
that drops packets, would block a thread without limit.
"""

from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import ConnectionTimeout, LockNotAvailable, QueryCanceled
from psycopg.pq import TransactionStatus

from mirt.clock import time_left

LEAST_S: Final = 1.0
"""Seconds that a statement has even after the deadline, to write how the task ended."""
SILENCE_S: Final = 8.0
"""Seconds that the server may send nothing."""
MARGIN_S: Final = 1.0
"""Seconds that we wait longer: a server that works has ended the statement by then."""


class SilentServer(psycopg.OperationalError):
    """No answer of the server in time; the connection is closed."""


TIMED_OUT: Final = (QueryCanceled, LockNotAvailable, ConnectionTimeout, SilentServer)


def statement_timeout(longest_s: float) -> float:
    """Return the seconds that a statement may take now.

    That is the time until the deadline of the task: at most ``longest_s``, at least ``LEAST_S``.
    """
    return max(LEAST_S, time_left(longest_s))


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes if the server does not answer in time."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for one answer: ``SILENCE_S`` and ``MARGIN_S`` at most, less near the deadline.

        Raises:
            SilentServer: no answer has come in time.
        """
        within_s = statement_timeout(SILENCE_S) + MARGIN_S if timeout is None else timeout
        try:
            return super().wait(gen, interval, within_s)
        except psycopg.OperationalError:
            if self.closed or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
        # The answer is still unread, so the connection cannot be used for anything else.
        self.close()
        raise SilentServer(f"no answer within {within_s:.1f} s")
