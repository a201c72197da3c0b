"""Wrong tokens are counted: whoever guesses is told to come back later."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

WITHIN_S: Final = 60.0
MOST_WRONG: Final = 10
MOST_REMEMBERED: Final = 10_000


class Attempts:
    """The wrong tokens of each address within the last minute, as this process has seen them.

    Nobody waits here: a guesser must not hold the threads that webhooks need.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may."""
        with self._lock:
            lately = self._lately(address)
            return lately[0] + WITHIN_S - self._clock() if len(lately) >= MOST_WRONG else 0.0

    def note_wrong(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            self._wrong[address] = [*self._lately(address), self._clock()][-MOST_WRONG:]
            self._wrong.move_to_end(address)
            while len(self._wrong) > MOST_REMEMBERED:
                self._wrong.popitem(last=False)

    def _lately(self, address: str) -> list[float]:
        since = self._clock() - WITHIN_S
        return [at for at in self._wrong.get(address, ()) if at > since]
