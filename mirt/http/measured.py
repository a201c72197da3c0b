"""Measure a call to an outside service: its seconds, and the outcome that its error stands for."""

import time
from collections.abc import Callable
from typing import TypeVar

from mirt.errors import OutcomeUnknownError, PermanentError, RateLimitError, SoftTimeLimitExceeded
from mirt.observe.instruments import Histogram

T = TypeVar("T")


def measure(seconds: Histogram, call: str, send: Callable[[], T], *, has_effect: bool = False) -> T:
    """Return the answer of ``send``, and observe its seconds with the labels call and outcome.

    Outcomes are ``answered``, ``refused``, ``limited`` and ``failed``. ``has_effect`` marks a call
    that must not be repeated blindly; its lost answers have the outcome ``unknown``.

    Raises the error of ``send``.
    """
    began, outcome = time.perf_counter(), "failed"
    try:
        answer = send()
        outcome = "answered"
    except PermanentError:
        outcome = "refused"
        raise
    except RateLimitError:
        outcome = "limited"
        raise
    except (OutcomeUnknownError, SoftTimeLimitExceeded):
        outcome = "unknown" if has_effect else "failed"
        raise
    finally:
        seconds.observe(time.perf_counter() - began, call=call, outcome=outcome)
    return answer
