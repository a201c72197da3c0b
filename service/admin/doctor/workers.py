"""Whether somebody works on every queue, and whether the schedule is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mirt.clock import Clock
from mirt.settings import Mode, Settings
from mirt.store.engine.database import Database
from service.admin.doctor.finding import Finding, Verdict
from service.admin.queues import Activity, activity
from service.admin.schedule import schedule

FIRST_TICK_S: Final = 120.0
"""The first minute of a deployment may not have come yet."""


@dataclass(frozen=True, slots=True)
class _Workers:
    database: Database
    clock: Clock


def look_at_work(database: Database, clock: Clock, settings: Settings) -> Iterator[Finding]:
    """Workers, scheduler and dead letters, as the database knows them.

    Raises:
        DatabaseError: it cannot be asked.
    """
    context = _Workers(database, clock)
    now = activity(context)
    embedded = settings.mode is Mode.EMBEDDED
    yield _workers(now, "mirt up" if embedded else "mirt worker")
    yield _scheduler(context, now, "mirt up" if embedded else "mirt scheduler")
    if dead := sum(queue.dead for queue in now.queues):
        yield Finding("dead letters", Verdict.NOTE, f"{dead} wait for a decision", "mirt dead list")


def _workers(now: Activity, start: str) -> Finding:
    if not now.workers:
        return Finding("workers", Verdict.WRONG, "none is running", start)
    idle = [queue.name for queue in now.queues if not queue.workers]
    if idle:
        found = f"nobody works on {', '.join(idle)}"
        return Finding("workers", Verdict.WRONG, found, f"{start} {' '.join(idle)}")
    threads = sum(one.worker.threads for one in now.workers)
    found = f"{len(now.workers)} with {threads} threads, somebody for every queue"
    return Finding("workers", Verdict.FINE, found)


def _scheduler(context: _Workers, now: Activity, start: str) -> Finding:
    tasks = schedule(context)
    late = [one.task for one in tasks if one.is_late]
    if late:
        return Finding("scheduler", Verdict.WRONG, f"no tick of {', '.join(late)}", start)
    last = max((one.last_at for one in tasks if one.last_at is not None), default=None)
    if last is None:
        began_lately = any(one.uptime_s < FIRST_TICK_S for one in now.workers)
        verdict = Verdict.NOTE if began_lately else Verdict.WRONG
        return Finding("scheduler", verdict, "it has never sent a tick", start)
    ago_s = (context.clock() - last).total_seconds()
    return Finding("scheduler", Verdict.FINE, f"its last tick was {max(0.0, ago_s):.0f} s ago")
