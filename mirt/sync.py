"""Run a coroutine from synchronous code, within the deadline of the task.

``run_sync`` is a public function for actors; the product itself does not call it. One event loop in
one daemon thread lives as long as the process. So pools and sessions of coroutines stay usable from
call to call. A forked child starts with a loop of its own.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

from mirt import clock
from mirt.errors import SoftTimeLimitExceeded

_T = TypeVar("_T")


def run_sync(coro: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
    """Wait for ``coro`` and return its result, or raise its exception.

    The coroutine sees the context variables of the caller. Every end of the wait (``timeout`` in
    seconds, the deadline, an exception thrown into the waiting thread) cancels the coroutine. A
    coroutine that blocks instead of awaiting keeps running, and delays all others.

    The calling thread is blocked, with its own event loop if it has one. Coroutines of that loop
    should ``await`` instead.

    Raises:
        TimeoutError: ``timeout`` passed first.
        SoftTimeLimitExceeded: the deadline of the task passed first.
        RuntimeError: the caller is a coroutine that ``run_sync`` runs, so it would wait for itself.
        concurrent.futures.CancelledError: the coroutine was cancelled from within.
    """
    try:
        loop = _loop_thread.loop()
        limit = clock.remaining(inf if timeout is None else timeout)
    except BaseException:
        coro.close()
        raise
    future: Future[_T] = Future()
    try:
        loop.call_soon_threadsafe(_begin, coro, future)
        return future.result(None if limit == inf else limit)
    except TimeoutError:
        if not future.cancel():
            return future.result()  # the coroutine has just ended, or raised this TimeoutError
    except BaseException:
        future.cancel()
        raise
    if timeout is None or limit < timeout:
        raise SoftTimeLimitExceeded
    raise TimeoutError(f"the coroutine was not done within {timeout} s, and was cancelled")


def _begin(coro: Coroutine[Any, Any, _T], future: "Future[_T]") -> None:
    if future.cancelled():
        coro.close()
        return
    loop = asyncio.get_running_loop()
    task = loop.create_task(coro)

    def cancel_task(_: object) -> None:
        if future.cancelled():
            loop.call_soon_threadsafe(task.cancel)

    future.add_done_callback(cancel_task)
    task.add_done_callback(lambda _: _finish(task, future))


def _finish(task: "asyncio.Task[_T]", future: "Future[_T]") -> None:
    error = CancelledError() if task.cancelled() else task.exception()
    if not future.set_running_or_notify_cancel():
        return  # the caller has stopped waiting
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)


class _LoopThread:
    """The event loop of a process and its thread, both started by the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        if threading.current_thread() is self._thread:
            raise RuntimeError("run_sync was called from a coroutine that it runs: await instead")
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="run-sync", daemon=True
                )
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:  # a coroutine that stops the loop or exits must not end the later ones
        with suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


def _start_afresh() -> None:
    # The child keeps the loop of its parent unused: closing it would close the parent's selector.
    global _loop_thread  # noqa: PLW0603
    _parent_loops.append(_loop_thread)
    _loop_thread = _LoopThread()


_loop_thread = _LoopThread()
_parent_loops: list[_LoopThread] = []
os.register_at_fork(after_in_child=_start_afresh)
