"""Check the work by its rows: all problems that ``mirt inspect`` finds, and what is well."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mirt.clock import Clock
from mirt.store.engine.database import Database
from service.admin.doctor.finding import Finding, Severity
from service.admin.findings import SCHEDULER, WEBHOOK, WORKERS, findings
from service.admin.queues import MAX_CLOCK_SKEW_S, Activity, activity
from service.admin.schedule import ScheduledTask, schedule


@dataclass(frozen=True, slots=True)
class _Context:
    database: Database
    clock: Clock


def check_workers(database: Database) -> Iterator[Finding]:
    """Report every problem of the running service, and workers and scheduler that are well.

    What is wrong here is wrong for ``mirt inspect`` and on ``/ops``, and the other way round. Only
    webhooks are left out: the doctor asks the platform itself.

    Raises:
        DatabaseError: the database cannot be read.
    """
    context = _Context(database, database.clock)
    now, scheduled = activity(context), schedule(context)
    problems = [one for one in findings(context, now, scheduled) if one.about != WEBHOOK]
    wrong = {problem.about for problem in problems}
    if WORKERS not in wrong:
        yield _workers(now)
    if not database.is_sqlite:
        yield from _clocks(now)
    if SCHEDULER not in wrong:
        yield _scheduler(scheduled, database.clock)
    for problem in problems:
        yield Finding(problem.about, Severity.ERROR, problem.what, problem.command)


def _workers(now: Activity) -> Finding:
    threads = sum(one.worker.threads for one in now.workers)
    found = f"{len(now.workers)} with {threads} threads, every queue is served"
    return Finding(WORKERS, Severity.OK, found)


def _clocks(now: Activity) -> Iterator[Finding]:
    ahead: dict[str, float] = {}
    for one in now.workers:
        of_host = (one.worker.clock_ahead_s or 0.0, ahead.get(one.worker.host, 0.0))
        ahead[one.worker.host] = max(of_host, key=abs)
    wrong = {host: by for host, by in ahead.items() if abs(by) > MAX_CLOCK_SKEW_S}
    for host, by in wrong.items():
        found = f"{host} is {abs(by):.2f} s {'ahead of' if by > 0 else 'behind'} the database"
        yield Finding("worker clocks", Severity.WARNING, found, "synchronise its clock by NTP")
    if ahead and not wrong:
        most = max(map(abs, ahead.values()))
        found = f"at most {most:.2f} s from the database's"
        yield Finding("worker clocks", Severity.OK, found)


def _scheduler(scheduled: Sequence[ScheduledTask], clock: Clock) -> Finding:
    last = max((one.last_at for one in scheduled if one.last_at is not None), default=None)
    if last is None:
        return Finding(SCHEDULER, Severity.OK, "its first tick comes within two minutes")
    ago_s = (clock() - last).total_seconds()
    return Finding(SCHEDULER, Severity.OK, f"its last tick was {max(0.0, ago_s):.0f} s ago")
