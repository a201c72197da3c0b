"""A pace lets so many go in any second, whatever the hurry."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pytest

from mirt.clock import deadline_in
from mirt.errors import RateLimitError, SoftTimeLimitExceeded
from mirt.store.engine.redis_client import connect_redis
from mirt.store.shared.rate_limits import (
    LONGEST_WAIT_S,
    LocalRateLimiter,
    RedisRateLimiter,
    share_of,
)
from tests.servers.ports import free_port


def most_in_a_second(times: list[float]) -> int:
    return max(sum(begin <= other < begin + 1 for other in times) for begin in times)


def test_slots_are_evenly_spaced_however_many_ask_at_once() -> None:
    slots = slots_of(LocalRateLimiter(10, clock=lambda: 0.0))
    assert most_in_a_second(slots) <= 10
    assert slots[0] == 0


def slots_of(pace: LocalRateLimiter) -> list[float]:
    """Return the reservations of one moment."""
    return [
        reservation.begins_in
        for reservation in (pace.reserve() for _ in range(100))
        if reservation.granted
    ]


def test_idle_time_is_not_saved_up() -> None:
    now = [0.0]
    pace = LocalRateLimiter(10, clock=lambda: now[0])
    pace.reserve()
    now[0] = 100.0
    assert [pace.reserve().begins_in == 0, pace.reserve().begins_in == 0] == [True, False]


def test_a_slot_that_is_too_far_away_is_not_taken() -> None:
    pace = LocalRateLimiter(0.1, clock=lambda: 0.0)
    slots = [pace.reserve() for _ in range(5)]
    assert [reservation.granted for reservation in slots] == [True, False, False, False, False]
    assert len({reservation.begins_in for reservation in slots[1:]}) == 1


def test_a_sender_that_would_wait_too_long_is_told_for_how_long() -> None:
    pace = LocalRateLimiter(0.1)
    pace.wait()
    with pytest.raises(RateLimitError) as told:
        pace.wait()
    assert told.value.retry_after > LONGEST_WAIT_S


def test_waiting_ends_with_the_work() -> None:
    pace = LocalRateLimiter(1)
    pace.wait()
    with deadline_in(0.05), pytest.raises(SoftTimeLimitExceeded):
        pace.wait()


def test_threads_keep_it_together() -> None:
    pace, times = LocalRateLimiter(50), []

    def go(_: int) -> None:
        pace.wait()
        times.append(monotonic())

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(go, range(60)))
    assert most_in_a_second(times) <= 50


def test_without_redis_a_process_keeps_to_its_share_once_what_was_given_out_is_over() -> None:
    nobody = connect_redis(f"redis://127.0.0.1:{free_port()}/0")
    pace = RedisRateLimiter(nobody, "test", 40, processes=4)
    with pytest.raises(RateLimitError) as told:
        pace.wait()
    assert LONGEST_WAIT_S < told.value.retry_after <= LONGEST_WAIT_S + 1
    sleep(told.value.retry_after)
    begun = monotonic()
    for _ in range(6):
        pace.wait()
    assert monotonic() - begun >= 5 / 10


@pytest.mark.parametrize(("per_second", "processes"), [(20, 4), (25, 4), (20, 16), (8, 3), (8, 8)])
def test_the_shares_of_all_processes_stay_below_the_pace_in_every_second(
    per_second: float, processes: int
) -> None:
    slots = slots_of(LocalRateLimiter(share_of(per_second, processes), clock=lambda: 0.0))
    assert most_in_a_second(slots) * processes <= per_second
