"""Decides when a worker process is due for replacement: by its finished messages, or its memory.

A process that is due keeps working until its successor is ready.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

Jitter = Callable[[float, float], float]
"""A function that returns a random number between two others."""

TASKS_PER_THREAD: Final = 100
MOST_JITTER: Final = 1.2
"""Largest factor on the limit of messages. Processes that started together come due in turn."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource use of a worker process: finished messages, and resident memory in MB."""

    finished: int
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a worker process: finished messages, and memory in MB; None is no limit."""

    tasks: int
    memory_mb: int | None = None

    @classmethod
    def by_default(cls, tasks: int | None, memory_mb: int | None, *, threads: int) -> Self:
        """Return the configured limits; without ``tasks``, ``TASKS_PER_THREAD`` for each thread."""
        return cls(tasks or TASKS_PER_THREAD * threads, memory_mb)

    def with_jitter(self, jitter: Jitter) -> "Limits":
        """Return the limits of one process: up to ``MOST_JITTER`` times as many messages."""
        return Limits(round(self.tasks * jitter(1, MOST_JITTER)), self.memory_mb)

    def exceeded_by(self, usage: Usage) -> str | None:
        """Return the name of the limit that this usage exceeds, or None.

        Memory counts only after the first message. So a limit below what every process needs at
        its start does not replace idle processes for ever.
        """
        if usage.finished >= self.tasks:
            return "tasks"
        if self.memory_mb is not None and usage.finished and usage.memory_mb > self.memory_mb:
            return "memory"
        return None
