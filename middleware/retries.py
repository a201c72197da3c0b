"""From the class of an error to a decision. The text of an error decides nothing.

The life of a failing message (carried out in ``middleware.settlement``):

1. The actor raises. ``decide`` looks at the class of the error and at the task's row.
2. *Retry*: the row becomes ``delayed`` until the pause is over, with the next attempt's number.
   That is one transaction, before the message is acknowledged: a crash before it repeats this
   attempt, a crash after it finds the row not due. The retry never runs beside its original.
3. *Bury*: the dead letter, the end of the row and what the business owes for it (the apology, the
   next turn) are one transaction.
4. *Drop*: the work belongs to another worker now, or waits elsewhere. Nothing is written.
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
"""Seconds that the other side may ask us to wait in all, before it counts as a failure."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again in ``delay_s`` seconds, as attempt number ``attempt``."""

    delay_s: float
    attempt: int
    waited_s: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Final: write a dead letter with this code."""

    error_code: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Not ours any more: leave no trace."""


Decision = Retry | Bury | Drop
Jitter = Callable[[float], float]
"""Picks a pause between 0 and the given number of seconds."""


def decide(
    error: BaseException,
    *,
    attempt: int,
    waited_s: int,
    policy: TaskPolicy,
    base_s: float,
    jitter: Jitter,
) -> Decision:
    """What becomes of a task whose attempt number ``attempt`` (from 0) ended with this error.

    Backoff is exponential with full jitter: between 0 and ``base_s · 2^attempt`` seconds, at most
    the policy's. A wait that the other side asked for is kept as a minimum and is not an attempt.
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
        case _:
            return Bury(code_of(error))
