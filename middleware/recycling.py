"""How much a child has done, in shared memory, so that its parent can tell when it is due."""

import mmap
import struct
import threading
from pathlib import Path
from typing import Any, Final

from dramatiq import Broker, Middleware

_LAYOUT: Final = struct.Struct("<Q?")


class Tally:
    """A number of finished messages, and whether the child has ever been able to work.

    One child writes, its parent reads.
    """

    def __init__(self, path: Path) -> None:
        """Open the tally, or make it if it is not there."""
        with path.open("a+b") as file:
            file.truncate(_LAYOUT.size)
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._lock = threading.Lock()

    @property
    def finished(self) -> int:
        """How many messages have been run, whatever came of them."""
        return int(_LAYOUT.unpack_from(self._memory)[0])

    @property
    def able(self) -> bool:
        """Whether the child has once had all its threads and connections."""
        return bool(_LAYOUT.unpack_from(self._memory)[1])

    def count(self) -> None:
        """Another message has been run."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished + 1, self.able)

    def say_able(self) -> None:
        """Say that from now on it takes work."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished, True)


class Counting(Middleware):
    """Counts what has been run; a message that was skipped has cost nothing."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count it."""
        self._tally.count()
