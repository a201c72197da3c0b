"""Claim, renew, verify and end leases: the right to run a task for a limited time.

A write with the fence of an older lease changes nothing and raises ``LeaseLostError``.
"""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, exists, func, or_, select, tuple_, update

from mirt.clock import Clock
from mirt.errors import ErrorCode, LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.engine.database_clock import steady_s
from mirt.store.engine.group_commit import GroupCommit
from mirt.store.engine.statements import (
    Dialected,
    Query,
    Row,
    Statement,
    fetch_all,
    one_of,
    p,
)
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope
from mirt.store.tables import pauses, tasks

HELD: Final = (TaskState.RUNNING, TaskState.QUEUED)
"""States in which an owner may hold a task. A task whose lease ran out is queued again, but its
owner keeps it until another worker claims it."""


@dataclass(slots=True)
class Validity:
    """How long a lease lasts for sure, by the steady clock of this process; each renewal moves it.

    Later, another worker may have the task. A process that stood still does not notice that.
    """

    until: float
    duration: timedelta

    @classmethod
    def since(cls, asked_at: float, duration: timedelta) -> "Validity":
        """Return the validity of a lease that was asked for at this moment."""
        return cls(asked_at + duration.total_seconds(), duration)

    def renewed(self, asked_at: float) -> None:
        """Take a renewal that was asked for at this moment."""
        self.until = asked_at + self.duration.total_seconds()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to run one task for a limited time.

    ``attempt`` counts the failures before this run. ``starts`` counts the runs that have not ended,
    including this one. ``waited_s`` is the sum of the cooldowns, in seconds. ``held_by`` is the
    outside service whose outage this run probes; ``held_since`` is when an outage held it first.
    ``cancelled_by`` is the operator who has asked to stop the task.
    """

    task_id: str
    owner: str
    fence: int
    trace_id: str = ""
    attempt: int = 0
    starts: int = 1
    waited_s: int = 0
    held_by: str | None = None
    held_since: datetime | None = None
    error_code: str | None = None
    cancelled_by: str | None = None
    created_at: datetime | None = None
    published_at: datetime | None = None
    validity: Validity | None = field(default=None, compare=False)
    opened: object = field(default=None, compare=False)
    """Data that the claim hook of the task has read in the transaction of the claim."""


MOST_SUBJECTS: Final = 4
"""Subjects of pauses that a task has at most: its queue, task, channel and conversation."""
_ENVELOPE: Final = ("id", "actor", "args", "kwargs", "options", "trace_id", "session_id")


def _build_claim(d: Dialected, *, is_first: bool = False) -> Any:
    at, until, owner = (
        p("at", tasks.c.started_at),
        p("until", tasks.c.due_at),
        p("owner", tasks.c.owner),
    )
    taken = {"state": TaskState.RUNNING, "owner": owner, "due_at": until, "started_at": at}
    first = {
        **{name: p(name, tasks.c[name]) for name in _ENVELOPE},
        **taken,
        "created_at": at,
        "waits_since": at,
        "first_started_at": at,
        "fence": 1,
        "starts": 1,
    }
    timed = (TaskState.RUNNING, TaskState.DELAYED)
    is_free = or_(
        tasks.c.state == TaskState.QUEUED, and_(one_of(tasks.c.state, timed), tasks.c.due_at <= at)
    )
    subjects = [p(f"subject_{n}", pauses.c.subject) for n in range(MOST_SUBJECTS)]
    is_paused = exists().where(one_of(pauses.c.subject, subjects))
    again = {
        **taken,
        "first_started_at": func.coalesce(tasks.c.first_started_at, at),
        "fence": tasks.c.fence + 1,
        "starts": tasks.c.starts + 1,
    }
    return (
        d.insert(tasks)
        .values(first)
        .on_conflict_do_update(
            index_elements=[tasks.c.id],
            set_=again,
            where=and_(is_free, ~is_paused, *([tasks.c.starts == 0] if is_first else [])),
        )
        .returning(*(tasks.c[name] for name in _CLAIMED))
    )


_CLAIMED: Final = (
    "fence",
    "attempt",
    "starts",
    "waited_s",
    "held_by",
    "held_since",
    "error_code",
    "cancelled_by",
    "created_at",
    "published_at",
)
_CLAIM: Final = Statement(_build_claim)
_CLAIM_FIRST: Final = Statement(partial(_build_claim, is_first=True))


def claim(
    tx: Connection, task: TaskMessage, *, owner: str, now: datetime, duration: timedelta
) -> Lease | None:
    """(none), queued, due → running: claim the task for ``duration``; None if it may not run.

    It may not run if another worker holds it, its delay is not over, it is paused, or it is done or
    dead. Then the row decides what happens next, and the caller may drop its copy of the message. A
    task without a row, sent straight to the broker, gets its row here.
    """
    return claim_and_read(tx, task, (), owner=owner, now=now, duration=duration)[0]


def claim_and_read(
    tx: Connection,
    task: TaskMessage,
    reads: Sequence[Query],
    *,
    owner: str,
    now: datetime,
    duration: timedelta,
    subjects: Sequence[str] = (),
) -> tuple[Lease | None, list[list[Row]]]:
    """Claim a task and run ``reads`` after that, in one round trip.

    The row of a task is not claimed while one of its ``subjects`` (``mirt.store.queue.pauses``) is
    paused. Returns the lease, as ``claim`` does, and the rows of each query.
    """
    values = _claim_values(task, owner, now, duration, subjects)
    validity = Validity.since(steady_s(), duration)
    [claimed, *found] = fetch_all(tx, [(_CLAIM, values), *reads])
    return _lease(task, owner, claimed, validity), found


def claim_first_and_commit(
    commits: GroupCommit,
    task: TaskMessage,
    *,
    owner: str,
    now: datetime,
    duration: timedelta,
    subjects: Sequence[str] = (),
) -> Lease | None:
    """Claim a task without an open run, with those of other threads; None if it is another one.

    Nearly every task is of this kind. ``claim_and_read`` decides about the others.
    """
    values = _claim_values(task, owner, now, duration, subjects)
    validity = Validity.since(steady_s(), duration)
    return _lease(task, owner, commits.run(_CLAIM_FIRST, values, row=task.task_id), validity)


def _claim_values(
    task: TaskMessage, owner: str, now: datetime, duration: timedelta, subjects: Sequence[str]
) -> dict[str, Any]:
    values = {**envelope(task), "owner": owner, "at": now, "until": now + duration}
    for number in range(MOST_SUBJECTS):
        values[f"subject_{number}"] = subjects[number] if number < len(subjects) else ""
    return values


def _lease(
    task: TaskMessage, owner: str, claimed: Sequence[Row], validity: Validity
) -> Lease | None:
    if not claimed:
        return None
    trace_id = task.options.get("trace_id", "")
    return Lease(task.task_id, owner, trace_id=trace_id, validity=validity, **claimed[0]._asdict())


def _is_held_by_the_caller() -> Any:
    return and_(
        tasks.c.id == p("task_id", tasks.c.id),
        one_of(tasks.c.state, HELD),
        tasks.c.owner == p("owner", tasks.c.owner),
        tasks.c.fence == p("fence", tasks.c.fence),
    )


_VERIFY: Final = Statement(
    lambda _: select(tasks.c.id).where(_is_held_by_the_caller()).with_for_update()
)


def verifying(lease: Lease) -> Query:
    """Return the query of ``verify``, to be run in one trip with others; no row: it is lost."""
    return _VERIFY, {"task_id": lease.task_id, "owner": lease.owner, "fence": lease.fence}


def verify(tx: Connection, lease: Lease) -> None:
    """Check that the lease is still held, and lock the task until the transaction ends.

    Raises:
        LeaseLostError: another worker has claimed the task; the caller may not write any more.
    """
    verify_and_read(tx, lease, ())


def verify_and_read(tx: Connection, lease: Lease, reads: Sequence[Query]) -> list[list[Row]]:
    """Check and lock as ``verify`` does, run ``reads`` after that in the same trip.

    Returns the rows of each query.

    Raises:
        LeaseLostError: another worker has claimed the task; the caller may not write any more.
    """
    [held, *found] = fetch_all(tx, [verifying(lease), *reads])
    if not held:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")
    return found


@dataclass(frozen=True, slots=True)
class Renewed:
    """The leases that were still held, and those of them whose task an operator has cancelled."""

    held: Set[Lease]
    cancelled: Set[Lease]


def renew(tx: Connection, held: Collection[Lease], *, until: datetime) -> Renewed:
    """Extend the leases of one owner that are still held. ``held`` is not empty."""
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
        .returning(tasks.c.id, tasks.c.fence, tasks.c.cancelled_by)
    )
    operators = {(row.id, row.fence): row.cancelled_by for row in renewed}
    still_held = {lease for lease in held if (lease.task_id, lease.fence) in operators}
    cancelled = {lease for lease in still_held if operators[lease.task_id, lease.fence]}
    return Renewed(still_held, cancelled)


def ensure_held(database: Database, lease: Lease, clock: Clock) -> None:
    """Check the lease right before a request that must not be made twice.

    That costs nothing while the renewals are on time. A process that stood still after it announced
    the request renews its lease first: another worker may have the task.

    Raises:
        LeaseLostError: another worker has claimed the task.
        DatabaseError: the lease cannot be renewed.
    """
    validity = lease.validity
    if validity is None or steady_s() < validity.until:
        return
    asked_at = steady_s()
    with database.transaction() as tx:
        if not renew(tx, [lease], until=clock() + validity.duration).held:
            raise LeaseLostError(f"the lease on task {lease.task_id} is lost")
    validity.renewed(asked_at)


_FINISH: Final = Statement(
    lambda _: (
        update(tasks)
        .where(_is_held_by_the_caller())
        .values(
            state=TaskState.DONE,
            due_at=None,
            finished_at=p("at", tasks.c.finished_at),
            owner=None,
            starts=0,
            held_by=None,
            error_code=None,
        )
        .returning(tasks.c.id)
    )
)


def finishing(lease: Lease, *, now: datetime) -> Query:
    """Return the statement of ``finish``, to be run in one trip with others; no row: it is lost."""
    held = {"task_id": lease.task_id, "owner": lease.owner, "fence": lease.fence}
    return _FINISH, {**held, "at": now}


def finish(tx: Connection, lease: Lease, *, now: datetime) -> None:
    """Running → done.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    if not fetch_all(tx, [finishing(lease, now=now)])[0]:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def finish_and_commit(commits: GroupCommit, lease: Lease, *, now: datetime) -> None:
    """Running → done, together with the tasks of other threads.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    if not commits.run(*finishing(lease, now=now), row=lease.task_id):
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


_WAS_FINISHED: Final = Statement(
    lambda _: select(tasks.c.id).where(
        tasks.c.id == p("task_id", tasks.c.id),
        tasks.c.state == TaskState.DONE,
        tasks.c.fence == p("fence", tasks.c.fence),
    )
)


def was_finished(tx: Connection, lease: Lease) -> bool:
    """Return whether this very run has finished the task: its commit was not confirmed to us."""
    return bool(
        fetch_all(tx, [(_WAS_FINISHED, {"task_id": lease.task_id, "fence": lease.fence})])[0]
    )


def mark_dead(tx: Connection, lease: Lease, *, error_code: str, now: datetime) -> None:
    """Running → dead. The caller writes the dead letter in the same transaction.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    _end(tx, lease, state=TaskState.DEAD, due_at=None, finished_at=now, error_code=error_code)


