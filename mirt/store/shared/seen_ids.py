"""Recognise most duplicates without the database: ids whose message is known to be in the mailbox.

An id is stored only after its commit, so an id that is found here is surely a duplicate. For any
other id the unique key of the database decides: Redis may be empty, flushed or down at any moment.
"""

from typing import Final, Protocol

from redis import Redis

from mirt.store.engine.redis_client import BestEffort

REMEMBERED_S: Final = 86_400
"""Seconds that an id is kept. Telegram redelivers for up to 24 hours."""


class SeenIds(Protocol):
    """The ids of the messages that were accepted lately."""

    def has(self, task_id: str) -> bool:
        """Return whether the message of this id is surely in the mailbox."""

    def remember(self, task_id: str) -> None:
        """Remember an id whose message has been committed to the mailbox."""


class NoSeenIds:
    """No ids, where there is no Redis: the database decides about each message."""

    def has(self, task_id: str) -> bool:
        """Return False: no message is surely in the mailbox."""
        return False

    def remember(self, task_id: str) -> None:
        """Store nothing."""


class RedisSeenIds:
    """Ids in Redis, each for ``REMEMBERED_S`` seconds; while Redis fails, none is found."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._best_effort = BestEffort("deduplication")

    def has(self, task_id: str) -> bool:
        """Return whether Redis has the id; False while Redis fails."""
        return self._best_effort(lambda: bool(self._redis.exists(_key(task_id))), default=False)

    def remember(self, task_id: str) -> None:
        """Store the id if Redis works."""
        self._best_effort(lambda: self._redis.set(_key(task_id), 1, ex=REMEMBERED_S), default=None)


def _key(task_id: str) -> str:
    return f"mirt:recent:{task_id}"
