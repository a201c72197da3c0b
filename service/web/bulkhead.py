"""A bulkhead: calls that may hang sink their own compartment, not the ship."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

import structlog

from mirt.errors import RetryableError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class NoAnswerInTimeError(RetryableError):
    """The call has not ended in time. It may still take effect."""


class Bulkhead:
    """Runs calls in threads of its own, and waits for each at most ``within_s`` seconds.

    A database server that is stopped, or behind a network that swallows packets, holds its caller
    for as long as it likes: no time limit of its own client ends that. Here it holds at most
    ``threads`` threads that nobody waits for; further calls are given up without being begun.
    """

    def __init__(self, name: str, *, threads: int, within_s: float) -> None:
        self._name = name
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises; it sees the context variables of the caller.

        Raises:
            NoAnswerInTimeError: it is not over in time. If it had begun, it goes on.
        """
        context = copy_context()
        future = self._threads.submit(context.run, work)
        done, _ = wait([future], timeout=self._within_s)
        if done or not self._abandon(future):
            return future.result()
        future.add_done_callback(lambda ended: context.run(self._report, ended))
        raise NoAnswerInTimeError(f"{self._name}: not over within {self._within_s:g} s")

    def _abandon(self, future: Future[T]) -> bool:
        """Whether nobody is going to wait for it; not if it has ended in this very moment."""
        return future.cancel() or not future.done()

    def _report(self, ended: Future[T]) -> None:
        if ended.cancelled():
            return
        failed = ended.exception()
        if failed is None:
            log.info("late_success", bulkhead=self._name)
        else:
            log.warning("late_failure", bulkhead=self._name, why=str(failed))
