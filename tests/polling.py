"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], *, within_s: float = 40, what: str = "") -> T:
    """Return the condition's answer as soon as it is true; raise when it is not in time."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"not within {within_s} s: {what or condition.__name__}: {answer!r}"
            )
        time.sleep(0.02)
