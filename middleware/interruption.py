"""Interrupts a thread that computes past its deadline and waits for nothing that ends by it."""

import ctypes
import threading
import time
from typing import Final

from mirt.errors import SoftTimeLimitExceeded

GRACE_S: Final = 0.5
"""Waits end by the deadline themselves, and say more about what they waited for."""


class Interrupter:
    """Raises ``SoftTimeLimitExceeded`` in threads whose time is over, from a thread of its own.

    It is raised between two bytecodes, once, and never after ``disarm`` has returned.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[int, float] = {}
        self._watcher: threading.Thread | None = None

    def arm(self, seconds: float) -> None:
        """Interrupt the calling thread when it is not disarmed within ``seconds``."""
        with self._changed:
            self._until[threading.get_ident()] = time.monotonic() + seconds + GRACE_S
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="soft-limits", daemon=True
                )
                self._watcher.start()
            self._changed.notify()

    def disarm(self) -> None:
        """Leave the calling thread alone."""
        thread = threading.get_ident()
        with self._changed:
            if self._until.pop(thread, None) is None:
                # It was interrupted, or is about to be: take back what has not been raised yet.
                _raise_in(thread, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for thread in [t for t, until in self._until.items() if until <= now]:
                    del self._until[thread]
                    _raise_in(thread, SoftTimeLimitExceeded)
                nearest = min(self._until.values(), default=None)
                self._changed.wait(None if nearest is None else max(0.0, nearest - now))


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    # https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
