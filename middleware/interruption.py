"""Interrupts a thread that computes past its deadline, without a wait that could end by it."""

import ctypes
import threading
import time
from math import inf
from typing import Final

from mirt.errors import SoftTimeLimitExceeded, TaskCancelledError

GRACE_S: Final = 0.5
"""Seconds after the deadline. A wait ends at the deadline itself, with a clearer error."""


Run = tuple[str, int]
"""The id of a task and the fence of its run."""


class Interrupter:
    """Raises ``SoftTimeLimitExceeded`` in threads that are past their deadline.

    A watcher thread raises it between two bytecodes, once, and never after ``disarm`` has returned.
    ``cancel`` raises ``TaskCancelledError`` in the same way.
    """

    def __init__(self) -> None:
        # Interrupted threads take it as it is: an interruption between two bytecodes of
        # ``Condition.__enter__`` would leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._until: dict[int, float] = {}
        self._runs: dict[Run, int] = {}
        self._looks_at = 0.0
        self._watcher: threading.Thread | None = None
        self._closed = False

    def arm(self, seconds: float, run: Run) -> None:
        """Interrupt the calling thread after ``seconds`` and the grace; ``disarm`` cancels that."""
        until = time.monotonic() + seconds + GRACE_S
        with self._lock:
            self._until[threading.get_ident()] = until
            self._runs[run] = threading.get_ident()
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="soft-limits", daemon=True
                )
                self._watcher.start()
            if until < self._looks_at:
                self._changed.notify()

    def disarm(self, run: Run) -> None:
        """Cancel the interruption of the calling thread."""
        thread = threading.get_ident()
        with self._lock:
            self._runs.pop(run, None)
            if self._until.pop(thread, None) is None:
                # An error was raised here: take it back if the thread has not seen it yet.
                _raise_in(thread, None)

    def cancel(self, run: Run) -> bool:
        """Interrupt a run now, once; return False if it does not run or was interrupted before."""
        with self._changed:
            thread = self._runs.pop(run, None)
            if thread is None or self._until.pop(thread, None) is None:
                return False
            _raise_in(thread, TaskCancelledError)
            return True

    def close(self) -> None:
        """End the watcher thread: from now on no thread is interrupted."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for thread in [t for t, until in self._until.items() if until <= now]:
                    del self._until[thread]
                    _raise_in(thread, SoftTimeLimitExceeded)
                self._looks_at = min(self._until.values(), default=inf)
                wait_s = None if self._looks_at == inf else max(0.0, self._looks_at - now)
                self._changed.wait(wait_s)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    # https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
