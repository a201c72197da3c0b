"""Run a coroutine from ordinary code, by the deadline of the work.

One event loop in one daemon thread lives as long as the process, so that what coroutines keep
(pools, sessions) stays usable from call to call; a forked child begins with a loop of its own.
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
    """Wait for ``coro`` and return what it returns, or raise what it raises.

    It sees the context variables of the caller. Whatever ends the wait (the timeout in seconds,
    the deadline, an exception thrown into the waiting thread) cancels it; a coroutine that blocks
    instead of awaiting is left behind, and holds up all others.

    A thread that has an event loop of its own is blocked while it waits, and its loop with it:
    coroutines of that loop should ``await`` instead.

    Raises:
        TimeoutError: ``timeout`` passed first.
        SoftTimeLimitExceeded: the deadline of the work passed first.
        RuntimeError: called from within a coroutine that ``run_sync`` runs; that would wait for
            itself.
        concurrent.futures.CancelledError: the coroutine was cancelled from within.
    """
    try:
        loop = _home.loop()
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
            return future.result()  # it ended in this moment, or the TimeoutError is its own
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

    def pass_on(_: object) -> None:
        if future.cancelled():
            loop.call_soon_threadsafe(task.cancel)

    future.add_done_callback(pass_on)
    task.add_done_callback(lambda _: _finish(task, future))


def _finish(task: "asyncio.Task[_T]", future: "Future[_T]") -> None:
    error = CancelledError() if task.cancelled() else task.exception()
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)


class _Home:
    """The loop and its thread, begun by the first who asks."""

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
    while True:  # what stops the loop or exits in it ends one coroutine, not all that will come
        with suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


def _move_out() -> None:
    # A child keeps its parent's loop, unused: to close it would close what the parent waits on.
    global _home  # noqa: PLW0603
    _left_behind.append(_home)
    _home = _Home()


_home = _Home()
_left_behind: list[_Home] = []
os.register_at_fork(after_in_child=_move_out)
