"""Check that every queue has a worker and that the scheduler sends its ticks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mirt.clock import Clock
from mirt.settings import Mode, Settings
from mirt.store.engine.database import Database
from service.admin.doctor.finding import Finding, Severity
from service.admin.queues import MAX_CLOCK_SKEW_S, Activity, activity
from service.admin.schedule import schedule

FIRST_TICK_S: Final = 120.0
"""Seconds of uptime in which a deployment may not have sent its first tick yet."""


@dataclass(frozen=True, slots=True)
class _Context:
    database: Database
    clock: Clock


def check_workers(database: Database, settings: Settings) -> Iterator[Finding]:
    """Check workers, scheduler and dead letters by their rows in the database.

    Raises:
        DatabaseError: the database cannot be read.
    """
    context = _Context(database, database.clock)
    now = activity(context)
    embedded = settings.mode is Mode.EMBEDDED
    yield _workers(now, "mirt up" if embedded else "mirt worker")
    if not database.is_sqlite:
        yield from _clocks(now)
    yield _scheduler(context, now, "mirt up" if embedded else "mirt scheduler")
    if dead := sum(queue.dead for queue in now.queues):
        yield Finding(
            "dead letters", Severity.WARNING, f"{dead} wait for your decision", "mirt dead list"
        )


def _workers(now: Activity, start: str) -> Finding:
    if not now.workers:
        return Finding("workers", Severity.ERROR, "no worker is running", start)
    idle = [queue.name for queue in now.queues if not queue.workers]
    if idle:
        found = f"no worker serves {', '.join(idle)}"
        return Finding("workers", Severity.ERROR, found, f"{start} {' '.join(idle)}")
    threads = sum(one.worker.threads for one in now.workers)
    found = f"{len(now.workers)} with {threads} threads, every queue is served"
    return Finding("workers", Severity.OK, found)


def _clocks(now: Activity) -> Iterator[Finding]:
    ahead = {one.worker.host: one.worker.clock_ahead_s or 0.0 for one in now.workers}
    wrong = {host: by for host, by in ahead.items() if abs(by) > MAX_CLOCK_SKEW_S}
    for host, by in wrong.items():
        found = f"{host} is {abs(by):.2f} s {'ahead of' if by > 0 else 'behind'} the database"
        yield Finding("worker clocks", Severity.WARNING, found, "synchronise its clock by NTP")
    if ahead and not wrong:
        most = max(map(abs, ahead.values()))
        found = f"at most {most:.2f} s from the database's"
        yield Finding("worker clocks", Severity.OK, found)


def _scheduler(context: _Context, now: Activity, start: str) -> Finding:
    tasks = schedule(context)
    late = [one.task for one in tasks if one.is_late]
    if late:
        return Finding(
            "scheduler", Severity.ERROR, f"no tick was sent for {', '.join(late)}", start
        )
    last = max((one.last_at for one in tasks if one.last_at is not None), default=None)
    if last is None:
        is_new = any(one.uptime_s < FIRST_TICK_S for one in now.workers)
        severity = Severity.WARNING if is_new else Severity.ERROR
        return Finding("scheduler", severity, "it has never sent a tick", start)
    ago_s = (context.clock() - last).total_seconds()
    return Finding("scheduler", Severity.OK, f"its last tick was {max(0.0, ago_s):.0f} s ago")
