"""Decides from the class of an error what happens to its task. Texts of errors decide nothing.

The life of a failing message (carried out in ``middleware.settlement``):

1. The actor raises. ``decide`` looks at the class of the error and at the task's row. If the task
   passed its limit, the business says whether it has stored work that only has to be finished.
2. *Retry*: the row becomes ``delayed`` until the pause is over, with the next attempt's number.
   That is one transaction, before the message is acknowledged: a crash before it repeats this
   attempt, a crash after it finds the row not due. The retry never runs beside its original.
3. *Hold*: an outside service is down for everybody, so the row waits for the end of its outage.
   That costs nothing and is no attempt. Patience is a time: when it is over, the task is buried.
4. *Bury*: the dead letter, the end of the row and what the business does about it (the apology,
   the next turn) are one transaction.
5. *Drop*: another worker has the task now. Nothing is written. *Cancel*: an operator does not want
   the task any more. It is done, and the business settles its rows, in one transaction.
6. The message is acknowledged. If 2, 3 or 4 could not be committed it is not: the lease runs out,
   and the attempt is repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from middleware.policy import TaskPolicy
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    LeaseLostError,
    OutageError,
    RateLimitError,
    RetryableError,
    TaskCancelledError,
    code_of,
)
from mirt.store.queue.holds import Outage
from mirt.store.queue.leases import Lease

SPREAD_S: Final = 0.5
"""Seconds that an asked wait may be longer than asked, so that many do not come back together."""
LONGEST_GROWTH_S: Final = 60
"""Seconds by which the pauses grow at most, if a task is asked to wait again and again."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again in ``delay_s`` seconds, as attempt number ``attempt`` (from 0).

    ``waited_s`` is the sum of the waits that the other side asked for, in seconds.
    """

    delay_s: float
    attempt: int
    waited_s: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the outage ends, and run again as attempt number ``attempt`` (from 0).

    If the service has answered another task since ``failed_at``, do ``otherwise`` instead.
    """

    outage: Outage
    failed_at: datetime
    attempt: int
    otherwise: "Retry | Bury"


@dataclass(frozen=True, slots=True)
class Bury:
    """Write a dead letter with this code."""

    error_code: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing: the lease is lost."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the task as an operator wishes: it is done, without a dead letter."""


Decision = Retry | Hold | Bury | Drop | Cancel
Jitter = Callable[[float], float]
"""A function that picks a pause between 0 and the given number of seconds."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The longest wait for an outside service (s), and whether its outage holds tasks.

    Without workers there is no one to end a hold, so an outage counts as any other failure.
    """

    longest_s: float
    holds: bool = True

    def is_over(self, lease: Lease, now: datetime) -> bool:
        """Whether the task has waited for outages long enough."""
        return lease.held_since is not None and now >= self.ends(lease, now)

    def ends(self, lease: Lease, now: datetime) -> datetime:
        """Return the time at which a task that is held now will have waited long enough."""
        return (lease.held_since or now) + timedelta(seconds=self.longest_s)


def decide(
    error: BaseException,
    lease: Lease,
    *,
    now: datetime,
    policy: TaskPolicy,
    patience: Patience,
    base_s: float,
    jitter: Jitter,
    may_continue: bool = False,
) -> Decision:
    """Decide about a task after the attempt of this lease ended with this error.

    Backoff is exponential with full jitter: between 0 and ``base_s · 2^attempt`` seconds, and no
    more than the policy allows. A wait that the other side asked for is a minimum, and it does not
    count as an attempt; such waits grow with the time that the task has waited in all. An outage
    holds the task. So does a failure after the last attempt, if the service has answered no call
    since the task was created: what fails for one message alone and what fails for all look the
    same then.

    ``may_continue`` says of a task that passed its limit that its work is stored, and only has to
    be finished. It is tried again, and gets one attempt more than the policy allows.
    """
    attempt, waited_s = lease.attempt, lease.waited_s
    match error:
        case LeaseLostError():
            return Drop()
        case TaskCancelledError():
            return Cancel()
        case OutageError() if patience.holds:
            failed_at = now - timedelta(seconds=error.failed_s_ago)
            outage = Outage(error.service, error.code, error.reason, error.setting)
            if patience.is_over(lease, now):
                return Bury(ErrorCode.OUTAGE)
            again = Retry(1 + jitter(1), attempt, waited_s + 1)
            return Hold(outage, failed_at, _attempt_after(lease), again)
        case RateLimitError(retry_after=asked) if waited_s + asked <= patience.longest_s:
            spread = min(asked / 10, SPREAD_S) + min(waited_s / 8, LONGEST_GROWTH_S)
            delay_s = asked + jitter(spread)
            return Retry(delay_s, attempt, waited_s + max(1, ceil(delay_s)))
        case RetryableError() if attempt < policy.retries:
            longest = min(base_s * 2**attempt, policy.max_backoff_s)
            asked = error.retry_after if isinstance(error, RateLimitError) else 0
            return Retry(max(jitter(longest), asked), attempt + 1, waited_s)
        case ExternalServiceError() if patience.holds and _is_perhaps_down(error, lease, now):
            outage = Outage(error.service, "", error.reason)
            failed_at = lease.created_at or now
            return Hold(outage, failed_at, _attempt_after(lease), Bury(code_of(error)))
        case _ if may_continue and attempt <= policy.retries:
            longest = min(base_s * 2**attempt, policy.max_backoff_s)
            return Retry(jitter(longest), attempt + 1, waited_s)
        case _:
            return Bury(code_of(error))


def _attempt_after(lease: Lease) -> int:
    """Return the next attempt after an outage: failures before the first outage belonged to it."""
    return 0 if lease.held_since is None else lease.attempt


def _is_perhaps_down(error: ExternalServiceError, lease: Lease, now: datetime) -> bool:
    """Whether the service may fail for everybody: it has answered no call since this task exists.

    A task is held for that once. Otherwise a request of unknown outcome could be repeated for ever.
    """
    age = now - (lease.created_at or now)
    return lease.held_since is None and error.silent_s >= age.total_seconds()
