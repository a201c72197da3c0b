"""The fast path of deduplication: ids whose message is known to be in the mailbox.

An id is noted after its commit only, so what is found here is surely a duplicate. What is not found
is decided by the unique key of the database: Redis may be empty, flushed or down at any moment.
"""

from typing import Final, Protocol

from redis import Redis

from mirt.store.engine.redis_client import BestEffort

REMEMBERED_S: Final = 86_400
"""Telegram redelivers for up to 24 hours."""


class SeenIds(Protocol):
    """Remembers which ids were accepted lately."""

    def has(self, task_id: str) -> bool:
        """Whether the message of this id is surely in the mailbox."""

    def remember(self, task_id: str) -> None:
        """Remember an id whose message has been committed to the mailbox."""


class NoSeenIds:
    """Where there is no Redis: each message is looked up in the database."""

    def has(self, task_id: str) -> bool:
        """Never sure."""
        return False

    def remember(self, task_id: str) -> None:
        """Nothing to remember it in."""


class RedisSeenIds:
    """Ids in Redis, each for ``REMEMBERED_S``; while Redis fails, none is sure."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._best_effort = BestEffort("deduplication")

    def has(self, task_id: str) -> bool:
        """Whether the message of this id is surely in the mailbox."""
        return self._best_effort(lambda: bool(self._redis.exists(_key(task_id))), default=False)

    def remember(self, task_id: str) -> None:
        """Remember the id if Redis works."""
        self._best_effort(lambda: self._redis.set(_key(task_id), 1, ex=REMEMBERED_S), default=None)


def _key(task_id: str) -> str:
    return f"mirt:recent:{task_id}"
