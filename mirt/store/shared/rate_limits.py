"""A pace that all processes keep together: so many calls a second, evenly spaced.

Evenly, because a window that is counted lets two bursts meet: what is allowed at its end and what
is allowed at the beginning of the next arrive within the same second at the other side.

Slots are given out ahead of time. So whenever it is not known what was given out (Redis has lost
it, or each process has kept its own share for a while), nothing new is given out before all of that
is over: a pause for some seconds, and never a second with too much in it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from redis import Redis

from mirt.clock import remaining
from mirt.errors import CooldownError
from mirt.store.engine.redis_client import REST_S, BestEffort

MARGIN: Final = 0.8
"""The part of the rate that is used: what is sent evenly arrives less evenly, all the more from a
machine that is busy. The rest makes up for a process that stands still for a fifth of a second."""
LONGEST_WAIT_S: Final = 3.0
"""How far ahead a slot is given out."""
LATE_S: Final = 0.05
A_SECOND: Final = 1.0
"""Between two ways of giving out slots, so that no second has some of both."""
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local spacing, longest, rest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('GET', KEYS[1])
local slot = math.max(now + rest, tonumber(known or now + longest + spacing))
local taken = (slot - now <= longest) or not (known or rest > 0)
local free = taken and slot + spacing or slot
redis.call('SET', KEYS[1], string.format('%.0f', free), 'EX', 604800)
return {slot - now, taken and 1 or 0}
"""
"""The microseconds until the next free slot, and whether it was taken: not if it is too far away.

Where nothing is known, slots may have been given out for as long as they are.
"""


class RateLimiter(Protocol):
    """Lets a caller go when it is its turn."""

    def wait(self) -> None:
        """Wait for a slot.

        Raises:
            CooldownError: the next one is too far away to wait for; none was taken.
            SoftTimeLimitExceeded: the work's time is over first.
        """


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot that begins in so many seconds; one that is too far away is not taken."""

    begins_in: float
    taken: bool


class LocalRateLimiter:
    """The pace of one process by itself."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing = 1 / (per_second * MARGIN)
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> Reservation:
        """Take the next slot, unless it is too far away."""
        with self._lock:
            now = self._clock()
            begins_in = max(now, self._free_at) - now
            taken = begins_in <= LONGEST_WAIT_S
            if taken:
                self._free_at = now + begins_in + self._spacing
            return Reservation(begins_in, taken)

    def rest(self, seconds: float) -> None:
        """Give out no slot that begins within these seconds."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)

    def wait(self) -> None:
        """Wait for a slot of this process."""
        _wait(self.take)


def share_of(per_second: float, processes: int) -> float:
    """The calls a second of one process: whole ones, so that all together keep to it every second.

    Where there are more processes than calls, they keep to it on average.
    """
    share = per_second / processes
    return share if share < 1 else int(share)


class RedisRateLimiter:
    """The pace of all processes, kept in Redis, by the clock of Redis.

    Without Redis each of at most ``processes`` processes keeps its share of it.
    """

    def __init__(self, redis: Redis, name: str, per_second: float, *, processes: int) -> None:
        self._take = redis.register_script(_TAKE)
        self._key = f"pace:{name}"
        self._spacing_us = round(1_000_000 / (per_second * MARGIN))
        self._best_effort = BestEffort(f"pace of {name}")
        self._share = LocalRateLimiter(share_of(per_second, processes))
        self._alone = False

    def wait(self) -> None:
        """Wait for a slot of all processes."""
        _wait(self._next)

    def _next(self) -> Reservation:
        # Who has kept its own share is not the only one: the others come back within REST_S.
        rest_s = REST_S + LONGEST_WAIT_S + A_SECOND if self._alone else 0.0
        times_us = [self._spacing_us, *(round(s * 1_000_000) for s in (LONGEST_WAIT_S, rest_s))]
        answer = self._best_effort(
            lambda: self._take(keys=[self._key], args=times_us), default=None
        )
        if answer is not None:
            self._alone = False
            wait_us, taken = answer
            return Reservation(int(wait_us) / 1_000_000, bool(taken))
        if not self._alone:
            self._share.rest(LONGEST_WAIT_S + A_SECOND)
            self._alone = True
        return self._share.take()


def _wait(take: Callable[[], Reservation]) -> None:
    while True:
        reservation = take()
        if not reservation.taken:
            raise CooldownError("our own pace", retry_after=reservation.begins_in)
        begins = time.monotonic() + reservation.begins_in
        while (left_s := begins - time.monotonic()) > 0:
            time.sleep(remaining(left_s))
        # Whoever was woken up late would meet those whose turn it is now.
        if time.monotonic() - begins <= LATE_S:
            return
