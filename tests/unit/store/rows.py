"""Rows of tasks: where they start from, and what has become of them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from mirt.store.engine.database import Database
from mirt.store.queue.leases import (
    Lease,
    claim,
    finish,
    forget,
    give_back,
    hold,
    mark_dead,
    postpone,
    verify,
)
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import tasks
from tests.clock import NOON

LEASE = timedelta(seconds=10)
TASK = TaskMessage("t1", "ping", kwargs={"a": 1}, options={"trace_id": "trace"})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


Ending = Callable[[Connection, Lease], None]
ENDINGS: dict[str, Ending] = {
    "finish": lambda tx, lease: finish(tx, lease, now=after(5)),
    "mark_dead": lambda tx, lease: mark_dead(tx, lease, error_code="UNEXPECTED", now=after(5)),
    "postpone": lambda tx, lease: postpone(tx, lease, due_at=after(60), attempt=1),
    "hold": lambda tx, lease: hold(tx, lease, "llm", now=after(5), until=after(60), attempt=1),
    "give_back": lambda tx, lease: give_back(tx, lease, now=after(5)),
    "forget": forget,
}
WRITES: dict[str, Ending] = {
    **ENDINGS,
    "verify": verify,
}


def row(database: Database, task_id: str = TASK.task_id) -> Row[Any]:
    with database.transaction() as tx:
        return tx.execute(select(tasks).where(tasks.c.id == task_id)).one()


def add_row(database: Database, state: TaskState, *, task_id: str = "t1", **values: Any) -> None:
    first = {"actor": "ping", "args": [], "kwargs": {}, "options": {}, "created_at": NOON}
    with database.transaction() as tx:
        tx.execute(insert(tasks).values(**{**first, "id": task_id, "state": state, **values}))


def claimed(
    database: Database, owner: str = "one", *, at: float = 0, task: TaskMessage = TASK
) -> Lease | None:
    with database.transaction() as tx:
        return claim(tx, task, owner=owner, now=after(at), duration=LEASE)


def held(database: Database, owner: str = "one", *, at: float = 0, task_id: str = "t1") -> Lease:
    """The claim of who is sure to get it."""
    taken = claimed(database, owner, at=at, task=TaskMessage(task_id, "ping"))
    assert taken is not None
    return taken


def write(database: Database, what: Ending, lease: Lease) -> None:
    with database.transaction() as tx:
        what(tx, lease)
