"""Ticks: which scheduled tasks are to run at a moment, each tick once, the latest missed one too.

A scheduler only says what time it is. Any number may say so: the database knows the last tick of
each task, and takes no tick twice. When nobody has said so for long (no scheduler ran, the database
was down), the next to say it brings up the latest tick that each task has missed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import Connection

from mirt.observe import traces
from mirt.store.queue import outbox, ticks
from mirt.store.queue.tasks import TaskMessage

MINUTE: Final = timedelta(minutes=1)
LONGEST_LOOK_BACK: Final = timedelta(days=32)


class CronLine(Protocol):
    """When a task runs, as periodiq reads it."""

    def validate(self, date: datetime) -> bool:
        """Whether it runs in this minute."""


def latest_tick(line: CronLine, now: datetime) -> datetime | None:
    """The last minute, this one included, in which the task was to run; None within a month."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    for back in range(LONGEST_LOOK_BACK // MINUTE):
        if line.validate(tick := minute - back * MINUTE):
            return tick
    return None


def next_tick(line: CronLine, now: datetime) -> datetime:
    """The first minute after this one in which the task is to run; in a month at the latest."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    ahead = range(1, LONGEST_LOOK_BACK // MINUTE + 1)
    ticks = (minute + n * MINUTE for n in ahead)
    return next((tick for tick in ticks if line.validate(tick)), minute + LONGEST_LOOK_BACK)


def take_ticks(
    tx: Connection, schedule: Mapping[str, CronLine], *, at: datetime, now: datetime
) -> list[TaskMessage]:
    """Take every tick that is due at that time and was not taken; what is to be published.

    A task that is seen for the first time has missed nothing.
    """
    known = ticks.last_ticks(tx)
    due = []
    for task, line in sorted(schedule.items()):
        tick = latest_tick(line, at)
        if tick is None or tick <= known.get(task, datetime.min.replace(tzinfo=UTC)):
            continue
        is_missed = at - tick >= MINUTE
        if ticks.advance(tx, task, tick) and not (is_missed and task not in known):
            due.append(_run(task, tick))
    return [one for one in due if outbox.add(tx, one, now=now)]


def _run(task: str, tick: datetime) -> TaskMessage:
    return TaskMessage(f"{task}@{tick.isoformat()}", task, options=traces.new_options(task))
