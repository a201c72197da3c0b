"""Coroutines from ordinary code."""

import asyncio
import contextvars
import ctypes
import gc
import os
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from mirt.clock import deadline_in, remaining
from mirt.errors import SoftTimeLimitExceeded
from mirt.sync import run_sync


class Endless:
    """A coroutine that waits for ever, and tells when it began and when it was cancelled."""

    def __init__(self) -> None:
        self.began, self.cancelled = threading.Event(), threading.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def own_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_the_call_returns_the_value_of_the_coroutine() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert run_sync(answer()) == 42


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("its own")])
def test_the_call_raises_the_error_of_the_coroutine(error: Exception) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_sync(fail(), timeout=5)


def test_all_threads_share_one_loop() -> None:
    with ThreadPoolExecutor(4) as threads:
        loops = set(threads.map(lambda _: run_sync(own_loop()), range(20)))
    assert loops == {run_sync(own_loop())}


def test_coroutines_of_two_threads_run_at_the_same_time() -> None:
    met = asyncio.Event()

    async def come() -> bool:
        met.set()
        return True

    waiter = threading.Thread(target=run_sync, args=(met.wait(),))
    waiter.start()
    assert run_sync(come(), timeout=5)
    waiter.join(5)
    assert not waiter.is_alive()


def test_its_own_timeout_is_a_timeout_error_and_cancels() -> None:
    endless = Endless()
    with pytest.raises(TimeoutError, match=r"was not done within 0\.2 s"):
        run_sync(endless(), timeout=0.2)
    assert endless.cancelled.wait(5)


def test_the_deadline_is_the_soft_limit_and_cancels() -> None:
    endless = Endless()
    with deadline_in(0.2), pytest.raises(SoftTimeLimitExceeded):
        run_sync(endless())
    assert endless.cancelled.wait(5)


def test_the_nearer_of_timeout_and_deadline_counts() -> None:
    with deadline_in(0.2), pytest.raises(SoftTimeLimitExceeded):
        run_sync(Endless()(), timeout=30)
    with deadline_in(30), pytest.raises(TimeoutError):
        run_sync(Endless()(), timeout=0.2)


def test_after_the_deadline_nothing_is_begun() -> None:
    endless = Endless()
    with deadline_in(0), pytest.raises(SoftTimeLimitExceeded):
        run_sync(endless())
    gc.collect()  # a coroutine that was never awaited would be a warning, and so an error
    assert not endless.began.is_set()


def test_a_coroutine_that_will_not_end_does_not_hold_the_caller() -> None:
    done = threading.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            while not done.is_set():
                await asyncio.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run_sync(stubborn(), timeout=0.2)
    assert time.monotonic() - began < 2
    done.set()


def test_context_variables_of_the_caller_are_visible() -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace")

    async def read() -> str:
        return trace.get()

    trace.set("abc")
    assert run_sync(read()) == "abc"


def test_the_deadline_is_visible_in_the_coroutine() -> None:
    async def left() -> float:
        return remaining(100)

    with deadline_in(7):
        assert 6 < run_sync(left()) <= 7


def test_called_by_a_coroutine_that_it_runs_it_refuses() -> None:
    async def inner() -> None:
        """Never awaited: closed, so that nothing warns of it."""

    async def outer() -> None:
        run_sync(inner())

    with pytest.raises(RuntimeError, match="await instead"):
        run_sync(outer(), timeout=5)
    gc.collect()


def test_called_under_another_running_loop_it_blocks_and_works() -> None:
    async def main() -> bool:
        return run_sync(own_loop()) is not asyncio.get_running_loop()

    assert asyncio.run(main())


class _Stop(BaseException):
    pass


def test_an_exception_in_the_waiting_thread_cancels_the_coroutine() -> None:
    endless = Endless()
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            with deadline_in(1):  # an exception is thrown in when the wait ends
                run_sync(endless())
        except BaseException as error:  # noqa: BLE001
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert endless.began.wait(5)
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop)
    )
    thread.join(5)
    assert endless.cancelled.wait(5)
    assert isinstance(ended[0], _Stop)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_begins_with_a_loop_of_its_own() -> None:
    async def name() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    parents = run_sync(own_loop())
    child = os.fork()
    if child == 0:
        alive = run_sync(name(), timeout=10) == os.getpid()
        os._exit(0 if alive and run_sync(own_loop()) is not parents else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run_sync(own_loop(), timeout=5) is parents, "the parent's loop is untouched"


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
def test_a_coroutine_that_exits_ends_its_caller_and_not_the_loop(
    exit_: type[BaseException],
) -> None:
    async def leave() -> None:
        raise exit_

    before = run_sync(own_loop())
    with pytest.raises(exit_):
        run_sync(leave(), timeout=5)
    assert run_sync(own_loop(), timeout=5) is before


def test_a_coroutine_that_cancels_itself_is_an_exception_that_callers_can_catch() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        run_sync(give_up(), timeout=5)
