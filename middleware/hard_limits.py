"""The hard limit: kept by the parent of the worker, since nothing inside a process can keep it.

A call that holds the GIL stops every thread of its process, its timers among them. So each child
writes down in shared memory until when each of its messages may run, and its parent looks there.
"""

import mmap
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

from dramatiq import Broker, Middleware

from middleware.execution import current_lease
from middleware.policy import LONGEST_TASK_ID, TASKS

LONGEST_ID: Final = 4 * LONGEST_TASK_ID
"""Bytes: one that was cut off would name no task, and its limit would be kept for nobody."""
_ROW: Final = struct.Struct(f"<dq{LONGEST_ID}s")


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A message that runs. ``fence`` tells this run of the task from any other."""

    task_id: str
    fence: int


class DeadlineTable:
    """Deadlines in shared memory: a slot for each thread of a child.

    A slot has the deadline (a reading of ``CLOCK_MONOTONIC``, which all processes of a machine
    share; 0 when the slot is free), the fence and the task id. The deadline is written last and
    cleared first, so a reader never takes one task's deadline for another's.
    """

    def __init__(self, path: Path, *, rows: int) -> None:
        """Open the board, or make it if it is not there."""
        self.rows = rows
        with path.open("a+b") as file:
            file.truncate(rows * _ROW.size)
            self._memory = mmap.mmap(file.fileno(), rows * _ROW.size)

    def set(self, row: int, task_id: str, fence: int, *, until: float) -> None:
        """Say what runs in this slot, and until when."""
        self.clear(row)
        encoded = task_id.encode()
        _ROW.pack_into(self._memory, row * _ROW.size, 0.0, fence, encoded)
        struct.pack_into("<d", self._memory, row * _ROW.size, until)

    def clear(self, row: int) -> None:
        """Say that nothing runs in this slot."""
        struct.pack_into("<d", self._memory, row * _ROW.size, 0.0)

    def wipe(self) -> None:
        """Clear every slot: another child takes the place."""
        for row in range(self.rows):
            self.clear(row)

    def overdue(self, now: float) -> Iterator[RunningTask]:
        """What should have been over before ``now``."""
        for row in range(self.rows):
            until, fence, task_id = _ROW.unpack_from(self._memory, row * _ROW.size)
            if 0 < until < now:
                yield RunningTask(task_id.rstrip(b"\0").decode(errors="replace"), fence)

    def running(self) -> list[RunningTask]:
        """What runs, overdue or not."""
        return list(self.overdue(inf))


class HardLimits(Middleware):
    """Writes each message's deadline on the board.

    The option ``hard_limit_s`` of a message, in seconds, can tighten the limit and never widen it.
    """

    def __init__(self, deadlines: DeadlineTable) -> None:
        self._deadlines = deadlines
        self._thread = threading.local()
        self._free = list(range(deadlines.rows))
        self._lock = threading.Lock()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Start the clock."""
        lease = current_lease()
        own = TASKS[message.actor_name].hard_s
        limit = min(own, message.options.get("hard_limit_s", own))
        with self._lock:
            self._thread.row = self._free.pop()
        until = time.monotonic() + limit
        self._deadlines.set(self._thread.row, lease.task_id, lease.fence, until=until)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Stop it."""
        row = getattr(self._thread, "row", None)
        if row is None:
            return
        self._deadlines.clear(row)
        self._thread.row = None
        with self._lock:
            self._free.append(row)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """As after any other end."""
        self.after_process_message(broker, message)
