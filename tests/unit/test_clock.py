"""The deadline travels with the work, and only ever comes nearer."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from datetime import UTC

import pytest

from mirt.clock import deadline_in, format_duration, remaining, utc_now
from mirt.errors import SoftTimeLimitExceeded


def test_the_clock_of_production_knows_its_zone() -> None:
    assert utc_now().tzinfo is UTC


def test_without_a_deadline_a_wait_is_as_long_as_it_likes() -> None:
    assert remaining(5) == 5


def test_a_wait_ends_by_the_deadline() -> None:
    with deadline_in(10):
        assert 9 < remaining(60) <= 10
        assert remaining(5) == 5


def test_after_the_deadline_no_wait_begins() -> None:
    with deadline_in(0), pytest.raises(SoftTimeLimitExceeded):
        remaining(5)


def test_a_deadline_inside_can_be_nearer() -> None:
    with deadline_in(60), deadline_in(10):
        assert remaining(60) <= 10


@pytest.mark.parametrize("inner", [3600, None])
def test_a_deadline_inside_cannot_be_further_away(inner: float | None) -> None:
    with deadline_in(10), deadline_in(inner):
        assert remaining(60) <= 10


def test_none_is_no_deadline() -> None:
    with deadline_in(None):
        assert remaining(60) == 60


def test_a_deadline_ends_with_its_work_also_when_that_fails() -> None:
    with deadline_in(60):
        with pytest.raises(ArithmeticError), deadline_in(1):
            raise ArithmeticError
        assert remaining(60) > 1
    assert remaining(3600) == 3600


def left_in_a_thread(context: Context) -> float:
    with ThreadPoolExecutor(1) as other:
        return other.submit(context.run, remaining, 3600.0).result(5)


def test_another_thread_has_the_deadline_of_the_context_that_it_is_given() -> None:
    without = copy_context()
    with deadline_in(10):
        assert left_in_a_thread(without) == 3600
        assert left_in_a_thread(copy_context()) <= 10


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (-1, "0 s"),
        (0.42, "0.4 s"),
        (9, "9 s"),
        (59.6, "60 s"),
        (99, "99 s"),
        (125, "2 min 5 s"),
        (240, "4 min"),
        (3_700, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text
