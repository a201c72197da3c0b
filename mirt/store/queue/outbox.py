"""Add tasks to the outbox and take those that are due: new, delayed, or with a lost message."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Connection,
    and_,
    case,
    delete,
    func,
    null,
    or_,
    select,
    update,
)

from mirt.store.engine.statements import Query, Row, Statement, fetch, fetch_all, later, p
from mirt.store.queue.tasks import TaskMessage, TaskState, envelope
from mirt.store.tables import tasks

REPUBLISH_AFTER: Final = timedelta(seconds=10)
REPUBLISH_DOUBLINGS: Final = 9
"""A queued task that no worker claims is due again after 10 s, 20 s, 40 s … 85 min.

The first time is soon, since the process may have died before it published the task.
"""
MOST_LOOKS: Final = 4
"""Times that the broker is asked first whether it still has the message: 10, 30, 70 and 150 s after
the publication. A task that waits for longer is published again without a question."""
NEVER: Final = datetime.min.replace(tzinfo=UTC, year=1970)


_ENVELOPE: Final = ("id", "actor", "args", "kwargs", "options", "trace_id", "session_id")
TASK_COLUMNS: Final = ("id", "actor", "args", "kwargs", "options")
"""The columns of a ``TaskMessage``, in its order."""
_FIRST: Final = ("state", "due_at", "published_at", "publications", "created_at", "waits_since")
_ADD: Final = Statement(
    lambda d: (
        d.insert(tasks)
        .values({name: p(name, tasks.c[name]) for name in (*_ENVELOPE, *_FIRST)})
        .on_conflict_do_nothing()
        .returning(tasks.c.id)
    )
)


def add(
    tx: Connection, task: TaskMessage, *, now: datetime, due_at: datetime | None = None
) -> bool:
    """(none) → queued, delayed: add a task to the outbox; return whether it was new.

    With ``due_at`` the task is delayed. Without it the caller publishes the task after the commit,
    and the outbox publishes it again if no worker has claimed it after ``REPUBLISH_AFTER``.
    """
    return bool(fetch(tx, _ADD, **_new(task, now, due_at)))


def add_later(
    tx: Connection, task: TaskMessage, *, now: datetime, due_at: datetime | None = None
) -> None:
    """Add a task to the outbox, as ``add`` does, without a round trip of its own."""
    later(tx, _ADD, **_new(task, now, due_at))


def _new(task: TaskMessage, now: datetime, due_at: datetime | None) -> dict[str, Any]:
    delayed = due_at is not None
    return {
        **envelope(task),
        "state": TaskState.DELAYED if delayed else TaskState.QUEUED,
        "due_at": due_at if delayed else now + REPUBLISH_AFTER,
        "published_at": None if delayed else now,
        "publications": 0 if delayed else 1,
        "created_at": now,
        "waits_since": None if delayed else now,
    }


def _again(publications: int) -> BindParameter[Any]:
    return p(f"again_{publications}", tasks.c.due_at)


def _waits_in_the_broker() -> Any:
    """Return whether the broker may still have the message of a task that was just taken.

    No worker has claimed it since it was published, a short while ago.
    """
    return and_(
        tasks.c.owner.is_(None),
        tasks.c.waits_since < p("at", tasks.c.due_at),
        tasks.c.publications > 1,
        tasks.c.publications <= MOST_LOOKS + 1,
    ).label("waits_in_the_broker")


_DUE: Final = (
    select(tasks.c.id)
    .where(
        tasks.c.due_at <= p("at", tasks.c.due_at),
        or_(
            tasks.c.state != TaskState.RUNNING,
            tasks.c.due_at <= p("running_until", tasks.c.due_at),
        ),
    )
    .order_by(tasks.c.due_at)
    .limit(p("limit", tasks.c.publications))
    .with_for_update(skip_locked=True)
)
_TAKE_DUE: Final = Statement(
    lambda d: (
        update(tasks)
        .where(d.found_by(tasks.c.id, _DUE))
        .values(
            state=TaskState.QUEUED,
            published_at=p("at", tasks.c.due_at),
            publications=tasks.c.publications + 1,
            due_at=case(
                {n: _again(n) for n in range(REPUBLISH_DOUBLINGS)},
                value=tasks.c.publications,
                else_=_again(REPUBLISH_DOUBLINGS),
            ),
            # The wait for a worker begins when a delay ends. A lost message does not restart it.
            waits_since=case(
                (tasks.c.state == TaskState.DELAYED, p("at", tasks.c.due_at)),
                else_=tasks.c.waits_since,
            ),
            # A held task whose patience is over, or a probe that was lost, runs as any other task.
            held_by=null(),
        )
        .returning(*(tasks.c[name] for name in TASK_COLUMNS), _waits_in_the_broker())
    )
)
_NEXT_DUE: Final = Statement(lambda _: select(func.min(tasks.c.due_at).label("at")))


@dataclass(frozen=True, slots=True)
class Due:
    """Tasks that were taken, when the next one is due, and what was read beside them."""

    to_publish: list[TaskMessage]
    waiting: list[TaskMessage]
    """Tasks that were published before; the broker may still have their messages."""
    next_due: datetime | None
    found: list[list[Row]]


def take_due(tx: Connection, *, now: datetime, limit: int) -> list[TaskMessage]:
    """Take the tasks that are due: delays that are over, lost messages, leases that ran out.

    All of them become queued; the caller publishes them after the commit. Concurrent callers take
    different tasks. A task is due again after a growing pause if no worker claims it. The owner of
    a lease that ran out keeps the task until another worker claims it.
    """
    due = take_due_and_read(tx, (), now=now, limit=limit)
    return [*due.to_publish, *due.waiting]


def take_due_and_read(
    tx: Connection,
    reads: Sequence[Query],
    *,
    now: datetime,
    limit: int,
    takes_running: bool = True,
) -> Due:
    """Take due tasks as ``take_due`` does, and run ``reads`` after that in the same round trip.

    Without ``takes_running`` it takes no running task.
    """
    running_until = now if takes_running else NEVER
    pauses = {n: REPUBLISH_AFTER * 2**n for n in range(REPUBLISH_DOUBLINGS + 1)}
    again = {f"again_{n}": now + pause for n, pause in pauses.items()}
    [taken, next_due, *found] = fetch_all(
        tx,
        [
            (_TAKE_DUE, {"at": now, "running_until": running_until, "limit": limit, **again}),
            (_NEXT_DUE, {}),
            *reads,
        ],
    )
    to_publish: list[TaskMessage] = []
    waiting: list[TaskMessage] = []
    for *columns, waits in taken:
        (waiting if waits else to_publish).append(TaskMessage(*columns))
    return Due(to_publish, waiting, next_due[0].at, found)


def make_due(tx: Connection, ids: Collection[str], *, now: datetime) -> None:
    """Make these queued tasks due now: their publication is known to have failed."""
    tx.execute(
        update(tasks)
        .where(tasks.c.id.in_(ids), tasks.c.state == TaskState.QUEUED)
        .values(due_at=now, publications=0)
    )


def make_lost_due(
    tx: Connection, actors: Collection[str], *, published_before: datetime, now: datetime
) -> int:
    """Make queued tasks due now that were published before that time: the broker lost them.

    Return their number.
    """
    return tx.execute(
        update(tasks)
        .where(
            tasks.c.state == TaskState.QUEUED,
            tasks.c.due_at > now,
            tasks.c.published_at < published_before,
            tasks.c.actor.in_(actors),
        )
        .values(due_at=now, publications=0)
    ).rowcount


def count_queued(tx: Connection, actors: Collection[str]) -> int:
    """Return the number of tasks of these actors that should be waiting in the broker."""
    return tx.execute(
        select(func.count())
        .select_from(tasks)
        .where(
            tasks.c.due_at.is_not(None),  # of every queued task; it makes the index usable
            tasks.c.state == TaskState.QUEUED,
            tasks.c.actor.in_(actors),
        )
    ).scalar_one()


def delay_unstarted(tx: Connection, task_id: str, *, until: datetime, at_most: timedelta) -> None:
    """Delay a task until ``until``, or until ``at_most`` after its creation if that is earlier.

    Only a delayed task that has never started changes.
    """
    unstarted = (
        tasks.c.id == task_id,
        tasks.c.state == TaskState.DELAYED,
        tasks.c.fence == 0,
    )
    created_at = tx.execute(select(tasks.c.created_at).where(*unstarted)).scalar_one_or_none()
    if created_at is not None:
        tx.execute(update(tasks).where(*unstarted).values(due_at=min(until, created_at + at_most)))


def forget_done(tx: Connection, task_id: str) -> None:
    """Delete a task that is done, so that a task of the same id can be added again."""
    tx.execute(delete(tasks).where(tasks.c.id == task_id, tasks.c.state == TaskState.DONE))


@dataclass(frozen=True, slots=True)
class Retry:
    """A task that was taken before its next attempt was due.

    ``waited_s`` is the sum of the waits that the other side asked for, in seconds.
    """

    task: TaskMessage
    due_at: datetime
    waited_s: int


def take_retry(tx: Connection, task_id: str, *, now: datetime) -> Retry | None:
    """Take a task that is delayed until its next attempt, before it is due; None if it is not.

    The task becomes queued.
    """
    row = tx.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.state == TaskState.DELAYED, tasks.c.fence > 0)
        .values(state=TaskState.QUEUED, published_at=now, waits_since=now)
        .returning(*(tasks.c[name] for name in TASK_COLUMNS), tasks.c.due_at, tasks.c.waited_s)
    ).one_or_none()
    if row is None:
        return None
    *task, due_at, waited_s = row
    return Retry(TaskMessage(*task), due_at, waited_s)


def make_all_due(tx: Connection, *, now: datetime) -> int:
    """Make all queued and running tasks due now, since their process is gone; return their number.

    Only for the embedded mode, where one process has its queues in memory.
    """
    return tx.execute(
        update(tasks)
        .where(
            tasks.c.due_at.is_not(None), tasks.c.state.in_([TaskState.QUEUED, TaskState.RUNNING])
        )
        .values(due_at=now)
    ).rowcount
