"""When a child is due to be replaced: after so many messages, or when it holds too much memory.

Being due is no reason to stop: a child that is due works on until its successor is able to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

Jitter = Callable[[float, float], float]
"""A number between two others, by chance."""

TASKS_PER_THREAD: Final = 100
MOST_JITTER: Final = 1.2
"""The limits of children that started together lie up to a fifth apart: they come due in turn."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child has done and what it holds: finished messages, resident memory in MB."""

    finished: int
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use; no ``memory_mb`` is no limit."""

    tasks: int
    memory_mb: int | None = None

    @classmethod
    def by_default(cls, tasks: int | None, memory_mb: int | None, *, threads: int) -> Self:
        """The configured limits; without one of messages it is ``TASKS_PER_THREAD``."""
        return cls(tasks or TASKS_PER_THREAD * threads, memory_mb)

    def of_one(self, jitter: Jitter) -> "Limits":
        """The limits of one child: its share of messages is by chance a little larger."""
        return Limits(round(self.tasks * jitter(1, MOST_JITTER)), self.memory_mb)

    def exceeded_by(self, usage: Usage) -> str | None:
        """Why a child that has used this much is due; None when it is not.

        Memory is looked at after its first message: a limit below what every child needs at the
        start must not replace idle children for ever.
        """
        if usage.finished >= self.tasks:
            return "tasks"
        if self.memory_mb is not None and usage.finished and usage.memory_mb > self.memory_mb:
            return "memory"
        return None
