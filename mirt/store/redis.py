"""How Redis is reached: with short, bounded waits, since nothing depends on its answer."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from redis import Redis, RedisError

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 0.2
"""A webhook has a second for everything; Redis is only the fast path of it."""
REST_S: Final = 5.0

T = TypeVar("T")


def connect_redis(url: str) -> Redis:
    """A client with its own pool; it connects when it is first used."""
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=30,
    )


class BestEffort:
    """Does with Redis what can be done without it.

    A Redis that fails is left alone for ``REST_S`` seconds, so that its time-outs are not paid by
    every message.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._resting_until = 0.0

    def __call__(self, ask: Callable[[], T], default: T) -> T:
        """Ask Redis; ``default`` when it fails, or has failed lately."""
        if time.monotonic() < self._resting_until:
            return default
        try:
            return ask()
        except RedisError as failed:
            log.warning("redis_failed", purpose=self._purpose, why=type(failed).__name__)
            self._resting_until = time.monotonic() + REST_S
            return default
