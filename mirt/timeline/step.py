"""One step of a timeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class What(StrEnum):
    """What a step is."""

    WROTE = "wrote"
    BEGAN = "began"
    ANSWERED = "answered"
    DELIVERED = "delivered"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ORDER = "order"
    FOLLOW_UP = "follow-up"
    DONE = "done"
    RETRIED = "retried"
    RESTARTED = "restarted"
    DIED = "died"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    PURGED = "purged"
    NOW = "now"
    """Not over: what it is waiting for at this moment."""


WRONG: Final = frozenset(
    {What.REFUSED, What.UNKNOWN, What.RETRIED, What.RESTARTED, What.DIED, What.PURGED}
)
"""Steps that nobody wants to see."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``waited_for`` says what the time since the step before of its task was spent on.

    ``private`` is what the customer or the agent said.
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
