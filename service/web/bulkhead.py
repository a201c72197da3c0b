"""Limit calls that may hang: a bounded thread pool with a timeout.

Calls that hang cannot use up the threads of other calls.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

import structlog

from mirt.errors import RetryableError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class NoAnswerInTimeError(RetryableError):
    """The call did not end in time. It may still take effect."""


class Bulkhead:
    """A pool of ``threads`` threads; the caller waits at most ``within_s`` seconds for each call.

    A stopped database server, or a network that drops packets, blocks its caller without end: no
    timeout of the client library ends that. Here it blocks at most ``threads`` threads of the pool.
    Further calls time out without being started.

        Bulkhead("metrics", threads=1, within_s=2.0).call(read_metrics)
    """

    def __init__(self, name: str, *, threads: int, within_s: float) -> None:
        self._name = name
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def call(self, work: Callable[[], T]) -> T:
        """Return or raise what ``work`` does; it sees the context variables of the caller.

        Raises:
            NoAnswerInTimeError: the call did not end in time. If it had started, it continues.
        """
        context = copy_context()
        future = self._threads.submit(context.run, work)
        done, _ = wait([future], timeout=self._within_s)
        if done or not self._abandon(future):
            return future.result()
        future.add_done_callback(lambda ended: context.run(self._report, ended))
        raise NoAnswerInTimeError(f"{self._name}: no answer within {self._within_s:g} s")

    def _abandon(self, future: Future[T]) -> bool:
        """Whether the caller gives up; false if the call ended at this very moment."""
        return future.cancel() or not future.done()

    def _report(self, ended: Future[T]) -> None:
        if ended.cancelled():
            return
        failed = ended.exception()
        if failed is None:
            log.info("late_success", bulkhead=self._name)
        else:
            log.warning("late_failure", bulkhead=self._name, why=str(failed))
