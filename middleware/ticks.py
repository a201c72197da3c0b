"""Finds the scheduled tasks that are due, each tick once, and catches up the latest missed one.

A scheduler only tells the time, and any number of schedulers may run: the database has the last
tick of each task and takes no tick twice. After a gap (no scheduler ran, or the database was down)
the next tick catches up the latest missed tick of each task.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from middleware.cron_line import MINUTE, CronLine
from mirt.observe import traces
from mirt.store.queue import outbox, ticks
from mirt.store.queue.tasks import TaskMessage

LONGEST_LOOK_BACK: Final = timedelta(days=32)
"""A schedule that runs monthly or more often has a tick in it."""


def latest_tick(line: CronLine, now: datetime) -> datetime | None:
    """Return the last tick until ``now``; None if there was none within ``LONGEST_LOOK_BACK``."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    for back in range(LONGEST_LOOK_BACK // MINUTE):
        if line.validate(tick := minute - back * MINUTE):
            return tick
    return None


def next_tick(line: CronLine, now: datetime) -> datetime:
    """Return the first tick after this minute; the end of ``LONGEST_LOOK_BACK`` if none is near."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    ahead = range(1, LONGEST_LOOK_BACK // MINUTE + 1)
    ticks = (minute + n * MINUTE for n in ahead)
    return next((tick for tick in ticks if line.validate(tick)), minute + LONGEST_LOOK_BACK)


def take_ticks(
    tx: Connection, schedule: Mapping[str, CronLine], *, at: datetime, now: datetime
) -> list[TaskMessage]:
    """Take every tick that is due at that time and was not taken; return the tasks to publish.

    A task that is seen for the first time has missed no tick.
    """
    known = ticks.last_ticks(tx)
    due: list[TaskMessage] = []
    for task, line in sorted(schedule.items()):
        tick = latest_tick(line, at)
        if tick is None or tick <= known.get(task, datetime.min.replace(tzinfo=UTC)):
            continue
        is_missed = at - tick >= MINUTE
        if ticks.advance(tx, task, tick) and not (is_missed and task not in known):
            due.append(_run(task, tick))
    return [task for task in due if outbox.add(tx, task, now=now)]


def run_id(task: str, tick: datetime) -> str:
    """Return the task id of the run of a tick."""
    return f"{task}@{tick.isoformat()}"


def _run(task: str, tick: datetime) -> TaskMessage:
    return TaskMessage(run_id(task, tick), task, options=traces.new_options(task))
