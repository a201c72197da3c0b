"""Hold the work of an outside service that is down, and let one task at a time probe it.

A hold has a row per service, and ends when a probe is answered. Its tasks are delayed rows that
name it in ``held_by``. Their ``due_at`` is the end of their patience, so the outbox leaves them
alone until then, and their number costs nothing.

    running ──hold──► delayed ──take_probe──► queued, running ──► done, or delayed again
                         └────release───► due, spread over some seconds

A task is held under a lock of the row of its hold, and ``release`` locks the row first. So no task
is held by a hold that has ended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from sqlalchemy import Connection, and_, exists, func, select, update

from mirt.store.engine.database import upsert
from mirt.store.engine.statements import Query, Statement
from mirt.store.queue.outbox import REPUBLISH_AFTER, TASK_COLUMNS
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import holds, tasks

LONGEST_PAUSE_S: Final = 30
"""Seconds between two probes: 1, 2, 4, 8, 16, then 30."""
SPREAD_PER_S: Final = 20
"""Tasks that become due in each second after the end of a hold, so that they do not all hit the
service at once; more if they would take longer than ``LONGEST_SPREAD_S``."""
LONGEST_SPREAD_S: Final = 30


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a service holds its work; ``setting`` is the one to mend if it refuses us."""

    service: str
    code: str
    reason: str
    setting: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that has not ended, and the number of conversations that wait for its end.

    A task of no conversation counts as one.
    """

    service: str
    since: datetime
    code: str
    reason: str
    setting: str | None
    conversations: int


def lock_hold(tx: Connection, service: str) -> bool:
    """Return whether the service has a hold; if so it does not end before this transaction."""
    row = tx.execute(
        select(holds.c.ended_at).where(holds.c.service == service).with_for_update(read=True)
    ).one_or_none()
    return row is not None and row.ended_at is None


def open_hold(tx: Connection, outage: Outage, *, failed_at: datetime, now: datetime) -> bool | None:
    """Open a hold, unless there is one, and lock it as ``lock_hold`` does.

    Return True if it is new, False if it was open, and None if there is none: the service has
    answered a probe since ``failed_at``.
    """
    first = {
        "since": now,
        "code": outage.code,
        "reason": outage.reason,
        "setting": outage.setting,
        "probes": 0,
        "probe_at": now + _pause(0),
        "ended_at": None,
    }
    opened = tx.execute(
        upsert(tx, holds)
        .values(service=outage.service, **first)
        .on_conflict_do_update(
            index_elements=[holds.c.service], set_=first, where=holds.c.ended_at < failed_at
        )
        .returning(holds.c.service)
    )
    if opened.one_or_none() is not None:
        return True
    return False if lock_hold(tx, outage.service) else None


_OPEN: Final = Statement(
    lambda _: select(holds.c.service, holds.c.probe_at).where(holds.c.ended_at.is_(None))
)


def reading_open() -> Query:
    """Return the query for the services that have a hold, each with the time of its next probe."""
    return _OPEN, {}


def take_probe(tx: Connection, service: str, *, now: datetime) -> TaskMessage | None:
    """Delayed → queued: let the task through that has not run for longest; None if none may go.

    The caller publishes it after the commit. While a probe is queued or runs there is no other one.
    """
    hold = tx.execute(
        select(holds.c.probes)
        .where(holds.c.service == service, holds.c.ended_at.is_(None), holds.c.probe_at <= now)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if hold is None:
        return None
    probe = tasks.alias("probe")
    goes_on = probe.c.state.in_([TaskState.QUEUED, TaskState.RUNNING])
    is_probed = exists().where(probe.c.held_by == service, goes_on)
    longest_ago = (
        select(tasks.c.id)
        .where(tasks.c.held_by == service, tasks.c.state == TaskState.DELAYED, ~is_probed)
        .order_by(tasks.c.started_at)
        .limit(1)
        .scalar_subquery()
    )
    row = tx.execute(
        update(tasks)
        .where(tasks.c.id == longest_ago, tasks.c.state == TaskState.DELAYED)
        .values(
            state=TaskState.QUEUED,
            published_at=now,
            publications=tasks.c.publications + 1,
            due_at=now + REPUBLISH_AFTER,
            waits_since=now,
        )
        .returning(*(tasks.c[name] for name in TASK_COLUMNS))
    ).one_or_none()
    if row is None:
        return None
    probes = hold.probes + 1
    tx.execute(
        update(holds)
        .where(holds.c.service == service)
        .values(probes=probes, probe_at=now + _pause(probes))
    )
    return TaskMessage(*row)


def release(tx: Connection, service: str, *, now: datetime) -> tuple[int, datetime] | None:
    """End a hold: its tasks become due in the order of their age, spread over some seconds.

    Return their number and the beginning of the hold; None if the service has no hold.
    """
    hold = tx.execute(
        update(holds)
        .where(holds.c.service == service, holds.c.ended_at.is_(None))
        .values(ended_at=now)
        .returning(holds.c.since)
    ).one_or_none()
    if hold is None:
        return None
    count = release_held(tx, service, now=now)
    tx.execute(update(holds).where(holds.c.service == service).values(held=count))
    return count, hold.since


def release_held(tx: Connection, held_by: str, *, now: datetime) -> int:
    """Make the tasks that are held so due in the order of their age, spread over some seconds.

    Return their number. The caller holds a lock without which no further task is held so.
    """
    is_held = and_(tasks.c.held_by == held_by, tasks.c.state == TaskState.DELAYED)
    ids = tx.execute(select(tasks.c.id).where(is_held).order_by(tasks.c.created_at)).scalars().all()
    for second, some in enumerate(_chunks(ids)):
        tx.execute(
            update(tasks)
            .where(tasks.c.id.in_(some), is_held)
            .values(held_by=None, due_at=now + timedelta(seconds=second))
        )
    return len(ids)


def open_holds(tx: Connection) -> list[Hold]:
    """Return the holds that have not ended, the oldest first."""
    waiting = (
        select(func.count(func.coalesce(tasks.c.session_id, tasks.c.id).distinct()))
        .where(tasks.c.held_by == holds.c.service, tasks.c.due_at.is_not(None))
        .correlate(holds)
        .scalar_subquery()
        .label("conversations")
    )
    rows = tx.execute(
        select(*(holds.c[name] for name in Hold.__slots__[:-1]), waiting)
        .where(holds.c.ended_at.is_(None))
        .order_by(holds.c.since)
    )
    return [Hold(**row._mapping) for row in rows]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids that become due in each second."""
    size = max(SPREAD_PER_S, ceil(len(ids) / LONGEST_SPREAD_S))
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _pause(probes: int) -> timedelta:
    return timedelta(seconds=min(2**probes, LONGEST_PAUSE_S))
