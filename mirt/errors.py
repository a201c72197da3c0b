"""Every error that the service raises on purpose. Its class, never its text, decides the next step.

WorkerError
├── RetryableError                 try again later, with growing pauses
│   ├── RateLimitError             no sooner than ``retry_after`` seconds from now
│   │   └── CooldownError          … and no request was sent: we keep the pause ourselves
│   ├── ExternalServiceError       Telegram, ManyChat, the LLM or the CRM failed
│   │   └── OutcomeUnknownError    … after the request was sent: it may have taken effect
│   ├── OutageError                … it fails, or refuses our account, for everybody
│   ├── DatabaseError              PostgreSQL could not be reached
│   ├── RedisUnavailableError      Redis could not be reached, and the caller needs it
│   └── BrokerUnavailableError     RabbitMQ has not confirmed, or could not be reached
│       └── MessageRefusedError    … it refuses this message, for example because a queue is full
├── PermanentError                 trying again cannot help; carries an error code
│   ├── PromptRefusedError         … with these messages: with less of the history it may
│   └── UnreachableError           the customer has blocked us: a state, not a failure
├── SoftTimeLimitExceeded          the task's soft limit has passed
│   └── TaskCancelledError         … or an operator has cancelled the task
└── LeaseLostError                 another worker has the task now: stop, change nothing
"""

from collections.abc import Callable
from enum import StrEnum


class ErrorCode(StrEnum):
    """Code of a failure: operators filter dead letters by it, HTTP clients read it in ``error``."""

    EMPTY_MESSAGE = "EMPTY_MESSAGE"
    INVALID_INPUT = "INVALID_INPUT"
    CRM_REJECTED = "CRM_REJECTED"
    CHANNEL_REFUSED = "CHANNEL_REFUSED"
    LLM_REFUSED = "LLM_REFUSED"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"
    OUTAGE = "OUTAGE"
    WORKER_LOST = "WORKER_LOST"
    TIME_LIMIT = "TIME_LIMIT"
    UNKNOWN_ACTOR = "UNKNOWN_ACTOR"
    UNDECODABLE = "UNDECODABLE"
    DROPPED = "DROPPED"
    PURGED = "PURGED"
    CANCELLED = "CANCELLED"
    UNKNOWN_CONVERSATION = "UNKNOWN_CONVERSATION"
    HANDOVER_REFUSED = "HANDOVER_REFUSED"
    UNEXPECTED = "UNEXPECTED"


def code_of(error: BaseException) -> str:
    """Return the code of the dead letter for a task that fails for good with this error."""
    match error:
        case OutageError():
            return ErrorCode.OUTAGE
        case RetryableError():
            return ErrorCode.RETRIES_EXHAUSTED
        case PermanentError(error_code=code):
            return code or ErrorCode.INVALID_INPUT
        case TaskCancelledError():
            return ErrorCode.CANCELLED
        case SoftTimeLimitExceeded():
            return ErrorCode.TIME_LIMIT
        case _:
            return ErrorCode.UNEXPECTED


class WorkerError(Exception):
    """Root of all errors that are raised on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RetryableError(WorkerError):
    """A failure that may pass: a later attempt can succeed."""


class RateLimitError(RetryableError):
    """A request to wait ``retry_after`` seconds. Such a wait is not counted as an attempt."""

    def __init__(self, message: str, retry_after: float = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CooldownError(RateLimitError):
    """A request that was not sent: by our rate limiter, or because of a running cooldown."""


class ExternalServiceError(RetryableError):
    """A temporary failure of an outside service: 5xx, a timeout, a refused connection.

    ``silent_s`` is the number of seconds since the service last answered this process: 0 if it has
    just answered, ``inf`` if it never has.
    """

    def __init__(self, service: str, message: str, *, silent_s: float = 0.0) -> None:
        super().__init__(f"{service}: {message}")
        self.service = service
        self.reason = message
        self.silent_s = silent_s


class OutcomeUnknownError(ExternalServiceError):
    """A request that was sent: no answer, 408 or 5xx. It may or may not have taken effect."""


class OutageError(RetryableError):
    """An outside service fails, or refuses our account, for everybody; this request had no effect.

    Its work is held until it answers again. ``code`` is a status or the name of an error, and
    ``reason`` has the words of the service. ``setting`` is the setting to mend if the service
    refuses us, None if it fails. ``failed_s_ago`` is the age of the failure. ``forget`` makes this
    process ask the service again, because it has answered another one.
    """

    def __init__(
        self,
        service: str,
        reason: str,
        *,
        code: str = "",
        setting: str | None = None,
        failed_s_ago: float = 0.0,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        verb = "fails" if setting is None else "refuses us"
        super().__init__(f"{service} {verb}: {f'{code} {reason}'.strip()}")
        self.service = service
        self.reason = reason
        self.code = code
        self.setting = setting
        self.failed_s_ago = failed_s_ago
        self.forget = forget


class ServerUrlError(WorkerError):
    """The URL in ``setting`` has an option that its driver does not take: nothing can connect."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting
        self.problem = problem


class DatabaseError(RetryableError):
    """The database could not be reached. Failures of our own stores are always retryable."""


class RedisUnavailableError(RetryableError):
    """Redis could not be reached. Only checks of Redis itself raise it; others do without Redis."""


class BrokerUnavailableError(RetryableError):
    """RabbitMQ has not confirmed a message in time: it may be in the queue or not."""


class MessageRefusedError(BrokerUnavailableError):
    """RabbitMQ refuses a message, for example of a queue whose length a policy limits."""


class PermanentError(WorkerError):
    """A failure that every further attempt would repeat. ``error_code`` goes to the dead letter."""

    def __init__(self, message: str, error_code: str | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class UnreachableError(PermanentError):
    """The customer takes no messages from us: they blocked the bot or deleted their account.

    This lasts until they write again. It makes no dead letter.
    """


class PromptRefusedError(PermanentError):
    """A refusal by the LLM of the messages that it was sent: too many, or one of them flagged.

    ``keep`` is the share of the history, from 0 to below 1, with which it may be asked once more.
    """

    def __init__(self, message: str, *, keep: float) -> None:
        super().__init__(message, ErrorCode.LLM_REFUSED)
        self.keep = keep


class SoftTimeLimitExceeded(WorkerError):  # noqa: N818 - the name its users know it by
    """The task has run past its soft limit. A task may catch it to clean up.

    It is raised inside the task, also from a call that waits. The task is retried only if it has
    stored work that another run just has to finish.
    """

    def __init__(self, message: str = "the soft time limit has passed") -> None:
        super().__init__(message)


class TaskCancelledError(SoftTimeLimitExceeded):
    """An operator has cancelled the task: it stops as at its soft limit, and makes no dead letter.

    It is raised between two instructions, or within a second of a wait for HTTP.
    """

    def __init__(self, message: str = "an operator has cancelled the task") -> None:
        super().__init__(message)


class LeaseLostError(WorkerError):
    """The lease of this run has expired and another worker has the task. Nothing was written."""
