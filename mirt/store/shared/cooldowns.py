"""Remember the cooldowns that the other side asked for, so that no task sends before they end.

A cooldown belongs to one chat or one account and delays nothing else. All processes share the
cooldowns through Redis. Without Redis, each process knows only those that it was asked for itself;
the other side asks it for the others again.
"""

import threading
import time
from typing import Final, Protocol

from redis import Redis

from mirt.errors import CooldownError
from mirt.store.engine.redis_client import BestEffort

MOST_KNOWN: Final = 10_000
"""Number of cooldowns in the memory of a process at which those that are over are removed."""


class Cooldowns(Protocol):
    """Cooldowns by name; the name says which chat or account asked for it."""

    def start(self, name: str, seconds: float) -> None:
        """Start a cooldown of ``seconds`` from now; one of the same name that ends later stays."""

    def check(self, name: str) -> None:
        """Return if no cooldown of this name is running.

        Raises:
            CooldownError: with the seconds until the cooldown ends.
        """


class NoCooldowns:
    """No cooldowns at all, for callers that retry at once."""

    def start(self, name: str, seconds: float) -> None:
        """Store nothing."""

    def check(self, name: str) -> None:
        """Return always."""


class LocalCooldowns:
    """The cooldowns that this process was asked for."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def start(self, name: str, seconds: float) -> None:
        """Start the cooldown in the memory of this process."""
        now = time.monotonic()
        with self._lock:
            if len(self._until) >= MOST_KNOWN:
                self._until = {known: end for known, end in self._until.items() if end > now}
            self._until[name] = max(self._until.get(name, 0.0), now + seconds)

    def left_s(self, name: str) -> float:
        """Return the seconds until the cooldown ends; 0 or less if none is running."""
        return self._until.get(name, 0.0) - time.monotonic()

    def check(self, name: str) -> None:
        """Raise ``CooldownError`` if this process knows of a running cooldown."""
        _check(name, self.left_s(name))


_START: Final = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
end
"""


class RedisCooldowns:
    """The cooldowns that any process was asked for, as long as Redis works."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._start = redis.register_script(_START)
        self._local = LocalCooldowns()
        self._best_effort = BestEffort("cooldowns")

    def start(self, name: str, seconds: float) -> None:
        """Start the cooldown here and, if Redis works, for all processes."""
        self._local.start(name, seconds)
        key, for_ms = _key(name), max(1, round(1000 * seconds))
        self._best_effort(lambda: self._start(keys=[key], args=[for_ms]), default=None)

    def check(self, name: str) -> None:
        """Raise ``CooldownError`` if this process or Redis knows of a running cooldown."""
        # PTTL is negative when there is no such key.
        redis_ms = self._best_effort(lambda: int(self._redis.pttl(_key(name))), default=0)
        _check(name, max(self._local.left_s(name), redis_ms / 1000))


def _key(name: str) -> str:
    return f"mirt:wait:{name}"


def _check(name: str, left_s: float) -> None:
    if left_s > 0:
        raise CooldownError(f"{name} has asked us to wait", left_s)