def cancel(tx: Connection, lease: Lease, *, now: datetime) -> str:
    """Running → done, since an operator has cancelled the task; return the name of the operator.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    query = select(tasks.c.cancelled_by).where(tasks.c.id == lease.task_id)
    operator = tx.execute(query).scalar_one_or_none()
    _end(
        tx,
        lease,
        state=TaskState.DONE,
        due_at=None,
        finished_at=now,
        error_code=ErrorCode.CANCELLED,
    )
    return operator or "an operator"


def postpone(
    tx: Connection, lease: Lease, *, due_at: datetime, attempt: int, waited_s: int = 0
) -> None:
    """Running → delayed: the task runs again at ``due_at``, as attempt number ``attempt`` (from 0).

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    _end(tx, lease, state=TaskState.DELAYED, due_at=due_at, attempt=attempt, waited_s=waited_s)


def hold(
    tx: Connection, lease: Lease, service: str, *, now: datetime, until: datetime, attempt: int
) -> None:
    """Running → delayed: an outage of the service holds the task, until ``until`` at the latest.

    ``mirt.store.queue.holds`` makes it due before that. The caller has locked the hold.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    _end(
        tx,
        lease,
        state=TaskState.DELAYED,
        due_at=until,
        attempt=attempt,
        held_by=service,
        held_since=lease.held_since or now,
    )


def give_back(
    tx: Connection, lease: Lease, *, now: datetime, pause: timedelta = timedelta()
) -> None:
    """Running → queued, for any worker, published after ``pause``. This run counts as no start.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is written.
    """
    _end(tx, lease, state=TaskState.QUEUED, due_at=now + pause, starts=tasks.c.starts - 1)


def forget(tx: Connection, lease: Lease) -> None:
    """Running → (none): delete a task whose work is stored elsewhere, like mail in the mailbox.

    Raises:
        LeaseLostError: another worker has claimed the task; nothing is deleted.
    """
    if tx.execute(delete(tasks).where(_is_held(lease))).rowcount != 1:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def release_owner(tx: Connection, owner: str, *, count_as_crash: bool, now: datetime) -> int:
    """End the leases of a process that is known to be dead; return their number.

    Without ``count_as_crash`` the runs do not count as starts: we stopped the process ourselves.
    """
    return tx.execute(
        update(tasks)
        .where(
            tasks.c.due_at.is_not(None),  # of every running task; it makes the index usable
            tasks.c.owner == owner,
            tasks.c.state == TaskState.RUNNING,
        )
        .values(due_at=now, starts=tasks.c.starts - int(not count_as_crash))
    ).rowcount


def mark_timed_out(
    tx: Connection, owner: str, task_id: str, fence: int, *, error_code: str
) -> bool:
    """Store the error of a run that is about to be stopped; return whether it was still running."""
    running = Lease(task_id=task_id, owner=owner, fence=fence)
    return (
        tx.execute(update(tasks).where(_is_held(running)).values(error_code=error_code)).rowcount
        == 1
    )


def _end(tx: Connection, lease: Lease, **values: Any) -> None:
    ended = tx.execute(
        update(tasks)
        .where(_is_held(lease))
        .values({"owner": None, "starts": 0, "held_by": None, "error_code": None, **values})
    )
    if ended.rowcount != 1:
        raise LeaseLostError(f"the lease on task {lease.task_id} is lost")


def _is_held(lease: Lease) -> Any:
    return and_(
        tasks.c.id == lease.task_id,
        tasks.c.state.in_(HELD),
        tasks.c.owner == lease.owner,
        tasks.c.fence == lease.fence,
    )
