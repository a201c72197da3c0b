"""Gives the middleware and the brokers one typed state for each delivery of a message."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from dramatiq import Message, MessageProxy

from mirt.observe.traces import Span

_KEY: Final = "run_state"


@dataclass(slots=True)
class RunState:
    """Facts about one delivery of a message, from its arrival at a worker to its settlement."""

    give_back: bool = False
    """No worker could run the message, so it returns to its queue."""
    buried: bool = False
    """The failure is stored, so the message is acknowledged and does not become a reject."""
    cancelled: bool = False
    """An operator has cancelled the task."""
    held: bool = False
    """The task waits for the end of an outage or of a pause."""
    taken_at: float | None = None
    """Reading of ``perf_counter`` when a thread took the message."""
    claimed_at: float | None = None
    """Reading of ``monotonic`` when the worker claimed the task; None without a lease."""
    attempt: int | None = None
    """The number of the attempt, from 1; None without a lease."""
    span: Span | None = None
    """The span of this run."""
    soft_limit: ExitStack | None = None
    """Lifts the soft limit of the run when it is closed."""
    deadline_row: int | None = None
    """Row of the run in the table of hard limits."""


def run_state(message: MessageProxy | Message[object]) -> RunState:
    """Return the state of this delivery, the same for each call with this object.

    A message that is delivered again is another object, with a new state.
    """
    # A proxy forwards unknown attributes to its message, so this reads the object's own dictionary.
    state = vars(message).get(_KEY)
    if not isinstance(state, RunState):
        state = vars(message)[_KEY] = RunState()
    return state
