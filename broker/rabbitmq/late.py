"""Messages that were not confirmed in time, and then failed: nobody waits for them any more."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from dramatiq import Message


class LateFailures:
    """Gives on what fails late, many at a time: a connection that is lost fails all it had.

    It hears of them in the publisher's own thread, which must not wait for a database, and gives
    them on in another.
    """

    def __init__(self, give_on: Callable[[Sequence[Message[Any]]], None]) -> None:
        self._give_on = give_on
        self._failed: list[Message[Any]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, message: Message[Any], confirm: "Future[None]") -> None:
        """Give this message on if it fails."""
        confirm.add_done_callback(partial(self._ended, message))

    def finish(self, *, within_s: float) -> None:
        """Wait until what has failed is given on."""
        if self._thread is not None:
            self._thread.join(within_s)

    def _ended(self, message: Message[Any], confirm: "Future[None]") -> None:
        if confirm.exception() is None:
            return
        with self._lock:
            self._failed.append(message)
            if len(self._failed) == 1:
                self._thread = threading.Thread(target=self._give, name="late", daemon=True)
                self._thread.start()

    def _give(self) -> None:
        with self._lock:
            failed, self._failed = self._failed, []
        self._give_on(failed)
