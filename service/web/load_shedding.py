"""Shed load: refuse new messages while too many wait, and tell the sender when to retry.

Telegram obeys ``Retry-After`` and retries for a day. Without a limit the queue would grow until
every answer comes too late.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from mirt.errors import RateLimitError
from mirt.store.reports.backlog import Backlog

log = structlog.get_logger(__name__)

MEASURE_EVERY_S: Final = 1.0
RETRY_AFTER_S: Final = 30


class LoadShedder:
    """Admits messages until ``max_messages`` wait or one has waited ``max_wait_s`` seconds."""

    def __init__(
        self,
        measure: Callable[[], Backlog],
        *,
        max_messages: int,
        max_wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the function that measures the backlog; it is called at most once a second."""
        self._measure = measure
        self._max_messages = max_messages
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next_measurement = 0.0
        self._full: str | None = None

    def admit(self) -> None:
        """Return if one more message may be accepted.

        Raises:
            RateLimitError: the backlog is full.
            DatabaseError: the backlog could not be measured.
        """
        if self._is_due():
            full = self._reason(self._measure())
            if full != self._full:
                log.warning("shedding" if full else "accepting_again", why=full)
            self._full = full
        if self._full is not None:
            raise RateLimitError(self._full, retry_after=RETRY_AFTER_S)

    def _is_due(self) -> bool:
        with self._lock:
            now = self._clock()
            if now < self._next_measurement:
                return False
            self._next_measurement = now + MEASURE_EVERY_S
            return True

    def _reason(self, backlog: Backlog) -> str | None:
        if backlog.messages >= self._max_messages:
            return f"{self._max_messages} messages are waiting (BACKLOG_MAX_MESSAGES)"
        if backlog.longest_wait_s >= self._max_wait_s:
            return f"a message has waited for {self._max_wait_s:g} s (BACKLOG_MAX_WAIT_SECONDS)"
        return None
