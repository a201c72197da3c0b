"""A breaker stops asking a service that is down, and lets one call through now and then."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """Open after ``limit`` failures in a row; then one call in ``pause`` seconds may try.

    It is told of outcomes and never runs the call itself, so calls stay concurrent (pybreaker
    holds its lock while the guarded call runs: one request at a time). A trial of which nothing
    is heard, because its deadline cut it short, costs one pause and no more.
    A limit of ``inf`` never opens.
    """

    def __init__(
        self, limit: float = 5, pause: float = 3, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._pause = pause
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._next_trial = 0.0

    def admits(self) -> bool:
        """Whether a call may be made now; a ``True`` while open is the trial of this pause."""
        return self.wait_s() <= 0

    def wait_s(self) -> float:
        """Seconds until a call may be made; none, while open, is the trial of this pause."""
        with self._lock:
            if self._failures < self._limit:
                return 0.0
            now = self._monotonic()
            if now < self._next_trial:
                return self._next_trial - now
            self._next_trial = now + self._pause
            return 0.0

    def heard(self) -> None:
        """The service answered, whatever it said: it is up."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """The service could not be reached, or said that it is broken."""
        with self._lock:
            self._failures += 1
            self._next_trial = self._monotonic() + self._pause
