"""How Redis is reached: with short, bounded waits, since nothing depends on its answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from redis import Redis, RedisError

from mirt.clock import Clock
from mirt.errors import RedisUnavailableError

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 0.2
"""A webhook has a second for everything; Redis is only the fast path of it."""
REST_S: Final = 5.0
PROBE_KEY: Final = "mirt:probe"

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


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis says of itself. ``ahead_s`` is how far its clock is ahead of ours."""

    version: str
    ahead_s: float
    used_mb: float
    evicts: bool


def redis_facts(url: str, clock: Clock, *, within_s: float) -> RedisFacts:
    """Ask a Redis who it is, and write, read and remove a key of our own.

    Raises:
        RedisUnavailableError: it cannot be reached, or refuses; the text says why.
    """
    client = Redis.from_url(url, socket_timeout=within_s, socket_connect_timeout=within_s)
    try:
        before = clock()
        seconds, microseconds = client.time()
        between = before + (clock() - before) / 2
        told = client.info()
        client.set(PROBE_KEY, 1, ex=10)
        client.delete(PROBE_KEY)
    except RedisError as failed:
        raise RedisUnavailableError(f"{type(failed).__name__}: {failed}") from None
    finally:
        client.close()
    return RedisFacts(
        version=str(told["redis_version"]),
        ahead_s=seconds + microseconds / 1e6 - between.timestamp(),
        used_mb=told.get("used_memory", 0) / 2**20,
        evicts=told.get("maxmemory", 0) > 0 and told.get("maxmemory_policy") != "noeviction",
    )
