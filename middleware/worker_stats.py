"""How much a child has done and whether it moves, in shared memory, for its parent to see."""

import mmap
import struct
import threading
import time
from pathlib import Path
from typing import Any, Final

from dramatiq import Broker, Middleware

_LAYOUT: Final = struct.Struct("<Q?")
_SIGN: Final = struct.Struct("<d")


class WorkerStats:
    """How many messages are finished, whether the child was ever able to work, its last sign.

    One child writes, its parent reads. The sign is a reading of ``CLOCK_MONOTONIC``, which all
    processes of a machine share.
    """

    def __init__(self, path: Path) -> None:
        """Open the tally, or make it if it is not there."""
        with path.open("a+b") as file:
            file.truncate(_LAYOUT.size + _SIGN.size)
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size + _SIGN.size)
        self._lock = threading.Lock()

    @property
    def finished(self) -> int:
        """How many messages have been run, whatever came of them."""
        return int(_LAYOUT.unpack_from(self._memory)[0])

    @property
    def ready(self) -> bool:
        """Whether the child has once had all its threads and connections."""
        return bool(_LAYOUT.unpack_from(self._memory)[1])

    @property
    def silent_s(self) -> float:
        """Seconds since the last sign of life; 0 before the first."""
        (last,) = _SIGN.unpack_from(self._memory, _LAYOUT.size)
        return time.monotonic() - last if last else 0.0

    def beat(self) -> None:
        """Give a sign of life."""
        _SIGN.pack_into(self._memory, _LAYOUT.size, time.monotonic())

    def count(self) -> None:
        """Another message has been run."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished + 1, self.ready)

    def mark_ready(self) -> None:
        """Say that from now on it takes work."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished, True)


class TaskCounter(Middleware):
    """Counts what has been run; a message that was skipped has cost nothing."""

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count it."""
        self._stats.count()
