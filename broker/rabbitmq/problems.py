"""Remembers why this process does not receive from a queue, or cannot publish."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from mirt.store.queue.workers import PUBLISHING

LASTS_S: Final = 5.0
"""Seconds from which a problem is reported. A reconnect is none: it takes about three."""


class Problems:
    """The consumers of a process: each receives, or has a reason why it does not."""

    def __init__(self) -> None:
        self._receives: dict[str, Callable[[], bool]] = {}
        self._reasons: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()

    def consumes(self, queue: str, is_connected: Callable[[], bool]) -> None:
        """Report that the queue has a new consumer."""
        with self._lock:
            self._receives[queue] = is_connected
            self._reasons.pop(queue, None)

    def refused(self, queue: str, why: str) -> None:
        """Report that the queue could not be consumed."""
        with self._lock:
            self._receives[queue] = lambda: False
            self._reasons[queue] = why

    def lasting(self, publishing: str | None) -> Mapping[str, str]:
        """Return the reasons that have lasted for ``LASTS_S``, with that of the publisher.

        A problem begins when this function first meets it.
        """
        with self._lock:
            found = {
                queue: self._reasons.get(queue, "the consumer was lost")
                for queue, is_connected in self._receives.items()
                if not is_connected()
            }
            if publishing is not None:
                found[PUBLISHING] = publishing
            now = time.monotonic()
            self._since = {name: self._since.get(name, now) for name in found}
            return {name: why for name, why in found.items() if now - self._since[name] >= LASTS_S}
