"""Get the database and Redis of this process: opened once per configuration and shared.

A forked process opens its own.
"""

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
"""Connections beside one per worker thread: for the leases, the outbox and the probes."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The database and, if it is configured, Redis."""

    database: Database
    redis: Redis | None

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.database.close()
        if self.redis is not None:
            self.redis.close()


_lock = threading.Lock()
_opened: dict[tuple[int, str, str], Stores] = {}


def stores(settings: Settings) -> Stores:
    """Return the stores that the settings name; they connect at their first use.

    The secrets of the settings are redacted from all errors that are stored.
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
