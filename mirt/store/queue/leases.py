"""The right to work on a task: claimed for a while, renewed, fenced, ended in one of five ways."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, or_, select, tuple_, update

from mirt.errors import LeaseLostError
from mirt.store.engine.database import upsert
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope
from mirt.store.tables import tasks

HELD: Final = (TaskState.RUNNING, TaskState.QUEUED)
"""A task whose lease ran out is queued again, and still its owner's until another claims it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a task, until its lease runs out or it is ended.

    ``attempt`` counts the failures before this run, ``starts`` the runs that did not end, this one
    among them.
    """

    task_id: str
    owner: str
    fence: int
    trace_id: str = ""
    attempt: int = 0
    starts: int = 1
    waited_s: int = 0
    error_code: str | None = None
    created_at: datetime | None = None
    published_at: datetime | None = None


def claim(
    tx: Connection, task: TaskMessage, *, owner: str, now: datetime, duration: timedelta
) -> Lease | None:
    """Take the task for ``lease``; None when it is not to be run now.

    That is: when another worker holds it, when its delay is not over, when it is done or dead. In
    each of these cases its row says what happens next, and this copy of the message may go.
    A task without a row, sent straight to the broker, gets it here.
    """
    taken = {
        "state": TaskState.RUNNING,
        "owner": owner,
        "due_at": now + duration,
        "started_at": now,
    }
    first = {
        **envelope(task),
        **taken,
        "created_at": now,
        "waits_since": now,
        "first_started_at": now,
        "fence": 1,
        "starts": 1,
    }
    row = tx.execute(
        upsert(tx, tasks)
        .values(first)
        .on_conflict_do_update(
            index_elements=[tasks.c.id],
            set_={
                **taken,
                "first_started_at": func.coalesce(tasks.c.first_started_at, now),
                "fence": tasks.c.fence + 1,
                "starts": tasks.c.starts + 1,
            },
            where=_is_free(now),
        )
        .returning(
            tasks.c.fence,
            tasks.c.attempt,
            tasks.c.starts,
            tasks.c.waited_s,
            tasks.c.error_code,
            tasks.c.created_at,
            tasks.c.published_at,
        )
    ).one_or_none()
    if row is None:
        return None
    trace_id = task.options.get("trace_id", "")
    return Lease(task_id=task.task_id, owner=owner, trace_id=trace_id, **row._mapping)


def verify(tx: Connection, lease: Lease) -> None:
    """Make sure that the claim is still ours, and keep it so until this transaction ends.

    Raises:
        LeaseLostError: when another worker has taken it: nothing may be written any more.
    """
    held = tx.execute(select(tasks.c.id).where(_is_held(lease)).with_for_update()).one_or_none()
    if held is None:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def renew(tx: Connection, held: Collection[Lease], *, until: datetime) -> set[Lease]:
    """Extend the leases of one owner; those that were still held."""
    owner = next(iter(held)).owner
    runs = [(lease.task_id, lease.fence) for lease in held]
    renewed = tx.execute(
        update(tasks)
        .where(
            tasks.c.owner == owner,
            tasks.c.state.in_(HELD),
            tuple_(tasks.c.id, tasks.c.fence).in_(runs),
        )
        .values(due_at=until, state=TaskState.RUNNING)
        .returning(tasks.c.id, tasks.c.fence)
    )
    still = {(row.id, row.fence) for row in renewed}
    return {lease for lease in held if (lease.task_id, lease.fence) in still}


def finish(tx: Connection, lease: Lease, *, now: datetime) -> None:
    """Running → done."""
    _end(tx, lease, state=TaskState.DONE, due_at=None, finished_at=now)


def mark_dead(tx: Connection, lease: Lease, *, error_code: str, now: datetime) -> None:
    """Running → dead; its dead letter is written in the same transaction."""
    _end(tx, lease, state=TaskState.DEAD, due_at=None, finished_at=now, error_code=error_code)


def postpone(
    tx: Connection, lease: Lease, *, due_at: datetime, attempt: int, waited_s: int = 0
) -> None:
    """Running → delayed: the same task runs again at ``due_at``, as attempt number ``attempt``."""
    _end(tx, lease, state=TaskState.DELAYED, due_at=due_at, attempt=attempt, waited_s=waited_s)


def give_back(tx: Connection, lease: Lease, *, now: datetime) -> None:
    """Running → queued, due at once: for whoever comes next. It does not count as a start."""
    _end(tx, lease, state=TaskState.QUEUED, due_at=now, starts=tasks.c.starts - 1)


def forget(tx: Connection, lease: Lease) -> None:
    """Running → (none): somebody else keeps what the task was about."""
    if tx.execute(delete(tasks).where(_is_held(lease))).rowcount != 1:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def release_owner(tx: Connection, owner: str, *, innocent: bool, now: datetime) -> int:
    """End the leases of a process that is known to be dead; how many there were.

    ``innocent``: its death was our doing, and is not counted as an unfinished start.
    """
    return tx.execute(
        update(tasks)
        .where(tasks.c.owner == owner, tasks.c.state == TaskState.RUNNING)
        .values(due_at=now, starts=tasks.c.starts - int(innocent))
    ).rowcount


def mark_timed_out(
    tx: Connection, owner: str, task_id: str, fence: int, *, error_code: str
) -> bool:
    """Note that this run is to be stopped, and with what the task has failed; if it still runs."""
    running = Lease(task_id=task_id, owner=owner, fence=fence)
    return (
        tx.execute(update(tasks).where(_is_held(running)).values(error_code=error_code)).rowcount
        == 1
    )


def _end(tx: Connection, lease: Lease, **values: Any) -> None:
    ended = tx.execute(
        update(tasks)
        .where(_is_held(lease))
        .values({"owner": None, "starts": 0, "error_code": None, **values})
    )
    if ended.rowcount != 1:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def _is_free(now: datetime) -> Any:
    timed = (TaskState.RUNNING, TaskState.DELAYED)
    return or_(
        tasks.c.state == TaskState.QUEUED,
        and_(tasks.c.state.in_(timed), tasks.c.due_at <= now),
    )


def _is_held(lease: Lease) -> Any:
    return and_(
        tasks.c.id == lease.task_id,
        tasks.c.state.in_(HELD),
        tasks.c.owner == lease.owner,
        tasks.c.fence == lease.fence,
    )
