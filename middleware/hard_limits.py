"""Records hard limits in shared memory, where the supervisor enforces them.

A process cannot enforce its own hard limit: a call that holds the GIL stops every thread, timers
included. So each worker process writes the deadlines of its running tasks into shared memory, and
the supervisor reads them.
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
from typing_extensions import override

from middleware.execution import current_lease
from middleware.policy import LONGEST_TASK_ID, TASKS
from middleware.run_state import run_state

LONGEST_ID: Final = 4 * LONGEST_TASK_ID
"""Bytes for a task id in UTF-8. A shortened id would name no task, so its limit would not hold."""
_ROW: Final = struct.Struct(f"<dq{LONGEST_ID}s")


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task that runs. ``fence`` distinguishes this run from other runs of the task."""

    task_id: str
    fence: int


class DeadlineTable:
    """Deadlines in shared memory: one row for each thread of a worker process.

    A row has the deadline (a reading of ``CLOCK_MONOTONIC``, which all processes of a machine
    share; 0 in a free row), the fence and the task id. The deadline is written last and cleared
    first, so a reader never pairs one task's deadline with another's id.
    """

    def __init__(self, path: Path, *, rows: int) -> None:
        """Open the table, or create it if there is no file."""
        self.rows = rows
        with path.open("a+b") as file:
            file.truncate(rows * _ROW.size)
            self._memory = mmap.mmap(file.fileno(), rows * _ROW.size)

    def set(self, row: int, task_id: str, fence: int, *, until: float) -> None:
        """Store a running task and its deadline in this row."""
        self.clear(row)
        encoded = task_id.encode()
        _ROW.pack_into(self._memory, row * _ROW.size, 0.0, fence, encoded)
        struct.pack_into("<d", self._memory, row * _ROW.size, until)

    def clear(self, row: int) -> None:
        """Mark this row as free."""
        struct.pack_into("<d", self._memory, row * _ROW.size, 0.0)

    def overdue(self, now: float) -> Iterator[RunningTask]:
        """Yield the tasks with a deadline before ``now``, a reading of ``CLOCK_MONOTONIC``."""
        for row in range(self.rows):
            until, fence, task_id = _ROW.unpack_from(self._memory, row * _ROW.size)
            if 0 < until < now:
                yield RunningTask(task_id.rstrip(b"\0").decode(errors="replace"), fence)

    def running(self) -> list[RunningTask]:
        """Return all running tasks, overdue or not."""
        return list(self.overdue(inf))


class HardLimits(Middleware):
    """Writes the deadline of each running task into the table.

    The option ``hard_limit_s`` of a message, in seconds, can tighten the limit and never widen it.
    """

    def __init__(self, deadlines: DeadlineTable) -> None:
        self._deadlines = deadlines
        self._free = list(range(deadlines.rows))
        self._lock = threading.Lock()

    @override
    def before_process_message(self, broker: Broker, message: Any) -> None:
        lease = current_lease()
        own = TASKS[message.actor_name].hard_s
        limit = min(own, message.options.get("hard_limit_s", own))
        with self._lock:
            row = self._free.pop()
        run_state(message).deadline_row = row
        until = time.monotonic() + limit
        self._deadlines.set(row, lease.task_id, lease.fence, until=until)

    @override
    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        state = run_state(message)
        row, state.deadline_row = state.deadline_row, None
        if row is None:
            return
        self._deadlines.clear(row)
        with self._lock:
            self._free.append(row)

    @override
    def after_skip_message(self, broker: Broker, message: Any) -> None:
        self.after_process_message(broker, message)
