"""To be told to stop by a signal, and to wait for that."""

import os
import select
from contextlib import suppress


class Stop:
    """A wish that a signal's handler utters, and the thread that it interrupts waits for.

    Not a :class:`threading.Event`: what waits for one holds its lock for moments, and a handler
    that runs in such a moment would wait for that lock for ever
    (https://docs.python.org/3/library/signal.html#signals-and-threads). Here nothing is locked: the
    wish is a byte in a pipe that nobody reads.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)

    def ask(self) -> None:
        """Wish for the stop; however often, and in the handler of a signal."""
        with suppress(BlockingIOError):  # so often that the pipe is full
            os.write(self._writer, b".")

    def is_asked(self) -> bool:
        """Whether it was wished for."""
        return self.wait(0)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the wish, for so long at most; whether it has come."""
        return bool(self._poll.poll(None if seconds is None else 1000 * seconds))
