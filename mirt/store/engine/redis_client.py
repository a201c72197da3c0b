"""Use Redis with short, bounded waits. Nothing may depend on its answer."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from redis import Redis, RedisError
from redis.exceptions import NoPermissionError

from mirt.clock import Clock
from mirt.errors import RedisUnavailableError, ServerUrlError

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 0.2
"""Seconds for one call. A webhook has one second for everything; Redis is only its fast path."""
REST_S: Final = 5.0
"""Seconds that a Redis which has failed is not called."""
PROBE_KEY: Final = "mirt:probe"

T = TypeVar("T")


def connect_redis(url: str) -> Redis:
    """Return a client with its own pool; it connects at its first call.

    Raises:
        ServerUrlError: the client of Redis does not take an option of the URL.
    """
    return _client(url, TIMEOUT_S)


def _client(url: str, timeout_s: float) -> Redis:
    """Make a client. Every client is made here, so a new option of the connection has one place."""
    try:
        client = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=30,
        )
        # The pool itself would meet a wrong option at the first call only.
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, RedisError) as refused:
        raise ServerUrlError("REDIS_URL", _option_problem(str(refused))) from None
    return client


def _option_problem(refusal: str) -> str:
    unknown = re.search(r"unexpected keyword argument '(\w+)'", refusal)
    return f'Redis knows no option "{unknown[1]}"' if unknown else refusal


class BestEffort:
    """Calls of Redis that have a default answer.

    After a failure, Redis is not called for ``REST_S`` seconds, so that not every message waits for
    its timeout.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._resting_until = 0.0

    def __call__(self, ask: Callable[[], T], default: T) -> T:
        """Return the answer of Redis, or ``default`` if it fails or has failed lately."""
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
    """Facts that a Redis server reports. ``ahead_s``: seconds that its clock is ahead of ours.

    ``version`` is None if our user may not ask for it, as with many hosters.
    """

    version: str | None
    ahead_s: float
    used_mb: float


def redis_facts(url: str, clock: Clock, *, within_s: float) -> RedisFacts:
    """Ask a Redis server for its facts, and write and remove a probe key.

    Raises:
        RedisUnavailableError: Redis cannot be reached, or refuses; the text says why.
    """
    client = _client(url, within_s)
    try:
        before = clock()
        seconds, microseconds = client.time()
        between = before + (clock() - before) / 2
        info = _info(client)
        client.set(PROBE_KEY, 1, ex=10)
        client.delete(PROBE_KEY)
    except RedisError as failed:
        raise RedisUnavailableError(f"{type(failed).__name__}: {failed}") from None
    finally:
        client.close()
    return RedisFacts(
        version=info.get("redis_version"),
        ahead_s=seconds + microseconds / 1e6 - between.timestamp(),
        used_mb=info.get("used_memory", 0) / 2**20,
    )


def _info(client: Redis) -> dict[str, Any]:
    try:
        return dict(client.info())
    except NoPermissionError:
        return {}
