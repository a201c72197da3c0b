"""The step of a timeline and its kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class What(StrEnum):
    """Kind of a step."""

    WROTE = "wrote"
    BEGAN = "began"
    ANSWERED = "answered"
    DELIVERED = "delivered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    WITHHELD = "withheld"
    HANDOVER = "handover"
    SAID = "replied"
    """A person wrote to the customer."""
    UNKNOWN = "unknown"
    ORDER = "order"
    FOLLOW_UP = "follow-up"
    DONE = "done"
    RETRIED = "retried"
    RESTARTED = "restarted"
    UNKNOWN_TASK = "unknown_task"
    DIED = "died"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    PURGED = "purged"
    CANCELLED = "cancelled"
    NOW = "now"
    """The task is not finished; the step shows what it waits for at this moment."""


WRONG: Final = frozenset(
    {
        What.REFUSED,
        What.UNKNOWN,
        What.RETRIED,
        What.RESTARTED,
        What.UNKNOWN_TASK,
        What.DIED,
        What.PURGED,
        What.CANCELLED,
    }
)
"""Kinds that an operator should look at."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``waited_s`` is the time in seconds since the step before of the same task.

    ``waited_for`` names the reason of that wait. ``private`` is the text of the customer or the
    reply.
    """

    at: datetime
    what: What
    text: str
    task_id: str
    trace_id: str | None = None
    waited_s: float = 0.0
    waited_for: str | None = None
    private: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        """Whether an operator should look at it."""
        return self.what in WRONG
