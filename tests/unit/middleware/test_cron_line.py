"""A schedule in a time zone keeps to the clock of that place, also in the night of a change."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pendulum
import pytest

from middleware.cron_line import CronLine, LocalLine, line_of
from middleware.policy import _task
from middleware.ticks import latest_tick, next_tick

CHANGES = {
    "Europe/Kyiv": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 10, 4), date(2026, 4, 5)),
}
"""The days of a year on which the clocks of a zone go forward and back. Havana's do at midnight,
those of Lord Howe Island by half an hour."""
DAYS = [(zone, day) for zone, days in CHANGES.items() for day in days]


def line(cron: str, zone: str) -> CronLine:
    return line_of(_task("remind", "default", schedule=cron, tz=zone))


def ticks(cron: str, zone: str, day: date) -> list[str]:
    """Return the local times at which a line runs on a day."""
    read, place = line(cron, zone), ZoneInfo(zone)
    noon = datetime.combine(day, time(12), UTC)
    minutes = (noon + timedelta(minutes=n) for n in range(-2000, 2000))
    of_the_day = (at for at in minutes if at.astimezone(place).date() == day)
    return [f"{at.astimezone(place):%H:%M}" for at in of_the_day if read.validate(at)]


def test_nine_in_kyiv_is_six_or_seven_in_utc() -> None:
    nine = line("0 9 * * *", "Europe/Kyiv")
    summer, winter = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert next_tick(nine, summer) == summer.replace(hour=6)
    assert next_tick(nine, winter) == winter.replace(hour=7)
    assert latest_tick(nine, winter) == datetime(2026, 11, 30, 7, tzinfo=UTC)


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_each_time_of_the_day_of_a_change_comes_once(zone: str, day: date) -> None:
    for hour in range(24):
        for minute in (0, 15, 30):
            assert len(ticks(f"{minute} {hour} * * *", zone, day)) == 1, f"{hour}:{minute}"


def test_a_time_that_the_clocks_leave_out_comes_when_they_have_moved_on() -> None:
    day = CHANGES["Europe/Kyiv"][0]
    assert ticks("30 3 * * *", "Europe/Kyiv", day) == ["04:00"]
    assert ticks("*/10 3 * * *", "Europe/Kyiv", day) == ["04:00"], "once, not for each of them"
    assert ticks("30 3 * * *", "Europe/Kyiv", day + timedelta(days=1)) == ["03:30"]
    assert ticks("30 3 * * mon", "Europe/Kyiv", day) == [], "another day of the week"


def test_a_time_that_the_clocks_repeat_comes_once_the_first_time() -> None:
    half_past = line("30 3 * * *", "Europe/Kyiv")
    midnight = datetime(2026, 10, 25, tzinfo=UTC)
    assert next_tick(half_past, midnight) == midnight.replace(minute=30)
    an_hour_later, next_day = midnight.replace(hour=1), midnight.replace(day=26, hour=1, minute=30)
    assert next_tick(half_past, an_hour_later) == next_day


@pytest.mark.parametrize(
    ("day", "hours"), [(CHANGES["Europe/Kyiv"][0], 23), (CHANGES["Europe/Kyiv"][1], 25)]
)
def test_a_line_for_every_hour_goes_by_the_time_that_passes(day: date, hours: int) -> None:
    assert len(ticks("30 * * * *", "Europe/Kyiv", day)) == hours


def test_periodiq_looks_again_in_the_next_minute() -> None:
    nine = line("0 9 * * *", "Europe/Kyiv")
    assert isinstance(nine, LocalLine)
    now = pendulum.datetime(2026, 3, 1, 12, 0, 30)
    assert nine.next_valid_date(now) == pendulum.datetime(2026, 3, 1, 12, 1)
