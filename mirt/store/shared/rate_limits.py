"""Limit the calls per second of all processes together, evenly spaced.

A counted window would let two bursts meet: the calls at the end of one window and at the beginning
of the next arrive at the other side within the same second. Even spacing does not.

A reservation is a moment ahead of time at which one call may begin. Sometimes the reservations of
the others are unknown: Redis has lost them, or each process has used its own share for a while.
Then no new reservation is made until all of them are over. That is a pause of a few seconds, and no
second with too many calls.
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
"""Part of the rate that is used. Calls that are sent evenly arrive less evenly, above all from a
busy machine. The rest makes up for a process that stands still for a fifth of a second."""
LONGEST_WAIT_S: Final = 3.0
"""Seconds ahead of now within which a reservation is granted."""
LATE_S: Final = 0.05
"""Seconds after its beginning until which a reservation is valid."""
A_SECOND: Final = 1.0
"""Pause when a process changes from Redis to its share or back, so that no second contains
reservations of both."""
_RESERVE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local spacing, longest, rest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('GET', KEYS[1])
local begins = math.max(now + rest, tonumber(known or now + longest + spacing))
local granted = (begins - now <= longest) or not (known or rest > 0)
local free = granted and begins + spacing or begins
redis.call('SET', KEYS[1], string.format('%.0f', free), 'EX', 604800)
return {begins - now, granted and 1 or 0}
"""
"""Script that returns the microseconds until the next reservation begins, and whether it is
granted: not if it is too far away.

If Redis knows nothing, reservations may exist for as far ahead as they are granted.
"""


class RateLimiter(Protocol):
    """A limit of calls per second; ``wait`` returns when the caller may make one call."""

    def wait(self) -> None:
        """Reserve the next free moment and wait for it.

        Raises:
            CooldownError: the next free moment is too far away to wait for; none is reserved.
            SoftTimeLimitExceeded: the deadline of the task comes first.
        """


@dataclass(frozen=True, slots=True)
class Reservation:
    """A moment at which one call may begin, in ``begins_in`` seconds.

    ``granted`` is false if it is too far away; then nothing is reserved.
    """

    begins_in: float
    granted: bool


class LocalRateLimiter:
    """The rate limiter of one process by itself."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing = 1 / (per_second * MARGIN)
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0

    def reserve(self) -> Reservation:
        """Reserve the next free moment, unless it is too far away."""
        with self._lock:
            now = self._clock()
            begins_in = max(now, self._free_at) - now
            granted = begins_in <= LONGEST_WAIT_S
            if granted:
                self._free_at = now + begins_in + self._spacing
            return Reservation(begins_in, granted)

    def rest(self, seconds: float) -> None:
        """Make no reservation that begins within these seconds."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)

    def wait(self) -> None:
        """Reserve the next free moment of this process and wait for it."""
        _wait(self.reserve)


def share_of(per_second: float, processes: int) -> float:
    """Return the calls per second of one process, rounded down to a whole number.

    So all processes together keep to the limit in every second. If there are more processes than
    calls per second, they keep to it on average.
    """
    share = per_second / processes
    return share if share < 1 else int(share)


class RedisRateLimiter:
    """The rate limiter of all processes, in Redis and by the clock of Redis.

    Without Redis, each of at most ``processes`` processes uses its share of the rate.
    """

    def __init__(self, redis: Redis, name: str, per_second: float, *, processes: int) -> None:
        self._reserve = redis.register_script(_RESERVE)
        self._key = f"pace:{name}"
        self._spacing_us = round(1_000_000 / (per_second * MARGIN))
        self._best_effort = BestEffort(f"rate limit of {name}")
        self._share = LocalRateLimiter(share_of(per_second, processes))
        self._alone = False

    def wait(self) -> None:
        """Reserve the next free moment of all processes and wait for it."""
        _wait(self._next)

    def _next(self) -> Reservation:
        # While this process used its share, the others did too; they come back within REST_S.
        rest_s = REST_S + LONGEST_WAIT_S + A_SECOND if self._alone else 0.0
        times_us = [self._spacing_us, *(round(s * 1_000_000) for s in (LONGEST_WAIT_S, rest_s))]
        answer = self._best_effort(
            lambda: self._reserve(keys=[self._key], args=times_us), default=None
        )
        if answer is not None:
            self._alone = False
            wait_us, granted = answer
            return Reservation(int(wait_us) / 1_000_000, bool(granted))
        if not self._alone:
            self._share.rest(LONGEST_WAIT_S + A_SECOND)
            self._alone = True
        return self._share.reserve()


def _wait(reserve: Callable[[], Reservation]) -> None:
    while True:
        reservation = reserve()
        if not reservation.granted:
            raise CooldownError("our own rate limit", retry_after=reservation.begins_in)
        begins = time.monotonic() + reservation.begins_in
        while (left_s := begins - time.monotonic()) > 0:
            time.sleep(remaining(left_s))
        # A caller that wakes up late would send together with the owner of the next reservation.
        if time.monotonic() - begins <= LATE_S:
            return
