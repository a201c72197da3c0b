"""Shares the finished tasks and the heartbeat of a worker process with its supervisor."""

import mmap
import struct
import threading
import time
from pathlib import Path
from typing import Any, Final

from dramatiq import Broker, Middleware
from typing_extensions import override

_LAYOUT: Final = struct.Struct("<Q?")
_HEARTBEAT: Final = struct.Struct("<d")
_SUSPECTS: Final = struct.Struct("<Q")
_SUSPECTS_AT: Final = _LAYOUT.size + _HEARTBEAT.size
_SIZE: Final = _SUSPECTS_AT + _SUSPECTS.size


class WorkerStats:
    """Statistics of one worker process in shared memory.

    They are finished tasks, readiness, heartbeat, and the suspects that it has met.

    The worker process writes, the supervisor reads. The heartbeat is a reading of
    ``CLOCK_MONOTONIC``, which all processes of a machine share.
    """

    def __init__(self, path: Path) -> None:
        """Open the statistics, or create them if there is no file."""
        with path.open("a+b") as file:
            file.truncate(_SIZE)
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._lock = threading.Lock()

    @property
    def finished(self) -> int:
        """Number of messages that were run, with any outcome."""
        return int(_LAYOUT.unpack_from(self._memory)[0])

    @property
    def ready(self) -> bool:
        """Whether the process has had all its threads and connections once."""
        return bool(_LAYOUT.unpack_from(self._memory)[1])

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat; 0 before the first one."""
        (last,) = _HEARTBEAT.unpack_from(self._memory, _LAYOUT.size)
        return time.monotonic() - last if last else 0.0

    @property
    def suspects(self) -> int:
        """Number of times that it met a task that has to run in a process of its own."""
        return int(_SUSPECTS.unpack_from(self._memory, _SUSPECTS_AT)[0])

    def beat(self) -> None:
        """Record a heartbeat."""
        _HEARTBEAT.pack_into(self._memory, _LAYOUT.size, time.monotonic())

    def count(self) -> None:
        """Count one more finished message."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished + 1, self.ready)

    def report_suspect(self) -> None:
        """Count one more suspect."""
        with self._lock:
            _SUSPECTS.pack_into(self._memory, _SUSPECTS_AT, self.suspects + 1)

    def mark_ready(self) -> None:
        """Record that the process takes messages from now on."""
        with self._lock:
            _LAYOUT.pack_into(self._memory, 0, self.finished, True)


class TaskCounter(Middleware):
    """Counts messages that were run. Skipped ones do not count towards recycling."""

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats

    @override
    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._stats.count()
