"""Shedding: when too much is waiting nothing more is accepted; the sender is told when to come.

Telegram obeys ``Retry-After`` and keeps what it could not deliver for a day; a queue that grows
without a bound only answers everybody too late.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from mirt.errors import RateLimitError
from mirt.store.reports.backlog import Backlog

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 1.0
COME_BACK_AFTER_S: Final = 30


class Shedding:
    """Lets messages in until so many wait, or one has waited for so long."""

    def __init__(
        self,
        measure: Callable[[], Backlog],
        *,
        max_messages: int,
        max_wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what looks at the backlog; it is asked once a second at most."""
        self._measure = measure
        self._max_messages = max_messages
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._full: str | None = None

    def admit(self) -> None:
        """Let a message in.

        Raises:
            RateLimitError: too much is waiting.
            DatabaseError: nobody can say how much.
        """
        if self._is_time():
            full = self._why(self._measure())
            if full != self._full:
                log.warning("shedding" if full else "accepting_again", why=full)
            self._full = full
        if self._full is not None:
            raise RateLimitError(self._full, retry_after=COME_BACK_AFTER_S)

    def _is_time(self) -> bool:
        with self._lock:
            now = self._clock()
            if now < self._look_at:
                return False
            self._look_at = now + LOOK_EVERY_S
            return True

    def _why(self, backlog: Backlog) -> str | None:
        if backlog.messages >= self._max_messages:
            return f"{self._max_messages} messages are waiting (BACKLOG_MAX_MESSAGES)"
        if backlog.longest_wait_s >= self._max_wait_s:
            return f"a message waits for {self._max_wait_s:g} s (BACKLOG_MAX_WAIT_SECONDS)"
        return None
