"""Count wrong tokens, and refuse an address that guesses."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import falcon
import structlog

from service.web.clients import Clients

log = structlog.get_logger(__name__)

WITHIN_S: Final = 60.0
MOST_WRONG: Final = 10
MOST_ADDRESSES: Final = 10_000


class TooManyAttempts(Exception):  # noqa: N818 - the outcome of a request
    """Too many wrong tokens came from this address."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {wait_s:.0f} s")
        self.retry_after = math.floor(wait_s) + 1
        """Whole seconds until this address may try again."""


class LoginThrottle:
    """The wrong tokens of each address within the last ``WITHIN_S`` seconds, in this process.

    The login, the page and ``/tasks/…`` share one throttle. It refuses at once and never waits.
    The form of the login is refused whatever it holds. A right bearer token always passes: a
    stranger with the address of the shop's server must not stop its orders.
    """

    def __init__(
        self, clients: Clients | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clients = clients or Clients()
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def admit(self, req: falcon.Request) -> None:
        """Return if the address of this request may try a token.

        Raises:
            TooManyAttempts: too many wrong tokens came from it.
        """
        if wait_s := self.wait_s(self._clients.address_of(req)):
            raise TooManyAttempts(wait_s)

    def refuse(self, req: falcon.Request) -> None:
        """Count the wrong token of a request. Raises as ``admit``."""
        self.admit(req)
        address = self._clients.address_of(req)
        self.count_wrong(address)
        log.warning("ops_wrong_token", address=address, path=req.path)

    def wait_s(self, address: str) -> float:
        """Return the seconds until this address may try again; 0 if it may now."""
        with self._lock:
            recent = self._recent(address)
            return recent[0] + WITHIN_S - self._clock() if len(recent) >= MOST_WRONG else 0.0

    def count_wrong(self, address: str) -> None:
        """Count a wrong token of this address; forget the least recent of too many addresses."""
        with self._lock:
            self._wrong[address] = [*self._recent(address), self._clock()][-MOST_WRONG:]
            self._wrong.move_to_end(address)
            while len(self._wrong) > MOST_ADDRESSES:
                self._wrong.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - WITHIN_S
        return [at for at in self._wrong.get(address, ()) if at > since]
