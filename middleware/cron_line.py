"""Read the cron line of a task, in UTC or by the clock of a place, which moves twice a year."""

from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from periodiq import CronSpec, cron

from middleware.policy import TaskPolicy

MINUTE: Final = timedelta(minutes=1)
EVERY_HOUR: Final = 24


class CronLine(Protocol):
    """A parsed cron line, as periodiq reads it."""

    def validate(self, date: datetime) -> bool:
        """Whether the task runs in this minute."""


def line_of(policy: TaskPolicy) -> CronLine:
    """Return the cron line of a task that has a schedule.

    Raises:
        ValueError, LookupError: it is no cron line.
    """
    line: CronSpec = cron(policy.schedule)
    return line if policy.tz == "UTC" else LocalLine(line, ZoneInfo(policy.tz))


class LocalLine:
    """A cron line in a time zone.

    In the night of a change a line with certain hours runs once at each of its times, as in
    Debian's cron: what the clocks leave out runs when they have moved on, what they repeat runs the
    first time. A line for every hour goes by the time that passes.

    >>> nine = LocalLine(cron("0 9 * * *"), ZoneInfo("Europe/Kyiv"))
    >>> nine.validate(datetime(2026, 7, 1, 6, tzinfo=UTC))
    True
    >>> nine.validate(datetime(2026, 1, 1, 7, tzinfo=UTC))
    True
    """

    def __init__(self, line: CronSpec, zone: ZoneInfo) -> None:
        self._line = line
        self._zone = zone
        self._is_for_every_hour = len(line.hour) == EVERY_HOUR

    def __str__(self) -> str:
        return f"{self._line} {self._zone.key}"

    def validate(self, date: datetime) -> bool:
        """Whether the task runs in this minute."""
        local = date.astimezone(self._zone)
        if self._is_for_every_hour:
            return bool(self._line.validate(local))
        if local.fold:
            return False
        return any(map(self._line.validate, (local, *self._left_out_before(date))))

    def next_valid_date(self, last: Any) -> Any:
        """Return when periodiq looks at the line again: in the next minute."""
        return last.replace(second=0, microsecond=0).add(minutes=1)

    def _left_out_before(self, date: datetime) -> list[datetime]:
        """Return the local minutes that the clocks have left out just before this one."""
        here = date.astimezone(self._zone).replace(tzinfo=None)
        before = (date - MINUTE).astimezone(self._zone).replace(tzinfo=None)
        return [before + n * MINUTE for n in range(1, (here - before) // MINUTE)]
