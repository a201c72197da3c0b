"""Decides from the class of an error what happens to its task. Texts of errors decide nothing.

The life of a failing message (carried out in ``middleware.settlement``):

1. The actor raises. ``decide`` looks at the class of the error and at the task's row. If the task
   passed its limit, the business says whether it has stored work that only has to be finished.
2. *Retry*: the row becomes ``delayed`` until the pause is over, with the next attempt's number.
   That is one transaction, before the message is acknowledged: a crash before it repeats this
   attempt, a crash after it finds the row not due. The retry never runs beside its original.
3. *Bury*: the dead letter, the end of the row and what the business does about it (the apology,
   the next turn) are one transaction.
4. *Drop*: another worker has the task now. Nothing is written.
5. The message is acknowledged. If 2 or 3 could not be committed it is not: the lease runs out, and
   the attempt is repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from middleware.policy import TaskPolicy
from mirt.errors import LeaseLostError, RateLimitError, RetryableError, code_of

LONGEST_WAIT_S: Final = 3600
"""Seconds that the other side may ask a task to wait in total, before it counts as a failure."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again in ``delay_s`` seconds, as attempt number ``attempt`` (from 0).

    ``waited_s`` is the sum of the waits that the other side asked for, in seconds.
    """

    delay_s: float
    attempt: int
    waited_s: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Write a dead letter with this code."""

    error_code: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing: the lease is lost."""


Decision = Retry | Bury | Drop
Jitter = Callable[[float], float]
"""A function that picks a pause between 0 and the given number of seconds."""


def decide(
    error: BaseException,
    *,
    attempt: int,
    waited_s: int,
    policy: TaskPolicy,
    base_s: float,
    jitter: Jitter,
    may_continue: bool = False,
) -> Decision:
    """Decide about a task after attempt number ``attempt`` (from 0) ended with this error.

    Backoff is exponential with full jitter: between 0 and ``base_s · 2^attempt`` seconds, and no
    more than the policy allows. A wait that the other side asked for is a minimum, and it does not
    count as an attempt.

    ``may_continue`` says of a task that passed its limit that its work is stored, and only has to
    be finished. It is tried again, and gets one attempt more than the policy allows.
    """
    match error:
        case LeaseLostError():
            return Drop()
        case RateLimitError(retry_after=asked) if waited_s + asked <= LONGEST_WAIT_S:
            return Retry(
                asked + jitter(min(asked, base_s)), attempt, waited_s + max(1, ceil(asked))
            )
        case RetryableError() if attempt < policy.retries:
            longest = min(base_s * 2**attempt, policy.max_backoff_s)
            asked = error.retry_after if isinstance(error, RateLimitError) else 0
            return Retry(max(jitter(longest), asked), attempt + 1, waited_s)
        case _ if may_continue and attempt <= policy.retries:
            longest = min(base_s * 2**attempt, policy.max_backoff_s)
            return Retry(jitter(longest), attempt + 1, waited_s)
        case _:
            return Bury(code_of(error))
