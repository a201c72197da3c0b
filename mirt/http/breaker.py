"""Stop calls to a service that is down, and let a trial call through in each pause."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """A circuit breaker: open after ``limit`` failures in a row, with one trial per ``pause`` (s).

    The caller reports outcomes, and the breaker never runs the call itself. So calls stay
    concurrent (pybreaker holds its lock during the call: one request at a time). A trial without a
    reported outcome, because its deadline ended it, costs one pause and no more.
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

    def wait_s(self) -> float:
        """Return the seconds until a call may be sent. While open, 0 grants this pause's trial."""
        with self._lock:
            if self._failures < self._limit:
                return 0.0
            now = self._monotonic()
            if now < self._next_trial:
                return self._next_trial - now
            self._next_trial = now + self._pause
            return 0.0

    def heard(self) -> None:
        """Report an answer, with any content: the service is up, and the breaker closes."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """Report that the service could not be reached or answered 5xx."""
        with self._lock:
            self._failures += 1
            self._next_trial = self._monotonic() + self._pause
