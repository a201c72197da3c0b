"""A stop flag that a signal handler may set and the main thread may wait for."""

import os
import select
from contextlib import suppress
from typing import Final

LOOK_AGAIN_S: Final = 0.5


class StopFlag:
    """A signal-safe stop flag (self-pipe). A handler sets it; the interrupted thread waits for it.

    A :class:`threading.Event` would not do: its ``wait`` holds a lock for moments, and a handler
    that runs in such a moment and calls ``set`` would wait for that lock for ever
    (https://docs.python.org/3/library/signal.html#signals-and-threads). This flag takes no lock: it
    is a byte in a pipe that is never read.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)

    def set(self) -> None:
        """Set the flag for good. May be called any number of times, also in a signal handler."""
        with suppress(BlockingIOError):  # the pipe is full of earlier calls
            os.write(self._writer, b".")

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self.wait(0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the flag is set, or for ``timeout_s`` seconds; return whether it is set."""
        if timeout_s is not None:
            return bool(self._poll.poll(1000 * timeout_s))
        # A signal just before the system call does not interrupt it, and its handler runs after it.
        while not self._poll.poll(1000 * LOOK_AGAIN_S):
            pass
        return True
