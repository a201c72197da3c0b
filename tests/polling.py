"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SHORTEST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 0.2
"""The pause between two looks grows up to this: a look may cost a process start or a query."""
START_WITHIN_S: Final = 90.0
"""Seconds that the start of a process may take: on a busy machine it takes many times as long."""


def wait_until(condition: Callable[[], T | None], *, within_s: float = 40, what: str = "") -> T:
    """Return the condition's answer as soon as it is true.

    Raises:
        AssertionError: the condition was not true within ``within_s`` seconds.
    """
    deadline = time.monotonic() + within_s
    pause_s = SHORTEST_PAUSE_S
    while True:
        if answer := condition():
            return answer
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise AssertionError(
                f"not within {within_s} s: {what or condition.__name__}: {answer!r}"
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(1.3 * pause_s, LONGEST_PAUSE_S)
