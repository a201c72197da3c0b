"""Wrong tokens are counted: whoever guesses is told to come back later."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import falcon
import structlog

log = structlog.get_logger(__name__)

WITHIN_S: Final = 60.0
MOST_WRONG: Final = 10
MOST_REMEMBERED: Final = 10_000


class TooManyAttempts(Exception):  # noqa: N818 - what becomes of the request
    """Too many wrong tokens came from there."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {wait_s:.0f} s")
        self.retry_after = math.floor(wait_s) + 1
        """Whole seconds, after which a right token is let in again."""


class LoginThrottle:
    """The wrong tokens of each address within the last minute, as this process has seen them.

    Every door counts into the same ones. Nobody waits here: a guesser must not hold the threads
    that webhooks need.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, req: falcon.Request, *, is_right: bool) -> None:
        """Count the token of a request if it is wrong.

        Raises:
            TooManyAttempts: there were too many before; now a right one is no use either.
        """
        address = address_of(req)
        if wait_s := self.wait_s(address):
            raise TooManyAttempts(wait_s)
        if not is_right:
            self.note_wrong(address)
            log.warning("ops_wrong_token", address=address, path=req.path)

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


def address_of(req: falcon.Request) -> str:
    """Where a request comes from: the address that is waited for."""
    # The nearest proxy has written the last of them; what stands before it, anybody may have.
    forwarded = (req.get_header("X-Forwarded-For") or "").rpartition(",")[2].strip()
    return forwarded[:64] or req.remote_addr
