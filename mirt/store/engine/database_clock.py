"""Tell the time of the database server, which is the same for all processes and machines.

Every transaction brings a reading of the server's clock with it, without a round trip of its own.
Between two readings this machine's steady clock goes on. So a wall clock that is wrong, or is set
while the service runs, changes no lease, no delay and no tick.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from mirt.clock import Clock, utc_now
from mirt.observe import metrics


def steady_s() -> float:
    """Return the seconds of a clock that is never set. It also counts the sleep of the machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DatabaseClock:
    """The clock of the database server, as far as its readings tell.

    A reading was taken at some moment between our question and its answer, so it bounds the
    difference of the two clocks from both sides. The difference in use changes only when a reading
    proves it wrong, and no more than that. A slow answer proves little, and does no harm.
    """

    def __init__(
        self,
        read: Callable[[], None],
        *,
        steady: Callable[[], float] = steady_s,
        system: Clock = utc_now,
    ) -> None:
        """``read`` makes any transaction, and so a reading; the first use needs one."""
        self._read = read
        self._steady = steady
        self._system = system
        self._difference_s: float | None = None

    def __call__(self) -> datetime:
        """Return the time of the server.

        Raises:
            DatabaseError: this process has not reached the database yet, and cannot do so now.
        """
        return datetime.fromtimestamp(self._difference() + self._steady(), UTC)

    def ahead_s(self) -> float:
        """Return the seconds by which the clock of this machine is ahead; negative if behind.

        Raises:
            DatabaseError: as for the time.
        """
        return (self._system() - self()).total_seconds()

    def heard(self, server_s: float, *, asked_at: float, answered_at: float) -> None:
        """Take a reading: the server's seconds since 1970, and our steady seconds around it."""
        least, most = server_s - answered_at, server_s - asked_at
        known = self._difference_s
        self._difference_s = (least + most) / 2 if known is None else min(max(known, least), most)
        metrics.CLOCK_AHEAD.set(round(self.ahead_s(), 3))

    def _difference(self) -> float:
        if self._difference_s is None:
            self._read()
        if self._difference_s is None:
            raise AssertionError("a transaction brings a reading")
        return self._difference_s
