"""Know the hours in which no customer is reminded, in the time zone of the shop."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

NONE: Final = "none"
_FORM: Final = re.compile(r"(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The hours from ``start`` to ``end`` of each day, which may lie around midnight.

    >>> quiet = QuietHours.read("21-9", ZoneInfo("Europe/Kyiv"))
    >>> quiet.end_after(datetime(2026, 7, 1, 21, 30, tzinfo=UTC))  # half past midnight in Kyiv
    datetime.datetime(2026, 7, 2, 6, 0, tzinfo=datetime.timezone.utc)
    """

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def read(cls, text: str, zone: ZoneInfo) -> "QuietHours | None":
        """Read ``21-9`` or ``22:30-8:00``; return None for ``none``.

        Raises:
            ValueError: the text has another form, or names no hours.
        """
        if text.strip().lower() == NONE:
            return None
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError("hours from and to, like 21-9 or 22:30-8:00, or none")
        hours = [int(part or 0) for part in found.groups()]
        if hours[0] > 23 or hours[2] > 23 or hours[1] > 59 or hours[3] > 59:
            raise ValueError("hours are 0 to 23, minutes 0 to 59")
        start, end = time(hours[0], hours[1]), time(hours[2], hours[3])
        if start == end:
            raise ValueError("the two hours must differ; none turns quiet hours off")
        return cls(start, end, zone)

    def end_after(self, now: datetime) -> datetime | None:
        """Return the end of the quiet hours that ``now`` lies in, in UTC; None outside of them."""
        there = now.astimezone(self.zone)
        at = there.time()
        is_overnight = self.start > self.end
        is_evening = is_overnight and at >= self.start
        is_quiet = is_evening or at < self.end if is_overnight else self.start <= at < self.end
        if not is_quiet:
            return None
        day = there.date() + timedelta(days=is_evening)
        return datetime.combine(day, self.end, tzinfo=self.zone).astimezone(UTC)
