"""Every error the service raises on purpose. The class decides what happens next, never the text.

WorkerError
├── RetryableError                 try again later, with growing pauses
│   ├── RateLimitError             no sooner than ``retry_after`` seconds from now
│   │   └── CooldownError          … and it is we who want to wait
│   ├── ExternalServiceError       Telegram, ManyChat, the LLM or the CRM failed
│   │   └── OutcomeUnknownError    … after the request was sent: it may have taken effect
│   ├── DatabaseError              PostgreSQL could not be asked
│   ├── RedisUnavailableError      Redis could not be asked, by somebody who must know
│   └── BrokerUnavailableError     RabbitMQ has not confirmed, or could not be asked
├── PermanentError                 trying again cannot help; carries an error code
├── SoftTimeLimitExceeded          the task's soft limit has passed
└── LeaseLostError                 somebody else owns this work now: stop, change nothing
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """What an operator filters dead letters by, and what an HTTP client reads in ``error``."""

    EMPTY_MESSAGE = "EMPTY_MESSAGE"
    INVALID_INPUT = "INVALID_INPUT"
    CRM_REJECTED = "CRM_REJECTED"
    CHANNEL_REFUSED = "CHANNEL_REFUSED"
    LLM_REFUSED = "LLM_REFUSED"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"
    WORKER_LOST = "WORKER_LOST"
    TIME_LIMIT = "TIME_LIMIT"
    UNKNOWN_ACTOR = "UNKNOWN_ACTOR"
    UNDECODABLE = "UNDECODABLE"
    PURGED = "PURGED"
    UNEXPECTED = "UNEXPECTED"


def code_of(error: BaseException) -> str:
    """The code of the dead letter, where this error is the end."""
    match error:
        case RetryableError():
            return ErrorCode.RETRIES_EXHAUSTED
        case PermanentError(error_code=code):
            return code or ErrorCode.INVALID_INPUT
        case SoftTimeLimitExceeded():
            return ErrorCode.TIME_LIMIT
        case _:
            return ErrorCode.UNEXPECTED


class WorkerError(Exception):
    """The root: everything raised on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RetryableError(WorkerError):
    """It failed now and may succeed later."""


class RateLimitError(RetryableError):
    """The other side asked us to wait. Waiting as asked is not counted as an attempt."""

    def __init__(self, message: str, retry_after: float = 60) -> None:
        """Take ``retry_after`` in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class CooldownError(RateLimitError):
    """Nobody was asked: our own pace, a service that keeps failing, a wait that is not over."""


class ExternalServiceError(RetryableError):
    """A service outside failed in a way that passes: 5xx, a timeout, a refused connection."""

    def __init__(self, service: str, message: str) -> None:
        super().__init__(f"{service}: {message}")
        self.service = service


class OutcomeUnknownError(ExternalServiceError):
    """The request left us and no answer came: it may or may not have taken effect."""


class DatabaseError(RetryableError):
    """The database could not be asked. Failures of our own stores are retryable by definition."""


class RedisUnavailableError(RetryableError):
    """Redis could not be asked. Only who looks at it for its own sake ever says so."""


class BrokerUnavailableError(RetryableError):
    """RabbitMQ has not confirmed the message in time: it may be in the queue, or not."""


class PermanentError(WorkerError):
    """It will fail the same way every time."""

    def __init__(self, message: str, error_code: str | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class SoftTimeLimitExceeded(WorkerError):  # noqa: N818 - the name its users know it by
    """The task has run past its soft limit. An ``Exception``: a task may catch it to clean up.

    Raised inside the task, also from a call that waits. Not retried.
    """

    def __init__(self, message: str = "the soft time limit has passed") -> None:
        super().__init__(message)


class LeaseLostError(WorkerError):
    """The lease on this work ran out and another worker has it: a late writer changes nothing."""
