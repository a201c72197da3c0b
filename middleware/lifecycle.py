"""Logs each step of a message, from its claim to its end: one line for each event.

docs/operations.md documents the events and their fields. A line carries the context of its task
(``middleware.log_context``), and the span of the attempt gets the same facts.
"""

import time
from datetime import UTC, datetime
from typing import Any

import structlog

from middleware.policy import TASKS
from middleware.retries import Retry
from middleware.run_state import run_state
from mirt.errors import ErrorCode, PermanentError, RateLimitError
from mirt.observe import traces
from mirt.store.queue.holds import Outage
from mirt.store.queue.leases import Lease

log = structlog.get_logger(__name__)


def claimed(message: Any, lease: Lease) -> None:
    """Bind the attempt, from 1, to all following lines: the worker has claimed the task."""
    state = run_state(message)
    state.claimed_at, state.attempt = time.monotonic(), lease.attempt + 1
    structlog.contextvars.bind_contextvars(attempt=lease.attempt + 1)
    traces.current().set_attributes({"mirt.attempt": lease.attempt + 1})


def started(message: Any, lease: Lease, *, now: datetime) -> None:
    """Log the start of a run; its wait since it was last published (ms) becomes a span."""
    since = lease.published_at or datetime.fromtimestamp(message.message_timestamp / 1000, UTC)
    waited_ms = max(0, round((now - since).total_seconds() * 1000))
    log.info(
        "message_started", queue=message.queue_name, waited_ms=waited_ms, worker_id=lease.owner
    )
    traces.record_span(
        f"wait {message.queue_name}",
        traces.extract(message.options, message.message_id),
        min(since, now),
        now,
        attributes={"messaging.message.id": lease.task_id, "mirt.attempt": lease.attempt + 1},
    )


def finished(message: Any) -> None:
    """Log that the task is done and its row says so."""
    _outcome("finished")
    log.info("message_finished", ms=_ms(message))


def parked(message: Any) -> None:
    """Log that the task waits in the mailbox until its turn comes."""
    _outcome("parked")
    log.info("message_parked", ms=_ms(message))


def retried(message: Any, error: BaseException, decision: Retry) -> None:
    """Log the next attempt, as a warning. A wait that the other side asked for is no failure."""
    _outcome("retried", error)
    write = log.info if isinstance(error, RateLimitError) else log.warning
    write(
        "message_retried",
        error=type(error).__name__,
        why=str(error),
        next_attempt=decision.attempt + 1,
        delay_s=round(decision.delay_s, 2),
        ms=_ms(message),
    )


def held(message: Any, error: BaseException) -> None:
    """Log that the task waits for the end of an outage."""
    _outcome("held", error)
    run_state(message).held = True
    log.info("message_held", why=str(error), ms=_ms(message))


def paused(message: Any, subject: str) -> None:
    """Log that the task waits until an operator resumes its work."""
    _outcome("paused")
    run_state(message).held = True
    log.info("message_paused", by=subject)


def cancelled(message: Any, operator: str) -> None:
    """Log that the task has ended because an operator has cancelled it."""
    _outcome("cancelled")
    log.warning("message_cancelled", by=operator, ms=_ms(message))


def service_held(outage: Outage) -> None:
    """Log the beginning of a hold: one error for all its tasks."""
    log.error(
        "service_held",
        service=outage.service,
        code=outage.code,
        why=outage.reason,
        setting=outage.setting,
    )


def service_released(service: str, *, tasks: int, lasted_s: float) -> None:
    """Log the end of a hold."""
    log.warning("service_released", service=service, tasks=tasks, lasted_s=round(lasted_s))


def failed(message: Any, lease: Lease, error: BaseException, error_code: str) -> None:
    """Log a dead letter: an error with its traceback if the cause is unexpected.

    A task that was refused as permanent is a warning. Failures of the service are errors.
    """
    _outcome("failed", error, error_code)
    fields = {
        "code": str(error_code),
        "error": type(error).__name__,
        "why": str(error),
        "attempts": lease.attempt + 1,
        "ms": _ms(message),
    }
    if error_code == ErrorCode.UNEXPECTED:
        log.error("message_failed", **fields, exc_info=error)
    elif isinstance(error, PermanentError) and error_code not in _OURS:
        log.warning("message_failed", **fields)
    else:
        log.error("message_failed", **fields)


def dropped(error: BaseException) -> None:
    """Log that another worker has the task by now."""
    _outcome("dropped", error)
    log.warning("message_dropped", why=str(error))


def not_settled(message: Any, error: BaseException) -> None:
    """Log that the end could not be written; the message goes back to its queue."""
    _outcome("not_settled", error)
    log.error("message_not_settled", error=type(error).__name__, ms=_ms(message), exc_info=error)


def session_of(message: Any) -> str | None:
    """Return the conversation that a message belongs to; None if it names none."""
    if named := message.options.get("session_id"):
        return str(named)
    policy = TASKS.get(message.actor_name)
    value: Any = message.kwargs
    for name in policy.session_argument.split(".") if policy else ("session_id",):
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else str(value)


_OURS = (ErrorCode.TIME_LIMIT, ErrorCode.WORKER_LOST)
"""Failures of the service itself, not of the input."""


def _outcome(
    outcome: str, error: BaseException | None = None, error_code: str | None = None
) -> None:
    span = traces.current()
    span.set_attributes({"mirt.outcome": outcome, "mirt.error_code": error_code})
    if error is not None:
        span.fail(error)


def _ms(message: Any) -> int:
    claimed_at = run_state(message).claimed_at
    return 0 if claimed_at is None else round((time.monotonic() - claimed_at) * 1000)
