"""A machine may have any time zone: nothing that is in UTC depends on it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import periodiq
import pytest

from middleware.ticks import latest_tick, next_tick
from mirt.clock import utc_now
from mirt.http.answer import read_retry_after


@pytest.fixture(params=["Europe/Kyiv", "America/New_York"], autouse=True)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of this machine."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


NIGHTLY = periodiq.cron("30 3 * * *")


def test_the_schedule_is_in_utc() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert latest_tick(NIGHTLY, now) == datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
    assert next_tick(NIGHTLY, now) == datetime(2026, 3, 2, 3, 30, tzinfo=UTC)


def test_a_tick_is_named_in_utc() -> None:
    tick = latest_tick(NIGHTLY, datetime(2026, 3, 1, 12, tzinfo=UTC).astimezone())
    assert tick is not None
    assert tick.isoformat() == "2026-03-01T03:30:00+00:00"


@pytest.mark.parametrize("zone_name", ["GMT", "-0000"])
def test_a_date_to_come_back_at_is_in_utc(zone_name: str) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert read_retry_after(f"Sun, 01 Mar 2026 12:00:40 {zone_name}", now) == 40


def test_the_clock_is_in_utc() -> None:
    assert abs(utc_now().timestamp() - time.time()) < 60
    assert utc_now().utcoffset() is not None
    assert utc_now().isoformat().endswith("+00:00")
