"""Take the time from a clock that is an argument, and end every wait by the deadline of the task.

The deadline is a context variable. So every wait (HTTP, database, ``run_sync``) ends by it without
an argument of its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

from mirt.errors import SoftTimeLimitExceeded

Clock = Callable[[], datetime]
"""Function that returns the time now, in UTC and with its zone."""


def utc_now() -> datetime:
    """Return the time of the system; the clock of production."""
    return datetime.now(UTC)


_UNITS: Final = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def format_duration(seconds: float) -> str:
    """Return a duration for people: ``0.8 s``, ``42 s``, ``4 min 10 s``, ``2 d 3 h``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    size, name, smaller, below = next(unit for unit in _UNITS if seconds >= unit[0])
    rest = int(seconds % size // smaller)
    return f"{int(seconds // size)} {name}" + (f" {rest} {below}" if rest else "")


_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline_in(seconds: float | None) -> Iterator[None]:
    """Give the body a deadline in ``seconds``; ``None`` sets no limit of its own.

    An outer deadline that is nearer stays in force.
    """
    outer = _deadline.get()
    own = None if seconds is None else time.monotonic() + seconds
    nearest = min((d for d in (outer, own) if d is not None), default=None)
    token = _deadline.set(nearest)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining(default: float) -> float:
    """Return the seconds until the deadline, at most ``default``, as the timeout of a wait.

    Raises:
        SoftTimeLimitExceeded: the deadline has passed.
    """
    left = time_left(default)
    if left <= 0:
        raise SoftTimeLimitExceeded
    return left


def time_left(default: float) -> float:
    """Return the same as ``remaining``, but 0 or less instead of raising after the deadline.

    For writes that must be tried even after the deadline.
    """
    deadline = _deadline.get()
    return default if deadline is None else min(deadline - time.monotonic(), default)
