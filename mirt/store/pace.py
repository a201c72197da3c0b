"""A pace that all processes keep together: so many calls a second, evenly spaced.

Evenly, because a window that is counted lets two bursts meet: what is allowed at its end and what
is allowed at the beginning of the next arrive within the same second at the other side.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from redis import Redis

from mirt.clock import remaining
from mirt.errors import OwnPauseError
from mirt.store.redis import BestEffort

MARGIN: Final = 0.9
"""The part of the rate that is used: what is sent evenly arrives a little less evenly."""
LONGEST_WAIT_S: Final = 5.0
LATE_S: Final = 0.05
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local slot = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = slot - now
if wait <= tonumber(ARGV[2]) then
    redis.call('SET', KEYS[1], string.format('%.0f', slot + ARGV[1]), 'PX', 60000)
end
return wait
"""
"""Takes the next free slot, unless it is too far away; the microseconds until it begins."""


class Pace(Protocol):
    """Lets a caller go when it is its turn."""

    def wait(self) -> None:
        """Wait for a slot.

        Raises:
            OwnPauseError: the next one is too far away to wait for; none was taken.
            SoftTimeLimitExceeded: the work's time is over first.
        """


class OwnPace:
    """The pace of one process by itself."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing = 1 / (per_second * MARGIN)
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> float:
        """Take the next slot, unless it is too far away; the seconds until it begins."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._free_at)
            if slot - now <= LONGEST_WAIT_S:
                self._free_at = slot + self._spacing
            return slot - now

    def wait(self) -> None:
        """Wait for a slot of this process."""
        _wait(self.take)


class SharedPace:
    """The pace of all processes, kept in Redis, by the clock of Redis.

    Without Redis each of at most ``processes`` processes keeps its share of it.
    """

    def __init__(self, redis: Redis, name: str, per_second: float, *, processes: int) -> None:
        self._take = redis.register_script(_TAKE)
        self._key = f"pace:{name}"
        self._spacing_us = round(1_000_000 / (per_second * MARGIN))
        self._best_effort = BestEffort(f"pace of {name}")
        self._share = OwnPace(per_second / processes)

    def wait(self) -> None:
        """Wait for a slot of all processes."""
        _wait(self._next)

    def _next(self) -> float:
        wait_us = self._best_effort(
            lambda: int(
                self._take(
                    keys=[self._key], args=[self._spacing_us, round(LONGEST_WAIT_S * 1_000_000)]
                )
            ),
            default=None,
        )
        return self._share.take() if wait_us is None else wait_us / 1_000_000


def _wait(take: Callable[[], float]) -> None:
    while True:
        wait_s = take()
        if wait_s > LONGEST_WAIT_S:
            raise OwnPauseError("our own pace", retry_after=wait_s)
        begins = time.monotonic() + wait_s
        while (left_s := begins - time.monotonic()) > 0:
            time.sleep(remaining(left_s))
        # Whoever was woken up late would meet those whose turn it is now.
        if time.monotonic() - begins <= LATE_S:
            return
