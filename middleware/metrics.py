"""What becomes of messages in this process, and how many of its threads they hold."""

import time
from typing import Any

from dramatiq import Broker, Middleware, Worker

from mirt.errors import LeaseLostError
from mirt.observe import metrics


class TaskMetrics(Middleware):
    """Counts each message when a thread takes it up, and again by its outcome when it is settled.

    ``done``, ``retried``, ``dead``; ``skipped``: a copy with nothing to do, or a message that waits
    until its turn comes; ``given_back``: nobody could work on it; ``dropped``: another worker has
    it. What was started and not finished is running, or has died with its process.
    """

    _threads = 0

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """So many threads are there for work."""
        self._threads = worker.worker_threads
        metrics.WORKER_THREADS.inc(self._threads)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """They take up nothing more."""
        metrics.WORKER_THREADS.dec(self._threads)
        self._threads = 0  # a worker may be told twice

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """A thread is busy from now on."""
        message.taken_up_at = time.perf_counter()
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
        """It is settled: the others have decided what becomes of it."""
        self._finished(message, _outcome(message, exception))

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """It was not run, or it waits elsewhere; or it was buried without being run."""
        self._finished(message, "dead" if message.failed else "skipped")

    def _finished(self, message: Any, outcome: str) -> None:
        seconds = time.perf_counter() - message.taken_up_at
        metrics.WORKER_THREADS_BUSY.dec()
        metrics.MESSAGES_FINISHED.inc(task=message.actor_name, outcome=outcome)
        metrics.TASK_SECONDS.observe(seconds, task=message.actor_name)


def _outcome(message: Any, error: BaseException | None) -> str:
    # The messages of some transports cannot be given back.
    if getattr(message, "give_back", False):
        return "given_back"
    if message.failed:
        return "dead"
    if error is None:
        return "done"
    return "dropped" if isinstance(error, LeaseLostError) else "retried"
