"""Stop calls to a service that fails or refuses us; let a trial call through in each pause."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Cause:
    """The last failure: a status or the name of an error, and what was said.

    ``setting`` is the setting to mend if the service refuses our account; None if it fails.
    """

    code: str = ""
    reason: str = ""
    setting: str | None = None


class Breaker:
    """A circuit breaker: open after ``limit`` failures in a row, with one trial per ``pause`` (s).

    A refusal of our account opens it at once.

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
        self._failures = 0.0
        self._next_trial = 0.0
        self._failed_at = 0.0
        self._answered_at = -inf
        self.cause = Cause()

    @property
    def is_open(self) -> bool:
        """Whether a call that is let through is a trial."""
        return self._failures >= self._limit

    @property
    def failed_s_ago(self) -> float:
        """Seconds since the last failure."""
        return self._monotonic() - self._failed_at

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer; ``inf`` if there was none."""
        return self._monotonic() - self._answered_at

    def wait_s(self) -> float:
        """Return the seconds until a call may be sent. While open, 0 grants this pause's trial."""
        with self._lock:
            if not self.is_open:
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
            self._answered_at = self._monotonic()

    def failed(self, cause: Cause = Cause()) -> None:
        """Report that the service could not be reached or answered 5xx."""
        with self._lock:
            self._failures += 1
            self._note(cause)

    def refused(self, cause: Cause) -> None:
        """Report that the service refuses our account: the breaker opens at once."""
        with self._lock:
            self._failures = max(self._limit if self._limit < inf else 0, self._failures + 1)
            self._note(cause)

    def close(self) -> None:
        """Let the next calls through: the service has answered another process."""
        with self._lock:
            self._failures = 0

    def _note(self, cause: Cause) -> None:
        self.cause = cause
        self._failed_at = self._monotonic()
        self._next_trial = self._failed_at + self._pause
