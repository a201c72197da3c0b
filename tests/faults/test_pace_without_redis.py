"""The pace is kept while Redis is lost, and when it is back: what was given out still counts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic

import pytest

from mirt.errors import RateLimitError
from mirt.store.engine import redis_client
from mirt.store.engine.redis_client import connect_redis
from mirt.store.shared import rate_limits
from mirt.store.shared.rate_limits import RedisRateLimiter
from tests.polling import wait_until
from tests.servers import Redis

pytestmark = pytest.mark.alone

RATE = 20
PROCESSES = 3
THREADS = 12
"""Of each: enough that slots are given out as far ahead as they may be."""


def flush(server: Redis, _: Callable[[], int]) -> None:
    connect_redis(server.url).flushall()


def lose(server: Redis, went: Callable[[], int]) -> None:
    server.kill()
    go_on_alone(went)
    server.start()


def cut_off(server: Redis, went: Callable[[], int]) -> None:
    with server.frozen():
        go_on_alone(went)


def go_on_alone(went: Callable[[], int]) -> None:
    before = went()
    wait_until(lambda: went() > before + RATE)


@pytest.mark.parametrize("fault", [flush, cut_off, pytest.param(lose, marks=pytest.mark.slow)])
def test_no_second_has_more_than_the_pace(
    redis_server: Redis,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Redis, Callable[[], int]], None],
) -> None:
    for module, name in (
        (redis_client, "REST_S"),
        (rate_limits, "REST_S"),
        (rate_limits, "LONGEST_WAIT_S"),
    ):
        monkeypatch.setattr(module, name, 1.0)
    times: list[float] = []
    enough = Event()

    def go(shared: RedisRateLimiter) -> None:
        while not enough.is_set():
            try:
                shared.wait()
            except RateLimitError:
                enough.wait(0.1)
            else:
                times.append(monotonic())

    paces = [
        RedisRateLimiter(connect_redis(redis_url), "test", RATE, processes=PROCESSES)
        for _ in range(PROCESSES)
    ]
    with ThreadPoolExecutor(PROCESSES * THREADS) as threads:
        for one in paces * THREADS:
            threads.submit(go, one)
        try:
            wait_until(lambda: len(times) > RATE)
            fault(redis_server, lambda: len(times))
            before = len(times)
            wait_until(lambda: len(times) > before + 2 * RATE)
        finally:
            enough.set()
    assert max(sum(begin <= other < begin + 1 for other in times) for begin in times) <= RATE
