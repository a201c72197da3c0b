"""Counts the messages of this process by outcome, and the threads that they occupy."""

import time
from typing import Any, Final

from dramatiq import Broker, Middleware, Worker

from middleware.run_state import run_state
from mirt.errors import LeaseLostError
from mirt.observe import metrics


class TaskMetrics(Middleware):
    """Counts each message when a thread takes it, and again by its outcome when it is settled.

    Outcomes are ``done``, ``retried``, ``held`` (by an outage or a pause), ``dead``, ``cancelled``,
    ``skipped`` (a copy with nothing to do, or a task that waits for its turn), ``given_back`` (the
    message returned to its queue) and ``dropped`` (another worker has the task). A message that was
    started and not finished still runs, or died with its process.
    """

    _threads = 0

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Add the threads of this worker."""
        self._threads = worker.worker_threads
        metrics.WORKER_THREADS.inc(self._threads)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Subtract the threads of this worker: they take no more messages."""
        metrics.WORKER_THREADS.dec(self._threads)
        self._threads = 0  # Dramatiq may call this twice

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Count a busy thread and a started message."""
        run_state(message).taken_at = time.perf_counter()
        metrics.WORKER_THREADS_BUSY.inc()
        metrics.MESSAGES_STARTED.inc(task=message.actor_name)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count the outcome, which the inner middleware has decided."""
        self._finished(message, _outcome(message, exception))

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Count a message that did not run, parked itself, or was buried without a run."""
        self._finished(message, _outcome_unrun(message))

    def _finished(self, message: Any, outcome: str) -> None:
        taken_at = run_state(message).taken_at
        if taken_at is None:
            return  # an outer hook failed before this one
        seconds = time.perf_counter() - taken_at
        metrics.WORKER_THREADS_BUSY.dec()
        metrics.MESSAGES_FINISHED.inc(task=message.actor_name, outcome=outcome)
        metrics.TASK_SECONDS.observe(seconds, task=message.actor_name, outcome=outcome)
        if outcome in _ENDS and (attempt := run_state(message).attempt) is not None:
            metrics.TASK_ATTEMPTS.observe(attempt, task=message.actor_name)


_ENDS: Final = frozenset({"done", "dead"})


def _outcome_unrun(message: Any) -> str:
    if run_state(message).cancelled:
        return "cancelled"
    return "dead" if message.failed else "skipped"


def _outcome(message: Any, error: BaseException | None) -> str:
    if run_state(message).give_back:
        return "given_back"
    if run_state(message).cancelled:
        return "cancelled"
    if message.failed:
        return "dead"
    if error is None:
        return "done"
    if run_state(message).held:
        return "held"
    return "dropped" if isinstance(error, LeaseLostError) else "retried"
