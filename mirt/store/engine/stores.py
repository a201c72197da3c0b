"""The stores of a process: opened once for each configuration, after a fork, and shared by all."""

import os
import threading
from dataclasses import dataclass
from typing import Final

from redis import Redis

from mirt.observe import secrets
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.engine.redis_client import connect_redis

SPARE_CONNECTIONS: Final = 4
"""Beside one for each worker thread: for the leases, the outbox and the probes."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The database and, where there is one, Redis."""

    database: Database
    redis: Redis | None

    def close(self) -> None:
        """Give the connections back; they are made anew if they are used again."""
        self.database.close()
        if self.redis is not None:
            self.redis.close()


_lock = threading.Lock()
_opened: dict[tuple[int, str, str], Stores] = {}


def stores(settings: Settings) -> Stores:
    """The stores that the settings name; nothing is connected before it is used.

    What they keep of errors is kept without the secrets of these settings.
    """
    secrets.use(settings.secrets)
    database_url = settings.database_url.get_secret_value()
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    key = (os.getpid(), database_url, redis_url)
    with _lock:
        if key not in _opened:
            _opened[key] = Stores(
                Database(database_url, pool_size=settings.worker_threads + SPARE_CONNECTIONS),
                connect_redis(redis_url) if redis_url else None,
            )
        return _opened[key]
