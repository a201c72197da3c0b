"""Who has asked us to wait, and for how long: nobody is asked again sooner, by any task.

The wait of one chat or one account is its own; nobody else is held up by it. All processes know of
it through Redis; without Redis each knows what it was told itself, and is told the rest again.
"""

import time
from typing import Final, Protocol

from redis import Redis

from mirt.errors import CooldownError
from mirt.store.engine.redis_client import BestEffort

MOST_KNOWN: Final = 10_000


class Cooldowns(Protocol):
    """Remembers waits by the name of who asked for them."""

    def start(self, name: str, seconds: float) -> None:
        """Note that we are asked to wait so long, from now on."""

    def check(self, name: str) -> None:
        """Go on if nobody has asked to wait.

        Raises:
            CooldownError: with what is left of the wait.
        """


class NoCooldowns:
    """Where retries follow at once: nothing is known of a time between them."""

    def start(self, name: str, seconds: float) -> None:
        """Forget it."""

    def check(self, name: str) -> None:
        """Go on."""


class LocalCooldowns:
    """What this process was told."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def start(self, name: str, seconds: float) -> None:
        """Note it here."""
        if len(self._until) >= MOST_KNOWN:
            now = time.monotonic()
            self._until = {who: until for who, until in self._until.items() if until > now}
        self._until[name] = time.monotonic() + seconds

    def left_s(self, name: str) -> float:
        """What is left of the wait; 0 or less: nothing."""
        return self._until.get(name, 0.0) - time.monotonic()

    def check(self, name: str) -> None:
        """Look here."""
        _check(name, self.left_s(name))


class RedisCooldowns:
    """What any process was told."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._own = LocalCooldowns()
        self._best_effort = BestEffort("waits")

    def start(self, name: str, seconds: float) -> None:
        """Note it for all."""
        self._own.start(name, seconds)
        key, for_ms = _key(name), max(1, round(1000 * seconds))
        self._best_effort(lambda: self._redis.set(key, 1, px=for_ms), default=None)

    def check(self, name: str) -> None:
        """Look here and there."""
        # PTTL is negative when there is no such key.
        told_ms = self._best_effort(lambda: int(self._redis.pttl(_key(name))), default=0)
        _check(name, max(self._own.left_s(name), told_ms / 1000))


def _key(name: str) -> str:
    return f"mirt:wait:{name}"


def _check(name: str, left_s: float) -> None:
    if left_s > 0:
        raise CooldownError(f"{name} has asked us to wait", left_s)
