"""Quiet hours are those of the shop's clock, also in the nights in which it changes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from mirt.quiet_hours import QuietHours
from mirt.settings import Settings

KYIV = ZoneInfo("Europe/Kyiv")


def end_after(hours: str, *at: int) -> str | None:
    quiet = QuietHours.read(hours, KYIV)
    assert quiet is not None
    year, month, day, hour, minute = at
    there = datetime(year, month, day, hour, minute, tzinfo=KYIV)
    end = quiet.end_after(there.astimezone(UTC))
    return None if end is None else f"{end.astimezone(KYIV):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ((2026, 7, 1, 20, 59), None),
        ((2026, 7, 1, 21, 0), "2026-07-02 09:00"),
        ((2026, 7, 1, 23, 59), "2026-07-02 09:00"),
        ((2026, 7, 2, 0, 0), "2026-07-02 09:00"),
        ((2026, 7, 2, 8, 59), "2026-07-02 09:00"),
        ((2026, 7, 2, 9, 0), None),
    ],
)
def test_a_night_ends_in_the_morning(at: tuple[int, ...], end: str | None) -> None:
    assert end_after("21-9", *at) == end


@pytest.mark.parametrize(
    ("at", "end"),
    [((2026, 7, 1, 12, 59), None), ((2026, 7, 1, 13, 0), "2026-07-01 14:30")],
)
def test_hours_of_one_day_end_on_that_day(at: tuple[int, ...], end: str | None) -> None:
    assert end_after("13-14:30", *at) == end


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        # The clock of Kyiv goes forward at 03:00 on 29 March, and back at 04:00 on 25 October.
        (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 3, 29, 6, tzinfo=UTC)),
        (datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 25, 7, tzinfo=UTC)),
    ],
)
def test_nine_is_nine_in_the_nights_of_a_change(evening: datetime, morning: datetime) -> None:
    quiet = QuietHours.read("21-9", KYIV)
    assert quiet is not None
    assert quiet.end_after(evening) == morning


@pytest.mark.parametrize("hours", ["none", " None "])
def test_there_may_be_no_quiet_hours(hours: str) -> None:
    assert QuietHours.read(hours, KYIV) is None


@pytest.mark.parametrize("hours", ["9", "21-", "21-25", "9-9", "21:60-9", "nine-ten", "21–9"])
def test_a_text_that_names_no_hours_is_refused(hours: str) -> None:
    with pytest.raises(ValueError):
        QuietHours.read(hours, KYIV)


def test_the_shop_is_in_kyiv_and_quiet_at_night_unless_it_says_otherwise() -> None:
    quiet = Settings(_env_file=None).quiet
    assert quiet == QuietHours.read("21-9", KYIV)
    there = Settings(_env_file=None, shop_timezone="Europe/Warsaw", quiet_hours="22-8").quiet
    assert there == QuietHours.read("22-8", ZoneInfo("Europe/Warsaw"))
