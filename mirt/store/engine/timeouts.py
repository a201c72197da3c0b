"""How long an answer of the database is waited for, also when the server says nothing at all.

The server's own limits hold only while it is well. One that is stopped, or behind a network that
swallows packets, would hold a thread for as long as it likes.
"""

from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import ConnectionTimeout, LockNotAvailable, QueryCanceled
from psycopg.pq import TransactionStatus

from mirt.clock import time_left

LEAST_S: Final = 1.0
"""What is left to a statement even after the deadline: how the work ended has to be written."""
SILENCE_S: Final = 8.0
MARGIN_S: Final = 1.0
"""A server that is well ends a statement by itself before."""


class SilentServer(psycopg.OperationalError):
    """The server has not answered in time; the connection is closed."""


TIMED_OUT: Final = (QueryCanceled, LockNotAvailable, ConnectionTimeout, SilentServer)


def statement_timeout(longest_s: float) -> float:
    """Seconds that a statement may take now: by the deadline of the work, and ``LEAST_S``."""
    return max(LEAST_S, time_left(longest_s))


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer does not come."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for one answer, for ``SILENCE_S`` at most and by the deadline of the work."""
        within_s = statement_timeout(SILENCE_S) + MARGIN_S if timeout is None else timeout
        try:
            return super().wait(gen, interval, within_s)
        except psycopg.OperationalError:
            if self.closed or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
        # Nobody has read its answer, so nothing else can be asked over it.
        self.close()
        raise SilentServer(f"no answer within {within_s:.1f} s")
